"""Metrics as pure functions of scores; no model, no files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Ties = Literal["shared", "correct", "wrong"]
"""An item whose positive has the highest score together with k - 1 negatives counts 1/k, 1 or 0.
The published FG-OVD evaluator counts 1."""

RankTies = Literal["wrong", "correct"]


def top1(scores: NDArray[np.floating], ties: Ties = "shared") -> float:
    """Credit of one item, 0..1.

    Args:
        scores: (1 + N,) of the candidates, the positive first.
        ties: how equal scores count.
    """
    best = scores.max()
    if scores[0] < best:
        return 0.0
    tied = int((scores == best).sum())
    return {"shared": 1.0 / tied, "correct": 1.0, "wrong": float(tied == 1)}[ties]


def chance_of_top1(candidates: Sequence[int]) -> float:
    """Expected accuracy of guessing, from each item's own number of candidates."""
    return float(np.mean([1.0 / count for count in candidates]))


def ranks(
    queries: NDArray[np.floating],
    gallery: NDArray[np.floating],
    owner_of_query: NDArray[np.integer],
    owner_of_gallery: NDArray[np.integer],
    *,
    ties: RankTies = "wrong",
    tile: int = 4096,
) -> NDArray[np.int64]:
    """How many gallery rows of others stand before each query's best own one: 0 is first.

    Scores are computed in tiles, so memory stays bounded however many rows there are; the arrays
    may be memory-mapped. Tiles that hold pairs of one owner are computed twice, which is few of
    them where both sides come in about the same order.

    Args:
        queries, gallery: (Q, E) and (G, E), unit length.
        owner_of_query, owner_of_gallery: (Q,) and (G,); equal numbers belong together.
        ties: whether a row of another owner that scores the same stands before ("wrong") or after
            one's own ("correct").
        tile: rows of either side compared at a time.

    Returns:
        (Q,); a query without own rows has the size of the gallery.
    """
    found = np.full(len(queries), len(gallery), np.int64)
    for a in range(0, len(queries), tile):
        some, owners = queries[a : a + tile], owner_of_query[a : a + tile]
        best = np.full(len(some), -np.inf, np.result_type(queries, gallery))
        at_best = np.zeros(len(some), np.int64)
        for b in range(0, len(gallery), tile):
            theirs = owner_of_gallery[b : b + tile]
            if not np.isin(theirs, owners).any():
                continue
            own = owners[:, None] == theirs[None, :]
            scores = np.where(own, some @ gallery[b : b + tile].T, -np.inf)
            highest = scores.max(1)
            count = ((scores == highest[:, None]) & own).sum(1)
            at_best = np.where(highest > best, count, at_best + (highest == best) * count)
            best = np.maximum(best, highest)
        before = np.zeros(len(some), np.int64)
        for b in range(0, len(gallery), tile):
            scores = some @ gallery[b : b + tile].T
            ahead = scores >= best[:, None] if ties == "wrong" else scores > best[:, None]
            before += np.count_nonzero(ahead, axis=1)
        if ties == "wrong":
            before -= at_best
        found[a : a + tile] = np.where(at_best > 0, before, len(gallery))
    return found


def recall_at(
    queries: NDArray[np.floating],
    gallery: NDArray[np.floating],
    owner_of_query: NDArray[np.integer],
    owner_of_gallery: NDArray[np.integer],
    ks: Sequence[int],
    tile: int = 4096,
) -> dict[int, float]:
    """Share of the queries that find one of their own among the first k. See `ranks`."""
    before = ranks(queries, gallery, owner_of_query, owner_of_gallery, tile=tile)
    return {k: float((before < k).sum() / max(1, len(before))) for k in ks}
