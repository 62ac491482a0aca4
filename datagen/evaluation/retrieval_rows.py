"""The items of a retrieval: each picture looks for a caption of its own, each caption for its
picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from datagen.evaluation.encoder import Embeddings
from datagen.evaluation.item_rows import ItemRow
from datagen.evaluation.nearest import nearest


def rows_of_images(
    benchmark: str,
    images: Embeddings,
    texts: Embeddings,
    owner: NDArray[np.integer],
    names: Sequence[str],
    captions: Sequence[str],
    ranks: NDArray[np.integer],
) -> list[ItemRow]:
    """Of each picture the best of its own captions, and the nearest captions of others.

    Args:
        benchmark: its name.
        images, texts: (I, E) and (T, E).
        owner: (T,) the picture of each caption; every picture has one or more.
        names, captions: of the pictures and captions.
        ranks: (I,) how many captions of others stand before a picture's own.
    """
    found = nearest(images, texts, np.arange(len(images)), owner)
    rows = []
    for image, (best, others) in enumerate(zip(found.own.tolist(), found.others, strict=True)):
        wrong = others[others >= 0].tolist()
        scores = [found.own_scores[image], *found.other_scores[image, : len(wrong)]]
        rows.append(
            ItemRow(
                benchmark=benchmark,
                task="i2t",
                image_id=names[image],
                positive=captions[best],
                negatives=[captions[i] for i in wrong],
                scores=[float(score) for score in scores],
                credit=float(ranks[image] == 0),
                rank=int(ranks[image]),
            )
        )
    return rows


def rows_of_texts(
    benchmark: str,
    images: Embeddings,
    texts: Embeddings,
    owner: NDArray[np.integer],
    names: Sequence[str],
    captions: Sequence[str],
    ranks: NDArray[np.integer],
) -> list[ItemRow]:
    """Of each caption its picture, and the nearest of the others, by their names.

    Args: see `rows_of_images`; `ranks` are (T,), of the captions.
    """
    found = nearest(texts, images, owner, np.arange(len(images)))
    rows = []
    for text, (image, others) in enumerate(zip(owner.tolist(), found.others, strict=True)):
        wrong = others[others >= 0].tolist()
        scores = [found.own_scores[text], *found.other_scores[text, : len(wrong)]]
        rows.append(
            ItemRow(
                benchmark=benchmark,
                task="t2i",
                image_id=names[image],
                positive=captions[text],
                negatives=[names[i] for i in wrong],
                scores=[float(score) for score in scores],
                credit=float(ranks[text] == 0),
                rank=int(ranks[text]),
            )
        )
    return rows
