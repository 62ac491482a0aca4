"""Recall, precision and mean IoU of predicted boxes."""

import pytest

from datagen.demo.score_boxes import LabelledBox, score_boxes
from datagen.regions.boxes import iou

MUG, CAR = (0.1, 0.1, 0.5, 0.5), (0.6, 0.6, 0.9, 0.9)


def test_perfect_predictions():
    truth = [[LabelledBox("a mug", MUG), LabelledBox("a car", CAR)], []]
    score = score_boxes(truth, truth)
    assert (score.recall, score.precision, score.mean_iou) == (1, 1, pytest.approx(1))


def test_wrong_phrase_wrong_place_and_duplicates_cost_precision():
    truth = [[LabelledBox("a mug", MUG), LabelledBox("a car", CAR)]]
    nearly = (0.1, 0.1, 0.5, 0.45)
    found = [
        [
            LabelledBox("a mug", nearly, 0.9),
            LabelledBox("a mug", MUG, 0.8),  # the mug is taken
            LabelledBox("a mug", CAR, 0.7),
            LabelledBox("a tree", MUG, 0.6),
        ]
    ]
    score = score_boxes(truth, found)
    assert (score.recall, score.precision) == (0.5, 0.25)
    assert score.mean_iou == pytest.approx(iou(nearly, MUG))


def test_nothing_to_find_and_nothing_found():
    assert score_boxes([[]], [[]]).precision == 1
    assert score_boxes([[LabelledBox("a mug", MUG)]], [[]]).recall == 0
    with pytest.raises(ValueError, match="1 images but predictions 0"):
        score_boxes([[]], [])
