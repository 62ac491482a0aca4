"""Matching of boxes to phrases, against slow and obvious versions."""

import random

import pytest

from datagen.regions.boxes import Detection, MatchedBox, iou, match_phrases, nms


def random_detections(seed: int, count: int = 60, phrases: int = 4) -> list[Detection]:
    rng = random.Random(seed)
    found = []
    for _ in range(count):
        x, y = rng.choice((0.1, 0.4, 0.6)), rng.choice((0.1, 0.5))
        x, y = x + rng.uniform(-0.05, 0.05), y + rng.uniform(-0.05, 0.05)
        box = (x, y, x + rng.uniform(0.2, 0.3), y + rng.uniform(0.2, 0.3))
        found.append(Detection(rng.randrange(phrases), box, rng.random(), 0.1))
    return found


def slow_iou(a, b, cells=200):
    """Count the points of a grid in both boxes and in any of them."""
    points = [((i + 0.5) / cells, (j + 0.5) / cells) for i in range(cells) for j in range(cells)]
    in_a = {p for p in points if a[0] < p[0] < a[2] and a[1] < p[1] < a[3]}
    in_b = {p for p in points if b[0] < p[0] < b[2] and b[1] < p[1] < b[3]}
    return len(in_a & in_b) / len(in_a | in_b)


def slow_nms(detections, max_iou):
    """A box stays when no better box that stays overlaps it too much."""
    kept = []
    for detection in sorted(detections, key=lambda d: -d.score):
        if all(iou(detection.bbox, other.bbox) <= max_iou for other in kept):
            kept.append(detection)
    return kept


def test_iou_of_overlapping_apart_and_equal_boxes():
    a, b = (0.1, 0.1, 0.5, 0.4), (0.3, 0.2, 0.8, 0.7)
    assert iou(a, b) == pytest.approx(slow_iou(a, b), abs=0.01)
    assert iou(a, a) == pytest.approx(1)
    assert iou(a, (0.6, 0.1, 0.9, 0.4)) == 0


@pytest.mark.parametrize("seed", range(10))
def test_nms_equals_the_obvious_version(seed):
    detections = random_detections(seed)
    for max_iou in (0.3, 0.5, 0.8):
        assert nms(detections, max_iou) == slow_nms(detections, max_iou)


@pytest.mark.parametrize("seed", range(10))
def test_match_phrases_equals_the_obvious_version(seed):
    detections = random_detections(seed)
    phrases = ["a", "b", "c", "d"]
    sure = [d for d in detections if d.score >= 0.4]
    single = [k for i in range(4) for k in slow_nms([d for d in sure if d.phrase_index == i], 0.5)]
    wanted = [MatchedBox(d.phrase_index, d.bbox, d.score, d.margin) for d in slow_nms(single, 0.8)]
    assert match_phrases(detections, phrases) == wanted


def test_a_box_goes_to_the_phrase_with_the_better_score():
    box, nearly = (0.1, 0.1, 0.5, 0.5), (0.1, 0.1, 0.5, 0.49)
    found = [Detection(0, box, 0.6, 0.1), Detection(1, nearly, 0.9, 0.3)]
    assert [m.phrase_index for m in match_phrases(found, ["a red mug", "a blue mug"])] == [1]


def test_a_phrase_keeps_two_boxes_that_are_apart_and_one_of_two_that_are_not():
    left, again, right = (0.0, 0.1, 0.3, 0.4), (0.02, 0.1, 0.3, 0.4), (0.6, 0.1, 0.9, 0.4)
    found = [Detection(0, box, s, s) for box, s in ((left, 0.8), (again, 0.7), (right, 0.5))]
    assert [m.bbox for m in match_phrases(found, ["two birds"])] == [left, right]


def test_nothing_found_matches_nothing():
    assert match_phrases([], ["a mug"]) == []
    assert match_phrases([], []) == []


def test_mistakes_are_named():
    found = [Detection(3, (0.1, 0.1, 0.5, 0.5), 0.6, 0.1)]
    with pytest.raises(ValueError, match="phrase 3 of 1"):
        match_phrases(found, ["a mug"])
    with pytest.raises(ValueError, match="threshold is 40"):
        match_phrases([], [], threshold=40)
