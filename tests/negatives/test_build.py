from dataclasses import replace

import pytest

from datagen.negatives.build import build, put_value, share
from datagen.negatives.checks import CHECKS, Context, article_for, failures
from datagen.negatives.lexicon import load_lexicon
from datagen.negatives.slots import Slot, SlotFinder

LEXICON = load_lexicon()


@pytest.fixture(scope="module")
def finder():
    return SlotFinder(LEXICON)


def slot_of(text, word, kind="colour", noun="thing"):
    return Slot(kind, word.lower(), text.index(word), text.index(word) + len(word), noun)


@pytest.mark.parametrize(
    ("rooms", "total", "shares"),
    [
        ([1, 9, 5], 10, [1, 5, 4]),
        ([20], 10, [10]),
        ([1], 10, [1]),
        ([8, 8, 8], 10, [4, 3, 3]),
        ([], 10, []),
        ([0, 3], 2, [0, 2]),
    ],
)
def test_shares_are_even_as_far_as_there_is_room(rooms, total, shares):
    assert share(rooms, total) == shares


@pytest.mark.parametrize(
    ("positive", "old", "new", "text"),
    [
        ("a red mug", "red", "orange", "an orange mug"),
        ("an orange mug", "orange", "red", "a red mug"),
        ("A red mug", "red", "orange", "An orange mug"),
        ("Red mugs", "Red", "blue", "Blue mugs"),
        ("a small red mug", "red", "orange", "a small orange mug"),
        ("the red mug", "red", "orange", "the orange mug"),
        ("a light blue mug", "light blue", "sky blue", "a sky blue mug"),
    ],
)
def test_a_value_is_put_in_place_with_its_article(positive, old, new, text):
    slot = slot_of(positive, old)
    negative = put_value(positive, replace(slot, value=old.split()[-1].lower()), new)
    assert negative.text == text
    assert negative.text[negative.span_start : negative.span_end] == negative.new
    assert negative.old == old


@pytest.mark.parametrize(
    ("word", "article"),
    [("orange", "an"), ("red", "a"), ("unlit", "an"), ("used", "a"), ("hour", "an")],
)
def test_articles_follow_the_sound(word, article):
    assert article_for(word) == article


def test_kinds_take_turns_and_every_negative_passed_the_checks(finder):
    positive = "a small red striped mug"
    slots = finder.find([positive])[0]
    values = {slot: LEXICON.others(slot.value) for slot in slots}
    shares = dict(zip(slots, share([len(v) for v in values.values()], 10), strict=True))
    negatives = build(positive, values, shares, others=(), lexicon=LEXICON)
    assert [n.type for n in negatives[:3]] == ["size", "colour", "pattern"]
    assert len(negatives) == len({n.text for n in negatives}) == 10
    for negative in negatives:
        assert negative.checks == list(CHECKS)
        assert negative.text.split() != positive.split()
        changed = [
            a for a, b in zip(positive.split(), negative.text.split(), strict=True) if a != b
        ]
        assert changed == [negative.old]


def test_other_regions_of_the_image_are_not_named(finder):
    positive = "a red mug"
    slots = finder.find([positive])[0]
    negatives = build(
        positive,
        {slots[0]: ["green", "blue", "black"]},
        {slots[0]: 2},
        others=("A green mug", "a large blue chair"),
        lexicon=LEXICON,
    )
    assert [n.new for n in negatives] == ["blue", "black"]  # a spare takes the refused one's place


def test_other_slots_make_up_for_one_that_runs_short(finder):
    positive = "an open red door"
    slots = finder.find([positive])[0]
    negatives = build(
        positive,
        {slot: LEXICON.others(slot.value) for slot in slots},
        dict(zip(slots, [1, 2], strict=True)),
        others=("a closed red door",),
        lexicon=LEXICON,
    )
    assert [n.type for n in negatives] == ["colour", "colour", "colour"]


def test_a_colour_that_the_phrase_has_already_is_not_used(finder):
    positive = "a red and white shirt"
    slots = finder.find([positive])[0]
    negatives = build(
        positive,
        {slot: ["white", "red", "grey", "green"] for slot in slots},
        dict.fromkeys(slots, 1),
        others=(),
        lexicon=LEXICON,
    )
    assert [n.text for n in negatives] == [
        "a grey and white shirt",
        "a red and grey shirt",
    ]


def test_each_check_gives_its_reason():
    positive = "an orange mug"
    slot = slot_of(positive, "orange", noun="mug")
    good = put_value(positive, slot, "blue")
    context = Context(positive, [slot], ["a blue mug"], ["A blue mug"], LEXICON)
    assert failures(good, replace(context, earlier=[], others=[])) == {}
    assert set(failures(good, context)) == {"distinct", "not_another_region"}
    wrong_article = replace(good, text="an blue mug", span_start=3, span_end=7)
    assert failures(wrong_article, replace(context, earlier=[], others=[])) == {
        "article": "'an blue' has the wrong article"
    }
    two_changes = replace(good, text="a blue cup")
    assert "one_aspect" in failures(two_changes, context)
    same = put_value("a gray mug", slot_of("a gray mug", "gray"), "grey")
    about = Context("a gray mug", [slot_of("a gray mug", "gray")], [], [], LEXICON)
    assert failures(same, about) == {"not_synonym": "'grey' is too near to 'gray'"}
