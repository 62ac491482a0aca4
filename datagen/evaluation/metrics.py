"""Metrics as pure functions of scores; no model, no files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Ties = Literal["shared", "correct", "wrong"]
"""An item whose positive has the highest score together with k - 1 negatives counts 1/k, 1 or 0.
The published FG-OVD evaluator counts 1."""


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


def recall_at(
    queries: NDArray[np.floating],
    gallery: NDArray[np.floating],
    owner_of_query: NDArray[np.integer],
    owner_of_gallery: NDArray[np.integer],
    ks: Sequence[int],
    tile: int = 1024,
) -> dict[int, float]:
    """Share of the queries that find one of their own among the first k.

    A gallery row of another owner that scores the same stands before one's own: ties count against.

    Args:
        queries, gallery: (Q, E) and (G, E), unit length.
        owner_of_query, owner_of_gallery: (Q,) and (G,); equal numbers belong together.
        ks: depths.
        tile: queries compared at a time, so that memory stays bounded.
    """
    found = dict.fromkeys(ks, 0)
    for start in range(0, len(queries), tile):
        scores = queries[start : start + tile] @ gallery.T
        own = owner_of_query[start : start + tile, None] == owner_of_gallery[None, :]
        best = np.where(own, scores, -np.inf).max(1)
        before = ((scores >= best[:, None]) & ~own).sum(1)
        for k in ks:
            found[k] += int((before < k).sum())
    return {k: count / max(1, len(queries)) for k, count in found.items()}
