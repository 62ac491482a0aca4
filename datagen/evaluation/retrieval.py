"""Retrieval both ways: R@1, R@5, R@10 of images and captions.

An image may have several captions; it is found by any of them. Ties count against unless the caller
chooses otherwise; published evaluators leave them to the order of a sort. Embeddings lie on disk,
and are compared in tiles: memory does not grow with what is compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from datagen.evaluation.benchmark import Choices, Outcome, Source
from datagen.evaluation.encoder import Embeddings, Encoder
from datagen.evaluation.items import EvaluationError, Picture, Skipped
from datagen.evaluation.ranks import RankTies, ranks
from datagen.evaluation.result import Result
from datagen.evaluation.retrieval_rows import rows_of_images, rows_of_texts
from datagen.evaluation.rows_on_disk import RowsOnDisk
from datagen.evaluation.statistics import bootstrap_interval
from datagen.images.decode import ImageError, decode

KS = (1, 5, 10)
BATCH = 64
_TEXTS = 32_768  # encoded at a time
LISTED_PAIRS = 10_000_000_000
"""Above so many pairs of an image and a text, the items are not listed one by one."""


@dataclass(frozen=True, slots=True)
class Captioned:
    """A file with its captions."""

    path: Path
    captions: Sequence[str]


def evaluate(
    encoder: Encoder, pictures: Iterable[Picture], *, captions: Literal["long", "short"]
) -> list[Result]:
    """R@k of pictures with one caption each, six results.

    Raises:
        EvaluationError: no picture has a caption.
    """
    return run_pictures(encoder, pictures, captions=captions).results


def run_pictures(
    encoder: Encoder, pictures: Iterable[Picture], *, captions: Literal["long", "short"]
) -> Outcome:
    """R@k of pictures with one caption each, with the items.

    Raises:
        EvaluationError: no picture has a caption.
    """
    long = captions == "long"
    found = ((p.image_id, p.image, (p.long if long else p.short,)) for p in pictures)
    chosen = (picture for picture in found if picture[2][0])
    return measure(encoder, chosen, name=f"retrieval_{captions}", long=long)


def run_files(
    encoder: Encoder,
    files: Sequence[Captioned],
    source: Source,
    choices: Choices,
    *,
    name: str,
    long: bool,
) -> Outcome:
    """R@k of files with captions, as a benchmark.

    Raises:
        EvaluationError: too many files are missing or not readable.
    """
    if choices.ties == "shared":
        raise EvaluationError(f"{name} counts ties as wrong or as correct, not as shared.")
    skipped = Skipped(limit=source.max_skipped)
    outcome = measure(
        encoder,
        _opened(files, Path(source.images), skipped),
        name=name,
        long=long if choices.long_text is None else choices.long_text,
        ties=choices.ties or "wrong",
    )
    return replace(outcome, skipped=skipped.reasons)


def measure(
    encoder: Encoder,
    pictures: Iterable[tuple[str, Image.Image, Sequence[str]]],
    *,
    name: str,
    long: bool,
    ties: RankTies = "wrong",
) -> Outcome:
    """R@k from image to text and from text to image, six results; each image is encoded once.

    Args:
        encoder: the model.
        pictures: name, picture and captions of each.
        name: of the benchmark.
        long: whether the captions are encoded as long texts.
        ties: see `ranks`.

    Raises:
        EvaluationError: there is nothing with a caption.
    """
    images = RowsOnDisk()
    ids: list[str] = []
    texts: list[str] = []
    owner: list[int] = []
    waiting = iter(pictures)
    while group := list(islice(waiting, BATCH)):
        for image_id, _, captions in group:
            owner += [len(ids)] * len(captions)
            ids.append(image_id)
            texts += captions
        images.append(encoder.encode_images([image for _, image, _ in group], [()] * len(group))[0])
    if not texts:
        raise EvaluationError(f"The benchmark {name} has no picture with a caption.")
    of_images, of_texts = images.array(), _encoded(encoder, texts, long=long)
    image_of_image, image_of_text = np.arange(len(of_images)), np.array(owner)
    both = ranks(of_images, of_texts, image_of_image, image_of_text, ties=ties)
    before = dict(zip(("i2t", "t2i"), both, strict=True))
    owners = {"i2t": image_of_image, "t2i": image_of_text}
    sizes = {"i2t": len(of_texts) / len(of_images), "t2i": 1.0}
    results = []
    for way, rank in before.items():
        names = [str(image) for image in owners[way]]
        for k in KS:
            hits = (rank < k).astype(float)
            low, high = bootstrap_interval(hits, names)
            results.append(
                Result(
                    benchmark=name,
                    metric=f"{way}_r{k}",
                    value=float(hits.mean()),
                    low=low,
                    high=high,
                    n=len(hits),
                    chance=min(1.0, k * sizes[way] / len(of_texts if way == "i2t" else of_images)),
                    settings={"ties": ties, "text_positions": "long" if long else "short"},
                )
            )
    items = []
    if len(of_images) * len(of_texts) <= LISTED_PAIRS:
        given = (of_images, of_texts, image_of_text, ids, texts)
        items = rows_of_images(name, *given, before["i2t"])
        items += rows_of_texts(name, *given, before["t2i"])
    return Outcome(results=results, items=items)


def _encoded(encoder: Encoder, texts: Sequence[str], *, long: bool) -> Embeddings:
    """(n, E) of n texts, memory-mapped; each different text is encoded once."""
    places = {text: place for place, text in enumerate(dict.fromkeys(texts))}
    unique, found = list(places), RowsOnDisk()
    for start in range(0, len(unique), _TEXTS):
        found.append(encoder.encode_texts(unique[start : start + _TEXTS], long=long))
    if len(unique) == len(texts):
        return found.array()
    rows, repeated = found.array(), RowsOnDisk()
    for start in range(0, len(texts), _TEXTS):
        repeated.append(rows[[places[text] for text in texts[start : start + _TEXTS]]])
    return repeated.array()


def _opened(
    files: Sequence[Captioned], folder: Path, skipped: Skipped
) -> Iterator[tuple[str, Image.Image, Sequence[str]]]:
    for file in files:  # before anything is encoded
        if not file.path.is_file():
            skipped.add(f"there is no image {file.path}", 1, len(files))
    for file in files:
        if file.path.is_file():
            try:
                picture = decode(file.path.read_bytes())
            except (OSError, ImageError) as error:
                skipped.add(f"cannot read the image {file.path}: {error}", 1, len(files))
                continue
            yield file.path.relative_to(folder).as_posix(), picture, file.captions
