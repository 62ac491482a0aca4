from dataclasses import replace

import pytest

from datagen.negatives.checks import CHECKS, Context, first_failure
from datagen.negatives.drafts import (
    OTHER_OBJECT,
    REPLACE_TWO,
    SWAP,
    article_for,
    put_values,
    whole_phrase,
)
from datagen.negatives.lexicon import load_lexicon
from datagen.negatives.rewriter import compare
from datagen.negatives.slots import Slot, SlotFinder

LEXICON = load_lexicon()


@pytest.fixture(scope="module")
def finder():
    return SlotFinder(LEXICON)


def slot_of(text, word, kind="colour", noun="thing"):
    value = word.lower().split()[-1]
    return Slot(kind, value, text.index(word), text.index(word) + len(word), noun)


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
        ("a table made of stone", "stone", "wooden", "a table made of wood"),
    ],
)
def test_a_value_is_put_in_place_with_its_article(positive, old, new, text):
    draft = put_values(positive, [(slot_of(positive, old), new)], after_of=LEXICON.after_of)
    assert draft.text == text
    row = draft.negative(["a check"])
    assert row.text[row.span_start : row.span_end] == row.new
    assert row.old == old
    assert (row.change, row.type, row.checks) == ("replace", "colour", ["a check"])


def test_several_values_at_once():
    positive = "an old red mug with an orange lid"
    places = [slot_of(positive, "orange"), slot_of(positive, "red"), slot_of(positive, "old")]
    draft = put_values(positive, list(zip(places, ["blue", "green", "new"], strict=True)))
    assert draft.text == "a new green mug with a blue lid"
    row = draft.negative()
    assert row.old == "old red mug with an orange"
    assert row.new == "new green mug with a blue"


@pytest.mark.parametrize(
    ("word", "article"),
    [("orange", "an"), ("red", "a"), ("unlit", "an"), ("used", "a"), ("hour", "an")],
)
def test_articles_follow_the_sound(word, article):
    assert article_for(word) == article


def verdict(finder, positive, text, others=()):
    slots = finder.find([positive])[0]
    failure = first_failure(
        compare(positive, text, slots), Context(positive, slots, LEXICON, others)
    )
    return failure[0] if failure else None


@pytest.mark.parametrize(
    ("positive", "text", "failed"),
    [
        ("a red mug", "a blue mug", None),
        ("a red mug", "an orange mug", None),
        ("a light grey metal bench", "a dark brown metal bench", None),
        ("a light blue car", "a dark blue car", None),
        ("a red mug", "a red cup", "aspects"),
        ("a red mug", "a red", "aspects"),
        ("a red mug", "a red mug", "aspects"),
        ("a small red mug", "a large blue mug", "aspects"),
        ("a red mug", "a wooden mug", "aspects"),
        ("a red mug on a table", "a blue mug on a chair", "aspects"),
        ("a maroon car", "a dark red car", "not_synonym"),
        ("a burgundy car", "a maroon car", "not_synonym"),
        ("a grey car", "a light gray car", "not_synonym"),
        ("a red and white shirt", "a white and white shirt", "not_synonym"),
        ("a red mug", "a orange mug", "grammar"),
        ("an orange mug", "an red mug", "grammar"),
        ("a table made of stone", "a table made of wooden", "grammar"),
        ("a ceramic plate", "a wool plate", "plausible"),
        ("a large paper pizza", "a large metal pizza", "plausible"),
        ("a sweet juice", "a orange juice", "aspects"),
        ("a transparent plastic bottle", "a transparent wooden bottle", "plausible"),
        ("a woven basket", "a text basket", "plausible"),
        ("a brown bear", "a green bear", "plausible"),
        ("a white paper holder", "a white plastic holder", "aspects"),
        ("a red mug", "A Blue mug", "same_form"),
        ("a red mug", "a blue Mug", "same_form"),
        ("a red mug", "a Blue mug", "same_form"),
        ("A red mug", "An orange mug", None),
        ("a red mug", "a blue mug.", "same_form"),
    ],
)
def test_each_check_finds_its_fault(finder, positive, text, failed):
    assert verdict(finder, positive, text) == failed


def test_what_is_there_already_is_refused(finder):
    positive = "a red mug"
    slots = finder.find([positive])[0]
    context = Context(positive, slots, LEXICON, ["A green mug."])
    blue = put_values(positive, [(slot_of(positive, "red", noun="mug"), "blue")])
    green = put_values(positive, [(slot_of(positive, "red", noun="mug"), "green")])
    assert first_failure(blue, context) is None
    context.keep(blue)
    assert first_failure(blue, context) == ("distinct", "the text is there already")
    assert first_failure(green, context) == (
        "not_another_region",
        "it names another region of the image",
    )


def test_as_many_aspects_as_intended(finder):
    positive = "a small red mug"
    slots = [slot_of(positive, "small", "size", "mug"), slot_of(positive, "red", noun="mug")]
    context = Context(positive, slots, LEXICON)
    two = put_values(positive, list(zip(slots, ["large", "blue"], strict=True)), REPLACE_TWO)
    assert first_failure(two, context) is None
    name, reason = first_failure(replace(two, change="replace"), context)
    assert (name, reason) == ("aspects", "2 attributes were changed and not 1")


def test_two_new_values_of_one_thing_differ(finder):
    positive = "a brown and black dog"
    slots = [slot_of(positive, "brown", noun="dog"), slot_of(positive, "black", noun="dog")]
    draft = put_values(positive, [(slots[0], "white"), (slots[1], "white")], REPLACE_TWO)
    assert first_failure(draft, Context(positive, slots, LEXICON))[0] == "not_synonym"


def test_a_swap_may_use_the_values_that_are_there(finder):
    positive = "a red mug with a blue lid"
    slots = [slot_of(positive, "red", noun="mug"), slot_of(positive, "blue", noun="lid")]
    swap = put_values(positive, list(zip(slots, ["blue", "red"], strict=True)), SWAP)
    assert swap.text == "a blue mug with a red lid"
    assert first_failure(swap, Context(positive, slots, LEXICON)) is None


def test_another_objects_phrase_needs_its_form_only():
    draft = whole_phrase("a red mug", "a grey cat")
    assert draft.change == OTHER_OBJECT
    assert first_failure(draft, Context("a red mug", [], LEXICON)) is None
    long = whole_phrase("a red mug", "a grey cat that lies on the old sofa of my aunt")
    assert first_failure(long, Context("a red mug", [], LEXICON))[0] == "same_form"


def test_names_of_checks_are_what_rows_carry():
    assert list(CHECKS) == [
        "aspects",
        "not_synonym",
        "grammar",
        "plausible",
        "same_form",
        "distinct",
        "not_another_region",
    ]
