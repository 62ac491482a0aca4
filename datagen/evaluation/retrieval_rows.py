"""The items of a retrieval: each picture looks for a caption of its own, each caption for its
picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from datagen.evaluation.encoder import Embeddings
from datagen.evaluation.item_rows import ItemRow, nearest_others

TILE = 1024


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
    rows = []
    for start in range(0, len(images), TILE):
        place = np.arange(start, min(start + TILE, len(images)))
        scores = images[place] @ texts.T
        own = place[:, None] == owner[None, :]
        best = np.where(own, scores, -np.inf).argmax(1)
        others = nearest_others(scores, own)
        for row, image in enumerate(place):
            wrong = others[row][others[row] >= 0]
            rows.append(
                ItemRow(
                    benchmark=benchmark,
                    task="i2t",
                    image_id=names[image],
                    positive=captions[best[row]],
                    negatives=[captions[i] for i in wrong],
                    scores=scores[row, [best[row], *wrong]].tolist(),
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
    rows = []
    for start in range(0, len(texts), TILE):
        place = np.arange(start, min(start + TILE, len(texts)))
        scores = texts[place] @ images.T
        own = owner[place][:, None] == np.arange(len(images))[None, :]
        others = nearest_others(scores, own)
        for row, text in enumerate(place):
            wrong = others[row][others[row] >= 0]
            rows.append(
                ItemRow(
                    benchmark=benchmark,
                    task="t2i",
                    image_id=names[owner[text]],
                    positive=captions[text],
                    negatives=[names[i] for i in wrong],
                    scores=scores[row, [owner[text], *wrong]].tolist(),
                    credit=float(ranks[text] == 0),
                    rank=int(ranks[text]),
                )
            )
    return rows
