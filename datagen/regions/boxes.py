"""From a detector's candidates to the boxes of a caption's phrases: thresholds and suppression.

Pure functions on normalised boxes (x1, y1, x2, y2 in 0..1 of the image's sides).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2

from datagen.dataset.rows import Box


@dataclass(frozen=True, slots=True)
class Detection:
    """A candidate of a detector for one image.

    Attributes:
        phrase_index: position of its phrase in the list that was asked for.
        bbox: x1, y1, x2, y2 in 0..1 of the image's sides.
        score: 0..1, how sure the detector is of box and phrase together.
        margin: ``score`` minus the score of the next best phrase for the same box; small where
            the box fits two phrases about equally.
    """

    phrase_index: int
    bbox: Box
    score: float
    margin: float


@dataclass(frozen=True, slots=True)
class MatchedBox:
    """A box that is kept for a phrase; the fields are those of ``Detection``."""

    phrase_index: int
    bbox: Box
    score: float
    margin: float


def iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes, in 0..1; 0 when both are empty."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def nms(detections: Sequence[Detection], max_iou: float) -> list[Detection]:
    """Greedy non-maximum suppression, best score first, without regard to phrases.

    Args:
        detections: candidates of one image; those of score 0 are dropped.
        max_iou: 0..1; a box that overlaps a better one by more than this is dropped.

    Returns:
        The kept detections, best score first; of equal scores the earlier one first.
    """
    if not detections:
        return []
    # OpenCV wants x, y, width, height; its boxes are float64, so 0..1 loses nothing.
    corners = [d.bbox for d in detections]
    boxes = [(x1, y1, x2 - x1, y2 - y1) for x1, y1, x2, y2 in corners]
    kept = cv2.dnn.NMSBoxes(boxes, [d.score for d in detections], 0.0, max_iou)
    return [detections[int(i)] for i in kept]


def match_phrases(
    detections: Sequence[Detection],
    phrases: Sequence[str],
    *,
    threshold: float = 0.4,
    nms_iou: float = 0.5,
    same_box_iou: float = 0.8,
) -> list[MatchedBox]:
    """The boxes of one image's phrases, best score first.

    A phrase may keep several boxes ("two birds") or none. A box belongs to one phrase: where two
    phrases claim (nearly) the same box, the better score has it.

    Args:
        detections: candidates of the image, in any order.
        phrases: the phrases that were asked for.
        threshold: lowest score, 0..1, that is kept. FG-CLIP keeps boxes from 0.4 up.
        nms_iou: two boxes of one phrase that overlap by more than this, 0..1, are one.
        same_box_iou: two boxes of different phrases that overlap by more than this are one.

    Raises:
        ValueError: a threshold is outside 0..1 or a detection names a phrase that is not there.
    """
    for name, value in (
        ("threshold", threshold), ("nms_iou", nms_iou), ("same_box_iou", same_box_iou),
    ):  # fmt: skip
        if not 0 <= value <= 1:
            raise ValueError(f"{name} is {value}: give a number from 0 to 1.")
    by_phrase: dict[int, list[Detection]] = {}
    for detection in detections:
        if not 0 <= detection.phrase_index < len(phrases):
            raise ValueError(
                f"A detection names phrase {detection.phrase_index} of {len(phrases)}: "
                "detections and phrases belong to different images."
            )
        if detection.score >= threshold:
            by_phrase.setdefault(detection.phrase_index, []).append(detection)
    survivors = [kept for own in by_phrase.values() for kept in nms(own, nms_iou)]
    return [
        MatchedBox(d.phrase_index, d.bbox, d.score, d.margin) for d in nms(survivors, same_box_iou)
    ]
