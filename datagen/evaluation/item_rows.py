"""One row an item: the form in which every benchmark tells what its score is made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from datagen.dataset.rows import Box
from datagen.evaluation.region_negatives import ScoredItem

Task = Literal["negatives", "classes", "i2t", "t2i", "objects"]
WHOLE: Box = (0.0, 0.0, 1.0, 1.0)
NEAREST = 5
"""As many of the wrong classes, captions or pictures are kept with an item."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemRow:
    """An item with the scores of what it was compared with; `item_scores` tells the columns."""

    benchmark: str
    task: Task
    image_id: str
    box: Box = WHOLE
    positive: str
    negatives: Sequence[str]
    scores: Sequence[float]
    """Of the positive, then of each of the negatives."""
    credit: float
    rank: int | None = None
    positive_among_negatives: bool = False


def rows_of_negatives(benchmark: str, scored: Iterable[ScoredItem]) -> list[ItemRow]:
    """The rows of regions or pictures that were compared with false phrases."""
    return [
        ItemRow(
            benchmark=benchmark,
            task="negatives",
            image_id=found.item.image_id,
            box=found.item.box,
            positive=found.item.positive,
            negatives=found.item.negatives,
            scores=found.scores.tolist(),
            credit=found.credit,
            positive_among_negatives=found.duplicate,
        )
        for found in scored
    ]


def nearest_others(
    scores: NDArray[np.floating], own: NDArray[np.bool_], count: int = NEAREST
) -> NDArray[np.int64]:
    """(n, count) columns of the best scores that are not a row's own, best first; -1 for none.

    Args:
        scores: (n, candidates).
        own: (n, candidates), what is right of each row.
        count: of the columns wanted; fewer if there are fewer candidates.
    """
    others = np.where(own, -np.inf, scores)
    count = min(count, others.shape[1])
    top = np.argpartition(-others, count - 1, axis=1)[:, :count]
    found = np.take_along_axis(others, top, 1)
    order = np.argsort(-found, axis=1, kind="stable")
    top, found = np.take_along_axis(top, order, 1), np.take_along_axis(found, order, 1)
    return np.where(np.isfinite(found), top, -1)
