"""Matching of boxes to phrases, against slow and obvious versions."""

import math
import random

import pytest

from datagen.regions.boxes import Detection, MatchedBox, iou, match_phrases, nms, usable


def random_detections(seed: int, count: int = 60, phrases: int = 4) -> list[Detection]:
    rng = random.Random(seed)
    found = []
    for _ in range(count):
        x, y = rng.choice((0.1, 0.4, 0.6)), rng.choice((0.1, 0.5))
        x, y = x + rng.uniform(-0.05, 0.05), y + rng.uniform(-0.05, 0.05)
        box = (x, y, x + rng.uniform(0.2, 0.3), y + rng.uniform(0.2, 0.3))
        found.append(Detection(rng.randrange(phrases), box, rng.random()))
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


def slow_rival(detection, detections):
    """The best score of another phrase for nearly the same box."""
    return max(
        (
            other.score
            for other in detections
            if other.phrase_index != detection.phrase_index
            and iou(other.bbox, detection.bbox) > 0.8
        ),
        default=0,
    )


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
    margins = {d: d.score - slow_rival(d, detections) for d in detections}
    sure = [d for d in detections if d.score >= 0.4 and margins[d] >= 0]
    single = [k for i in range(4) for k in slow_nms([d for d in sure if d.phrase_index == i], 0.5)]
    wanted = [
        MatchedBox(d.phrase_index, d.bbox, d.score, margins[d]) for d in slow_nms(single, 0.8)
    ]
    assert match_phrases(detections, phrases) == wanted


def test_a_box_goes_to_the_phrase_with_the_better_score():
    box, nearly = (0.1, 0.1, 0.5, 0.5), (0.1, 0.1, 0.5, 0.49)
    found = [Detection(0, box, 0.6), Detection(1, nearly, 0.9)]
    (kept,) = match_phrases(found, ["a red mug", "a blue mug"])
    assert kept.phrase_index == 1
    assert kept.margin == pytest.approx(0.3)


def test_one_box_with_a_score_for_each_phrase_goes_to_the_best():
    box, other = (0.1, 0.1, 0.5, 0.5), (0.6, 0.6, 0.9, 0.9)
    found = [
        Detection(0, box, 0.8),
        Detection(1, box, 0.7),
        Detection(1, other, 0.5),
        Detection(0, other, 0.45),
    ]
    assert [(m.phrase_index, m.bbox) for m in match_phrases(found, ["a", "b"])] == [
        (0, box),
        (1, other),
    ]


def test_boxes_are_cut_to_the_picture_and_impossible_ones_left_out():
    boxes = [
        (-0.2, 0.5, 0.3, 1.4),
        (1.1, 0.1, 1.4, 0.3),  # outside
        (0.5, 0.5, 0.5, 0.9),  # empty
        (0.6, 0.5, 0.4, 0.9),  # the wrong way round
        (math.nan, 0.1, 0.4, 0.5),
        (0.1, 0.1, math.inf, 0.5),
    ]
    found = [Detection(0, box, 0.9) for box in boxes]
    assert usable(found, ["a mug"]) == [Detection(0, (0.0, 0.5, 0.3, 1.0), 0.9)]


def test_the_whole_picture_is_no_small_thing():
    whole, part = (0.01, 0.0, 1.0, 0.99), (0.2, 0.2, 0.4, 0.4)
    phrases = ["a Small mug", "a street", "a mug"]
    found = [
        Detection(0, whole, 0.9),
        Detection(1, whole, 0.8),
        Detection(2, whole, 0.7),
        Detection(2, part, 0.6),
    ]
    assert usable(found, phrases) == [found[1], found[3]]


def test_the_whole_picture_stays_where_the_better_placed_box_is_but_noise():
    whole, part = (0.0, 0.0, 1.0, 1.0), (0.2, 0.2, 0.4, 0.4)
    found = [Detection(0, whole, 0.8), Detection(0, part, 0.06)]
    assert usable(found, ["a street"]) == found


def test_a_phrase_keeps_two_boxes_that_are_apart_and_one_of_two_that_are_not():
    left, again, right = (0.0, 0.1, 0.3, 0.4), (0.02, 0.1, 0.3, 0.4), (0.6, 0.1, 0.9, 0.4)
    found = [Detection(0, box, s) for box, s in ((left, 0.8), (again, 0.7), (right, 0.5))]
    assert [m.bbox for m in match_phrases(found, ["two birds"])] == [left, right]


def test_nothing_found_matches_nothing():
    assert match_phrases([], ["a mug"]) == []
    assert match_phrases([], []) == []


def test_mistakes_are_named():
    found = [Detection(3, (0.1, 0.1, 0.5, 0.5), 0.6)]
    with pytest.raises(ValueError, match="phrase 3 of 1"):
        match_phrases(found, ["a mug"])
    with pytest.raises(ValueError, match="threshold is 40"):
        match_phrases([], [], threshold=40)
