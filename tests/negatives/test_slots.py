import itertools

import pytest

from datagen.demo import world
from datagen.negatives.lexicon import load_lexicon
from datagen.negatives.slots import SlotFinder


@pytest.fixture(scope="module")
def finder():
    return SlotFinder(load_lexicon())


def slots(finder, text):
    return [
        (slot.kind, text[slot.span_start : slot.span_end], slot.noun)
        for slot in finder.find([text])[0]
        if slot.kind not in ("object", "part")
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a small red mug", [("size", "small", "mug"), ("colour", "red", "mug")]),
        ("an orange and white cat", [("colour", "orange", "cat"), ("colour", "white", "cat")]),
        ("light blue jeans", [("colour", "light blue", "jeans"), ("shade", "light", "jeans")]),
        (
            "a ceramic plate that is white in color",
            [("material", "ceramic", "plate"), ("colour", "white", "plate")],
        ),
        (
            "a table made of dark brown wood",
            [
                ("colour", "dark brown", "wood"),
                ("shade", "dark", "wood"),
                ("material", "wood", "table"),
            ],
        ),
        (
            "a transparent plastic bottle",
            [("transparency", "transparent", "bottle"), ("material", "plastic", "bottle")],
        ),
        ("a mug with a text pattern", [("pattern", "text", "mug")]),
        ("a cat behind the sofa", [("relation", "behind", "cat")]),
        ("the dog is sleeping", [("state", "sleeping", "dog")]),
        ("a red polka dot dress", [("colour", "red", "dress"), ("pattern", "polka dot", "dress")]),
        ("a gray metal blade", [("colour", "gray", "blade"), ("material", "metal", "blade")]),
        ("Two parked bikes", [("count", "Two", "bikes"), ("state", "parked", "bikes")]),
        ("the left shelf", [("position", "left", "shelf")]),
        ("a dog sitting on grass", [("action", "sitting", "dog")]),
    ],
)
def test_modifiers_are_slots_of_their_noun(finder, text, expected):
    assert slots(finder, text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "an orange",
        "a glass",
        "a glass of orange juice",
        "a blue-green vase",
        "a redwood tree",
        "a black woman",
        "a hot dog",
        "",
    ],
)
def test_words_that_are_no_attribute_here(finder, text):
    assert slots(finder, text) == []


def test_every_phrase_of_the_small_world(finder):
    phrases = list(itertools.product(world.SIZES, world.COLOURS, world.FINISHES, world.KINDS))
    found = finder.find(["a " + " ".join(phrase) for phrase in phrases])
    for phrase, its_slots in zip(phrases, found, strict=True):
        attributes = [slot for slot in its_slots if slot.kind != "object"]
        assert [slot.value for slot in attributes] == list(phrase[:3])
        assert {slot.noun for slot in attributes} == {phrase[3]}


def test_objects_and_parts_are_slots_as_well(finder):
    text = "a red mug with a white handle"
    found = [(s.kind, s.value, s.noun) for s in finder.find([text])[0]]
    assert ("object", "mug", "mug") in found
    assert ("part", "handle", "mug") in found
