"""How well predicted boxes match the boxes that are true: recall, precision, mean IoU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from datagen.dataset.rows import Box
from datagen.regions.boxes import iou


@dataclass(frozen=True)
class LabelledBox:
    """A box (x1, y1, x2, y2) with its phrase; ``score`` orders predictions, 1 for the truth."""

    phrase: str
    bbox: Box
    score: float = 1.0


@dataclass(frozen=True)
class BoxScore:
    """Shares in 0..1 over all images; ``mean_iou`` is over the matched pairs (0 if none)."""

    recall: float
    precision: float
    mean_iou: float
    truths: int
    predictions: int
    matched: int


def score_boxes(
    truth: Sequence[Sequence[LabelledBox]],
    predictions: Sequence[Sequence[LabelledBox]],
    *,
    min_iou: float = 0.5,
) -> BoxScore:
    """Compare the predictions of each image with its truth.

    A prediction is right when it overlaps a true box of the same phrase with at least ``min_iou``
    and no better-scored prediction has taken that box. With nothing to find recall is 1, with
    nothing predicted precision is 1. Raises ``ValueError`` when the image counts differ.
    """
    if len(truth) != len(predictions):
        raise ValueError(f"truth holds {len(truth)} images but predictions {len(predictions)}")
    overlaps: list[float] = []
    for true_boxes, found in zip(truth, predictions, strict=True):
        free = list(true_boxes)
        for box in sorted(found, key=lambda b: -b.score):
            same = [
                (iou(box.bbox, t.bbox), i) for i, t in enumerate(free) if t.phrase == box.phrase
            ]
            best, position = max(same, default=(0.0, -1))
            if position >= 0 and best >= min_iou:
                overlaps.append(best)
                del free[position]
    wanted, given = sum(map(len, truth)), sum(map(len, predictions))
    return BoxScore(
        recall=len(overlaps) / wanted if wanted else 1.0,
        precision=len(overlaps) / given if given else 1.0,
        mean_iou=sum(overlaps) / len(overlaps) if overlaps else 0.0,
        truths=wanted,
        predictions=given,
        matched=len(overlaps),
    )
