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
