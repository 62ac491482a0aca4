"""From a detector's candidates to the boxes of a caption's phrases: thresholds and suppression.

Pure functions on normalised boxes (x1, y1, x2, y2 in 0..1 of the image's sides).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2

from datagen.dataset.rows import Box

WHOLE_PICTURE = 0.9
"""Share of the picture from which on a box is one of everything: what a detector that finds
nothing likes to answer."""
SMALLEST_SIDE = 1e-3
"""Narrower or lower boxes, in shares of the picture's sides, are empty."""
SAME_BOX_IOU = 0.8
"""Two boxes that overlap by more than this are of the same thing."""
_SMALL = frozenset({"little", "mini", "miniature", "minuscule", "petite", "small", "tiny"})


@dataclass(frozen=True, slots=True)
class Detection:
    """What a detector says of one box and one phrase of an image.

    Attributes:
        phrase_index: position of the phrase in the list that was asked for.
        bbox: x1, y1, x2, y2 in 0..1 of the image's sides; it may reach outside.
        score: 0..1, how sure the detector is that the box shows what the phrase says.
    """

    phrase_index: int
    bbox: Box
    score: float


@dataclass(frozen=True, slots=True)
class MatchedBox:
    """A box that is kept for a phrase.

    ``margin`` is ``score`` minus the best score of any other phrase for (nearly) the same box, 0
    where there is none: small where the box fits two phrases about equally.
    """

    phrase_index: int
    bbox: Box
    score: float
    margin: float


def area(box: Box) -> float:
    """The box's share of the picture, 0..1."""
    return (box[2] - box[0]) * (box[3] - box[1])


def iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes, in 0..1; 0 when both are empty."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / (area(a) + area(b) - shared)


def usable(detections: Sequence[Detection], phrases: Sequence[str]) -> list[Detection]:
    """The detections without impossible boxes, the others cut to the picture.

    Left out are boxes with a side that is no number, boxes without an area inside the picture,
    and boxes of (nearly) the whole picture for a phrase that says it is small or that has a
    better-placed box of about its score.

    Raises:
        ValueError: a detection names a phrase that is not there.
    """
    inside: list[Detection] = []
    for detection in detections:
        if not 0 <= detection.phrase_index < len(phrases):
            raise ValueError(
                f"A detection names phrase {detection.phrase_index} of {len(phrases)}: "
                "detections and phrases belong to different images."
            )
        if not all(map(math.isfinite, detection.bbox)):
            continue
        x1, y1, x2, y2 = (min(1.0, max(0.0, side)) for side in detection.bbox)
        if x2 - x1 >= SMALLEST_SIDE and y2 - y1 >= SMALLEST_SIDE:
            inside.append(replace(detection, bbox=(x1, y1, x2, y2)))
    placed: dict[int, float] = {}  # best score of a phrase for a part of the picture
    for detection in inside:
        if area(detection.bbox) < WHOLE_PICTURE:
            best = placed.get(detection.phrase_index, 0.0)
            placed[detection.phrase_index] = max(best, detection.score)
    return [d for d in inside if area(d.bbox) < WHOLE_PICTURE or _may_be_whole(d, phrases, placed)]


def _may_be_whole(detection: Detection, phrases: Sequence[str], placed: dict[int, float]) -> bool:
    if _SMALL & set(phrases[detection.phrase_index].lower().split()):
        return False
    return placed.get(detection.phrase_index, 0.0) < detection.score / 2


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


def margin(detection: Detection, others: Sequence[Detection], same_box_iou: float) -> float:
    """The detection's score minus the best score of another phrase for (nearly) its box."""
    rivals = (
        other.score
        for other in others
        if other.phrase_index != detection.phrase_index
        and (other.bbox == detection.bbox or iou(other.bbox, detection.bbox) > same_box_iou)
    )
    return detection.score - max(rivals, default=0.0)


def match_phrases(
    detections: Sequence[Detection],
    phrases: Sequence[str],
    *,
    threshold: float = 0.4,
    nms_iou: float = 0.5,
    same_box_iou: float = SAME_BOX_IOU,
) -> list[MatchedBox]:
    """The boxes of one image's phrases, best score first.

    A phrase may keep several boxes ("two birds") or none. A box belongs to one phrase: where two
    phrases claim (nearly) the same box, the better score has it.

    Args:
        detections: what the detector said of the image, in any order; see `usable`.
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
    candidates = usable(detections, phrases)
    margins: dict[Detection, float] = {}
    by_phrase: dict[int, list[Detection]] = {}
    for detection in candidates:
        if detection.score < threshold:
            continue
        ahead = margin(detection, candidates, same_box_iou)
        if ahead >= 0:  # otherwise the box is another phrase's
            margins[detection] = ahead
            by_phrase.setdefault(detection.phrase_index, []).append(detection)
    survivors = [kept for own in by_phrase.values() for kept in nms(own, nms_iou)]
    return [
        MatchedBox(d.phrase_index, d.bbox, d.score, margins[d])
        for d in nms(survivors, same_box_iou)
    ]
