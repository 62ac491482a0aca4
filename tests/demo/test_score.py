"""The caption scorer on cases that can be counted by hand."""

import pytest

from datagen.demo.score import SaidObject, said_objects, score_captions
from datagen.demo.world import Scene, SceneObject

BOX = (0.0, 0.0, 0.1, 0.1)
SCENE = Scene(
    "demo",
    0,
    "beige",
    (
        SceneObject("mug", "red", "striped", "small", BOX),
        SceneObject("mug", "red", "plain", "small", BOX),
        SceneObject("boat", "blue", "wooden", "large", BOX),
    ),
    (),
    90,
    hard=True,
)


def test_said_objects_reads_attributes_of_each_kind_word():
    assert said_objects(
        "There is a small red striped mug, and a boat. The background is blue."
    ) == [
        SaidObject("mug", "small", "red", "striped"),
        SaidObject("boat"),
    ]
    assert said_objects("") == []


def test_perfect_caption():
    score = score_captions(
        [SCENE],
        ["There is a small red plain mug, a small red striped mug, and a large blue wooden boat."],
    )
    assert (score.object_recall, score.exact_recall, score.invented) == (1, 1, 0)
    assert score.attribute_accuracy == 1
    assert (score.objects, score.named) == (3, 3)


def test_each_object_is_found_at_most_once():
    score = score_captions([SCENE], ["A blue boat, a blue boat and a red mug."])
    assert score.object_recall == pytest.approx(2 / 3)  # one mug is missing
    assert score.invented == pytest.approx(1 / 3)  # the second boat
    assert score.attribute_accuracy == 1


def test_wrong_colour_is_missed_invented_and_a_wrong_attribute():
    score = score_captions([SCENE], ["A large green wooden boat and a small red metal mug."])
    assert score.object_recall == pytest.approx(1 / 3)
    assert score.invented == pytest.approx(1 / 2)
    assert score.finish_recall == 0
    assert score.attribute_accuracy == pytest.approx(4 / 6)


def test_wrong_kind_is_invented_and_has_no_attributes_to_judge():
    score = score_captions([SCENE], ["A red house."])
    assert (score.object_recall, score.invented, score.attribute_accuracy) == (0, 1, 0)


def test_silence_finds_nothing_and_invents_nothing():
    score = score_captions([SCENE], [""])
    assert (score.object_recall, score.invented, score.named) == (0, 0, 0)


def test_lengths_must_agree():
    with pytest.raises(ValueError, match="2 captions for 1 scenes"):
        score_captions([SCENE], ["", ""])
