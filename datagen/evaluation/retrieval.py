"""Retrieval both ways: R@1, R@5, R@10 of images and captions. Ties count against."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np

from datagen.evaluation.encoder import Embeddings, Encoder
from datagen.evaluation.items import EvaluationError, Picture
from datagen.evaluation.metrics import recall_at
from datagen.evaluation.result import Result

KS = (1, 5, 10)
BATCH = 64


def evaluate(
    encoder: Encoder, pictures: Iterable[Picture], *, captions: Literal["long", "short"]
) -> list[Result]:
    """R@k from image to text and from text to image, six results.

    Raises:
        EvaluationError: no picture has a caption.
    """
    images: list[Embeddings] = []
    texts: list[str] = []
    group = []
    for picture in pictures:
        text = picture.long if captions == "long" else picture.short
        if text:
            group.append(picture.image)
            texts.append(text)
        if len(group) == BATCH:
            images.append(encoder.encode_images(group, [()] * len(group))[0])
            group = []
    if group:
        images.append(encoder.encode_images(group, [()] * len(group))[0])
    if not texts:
        raise EvaluationError(f"No picture has a {captions} caption.")
    embedded_images = np.concatenate(images)
    embedded_texts = encoder.encode_texts(texts, long=captions == "long")
    owner = np.arange(len(texts))
    ways = {
        "i2t": recall_at(embedded_images, embedded_texts, owner, owner, KS),
        "t2i": recall_at(embedded_texts, embedded_images, owner, owner, KS),
    }
    return [
        Result(
            benchmark=f"retrieval_{captions}",
            metric=f"{way}_r{k}",
            value=value,
            n=len(texts),
            chance=min(1.0, k / len(texts)),
            settings={"ties": "wrong"},
        )
        for way, recalls in ways.items()
        for k, value in recalls.items()
    ]
