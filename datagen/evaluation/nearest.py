"""What stands nearest in a retrieval: of each query its best own row, and the best of others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from datagen.evaluation.encoder import Embeddings
from datagen.evaluation.item_rows import NEAREST, nearest_others

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Nearest:
    """Of each of Q queries: its best own row (Q,) and the best others (Q, K), best first.

    Rows are indices into the gallery, -1 where there is none; scores are -inf there.
    """

    own: Rows
    own_scores: Embeddings
    others: Rows
    other_scores: Embeddings


def nearest(
    queries: Embeddings,
    gallery: Embeddings,
    owner_of_query: NDArray[np.integer],
    owner_of_gallery: NDArray[np.integer],
    *,
    count: int = NEAREST,
    tile: int = 2048,
) -> Nearest:
    """Compare in tiles, so that memory stays bounded; the arrays may be memory-mapped.

    Args:
        queries, gallery: (Q, E) and (G, E).
        owner_of_query, owner_of_gallery: (Q,) and (G,); equal numbers belong together.
        count: of the others that are wanted of each query.
        tile: rows of either side compared at a time.
    """
    size, count = len(queries), min(count, len(gallery))
    own, others = np.full(size, -1), np.full((size, count), -1)
    own_scores = np.full(size, -np.inf, np.float32)
    other_scores = np.full((size, count), -np.inf, np.float32)
    for a in range(0, size, tile):
        some, part = np.ascontiguousarray(queries[a : a + tile]), slice(a, a + tile)
        for b in range(0, len(gallery), tile):
            scores = some @ gallery[b : b + tile].T
            mine = owner_of_query[part, None] == owner_of_gallery[None, b : b + tile]
            masked = np.where(mine, scores, -np.inf)
            best = masked.argmax(1)
            value = masked[np.arange(len(some)), best]
            better = value > own_scores[part]
            own[part] = np.where(better, b + best, own[part])
            own_scores[part] = np.where(better, value, own_scores[part])
            found = nearest_others(scores, mine, count)
            new = np.where(found < 0, -np.inf, np.take_along_axis(scores, found, 1))
            rows = np.concatenate([others[part], np.where(found < 0, -1, b + found)], 1)
            values = np.concatenate([other_scores[part], new], 1)
            order = np.argsort(-values, axis=1, kind="stable")[:, :count]
            others[part] = np.take_along_axis(rows, order, 1)
            other_scores[part] = np.take_along_axis(values, order, 1)
    return Nearest(own, own_scores, others, other_scores)
