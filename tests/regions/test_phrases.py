import random

import pytest

from datagen.demo.language import long_caption, phrase_of
from datagen.demo.world import make_scene
from datagen.regions.phrases import PhraseChunker


@pytest.fixture(scope="module")
def chunker():
    return PhraseChunker()


def texts(chunker, caption):
    return [phrase.text for phrase in chunker.chunk([caption])[0]]


def test_spans_point_at_the_phrases(chunker):
    caption = "A young woman in a red jacket stands on the slope. Her dog waits near two trees."
    phrases = chunker.chunk([caption])[0]
    assert [p.text for p in phrases] == [
        "A young woman in a red jacket",
        "a red jacket",
        "the slope",
        "dog",
        "two trees",
    ]
    assert all(caption[p.span_start : p.span_end] == p.text for p in phrases)
    assert [p.head for p in phrases[:2]] == ["woman", "jacket"]
    assert phrases[3].head == "dog"
    assert phrases[3].sentence == "Her dog waits near two trees."


@pytest.mark.parametrize(
    "caption",
    [
        "It is in the background.",
        "This image offers a view from the left.",
        "They look at the camera.",
        "The atmosphere of the scene is calm.",
        "",
        "!!! 12 -- ??",
    ],
)
def test_what_names_no_thing_is_left_out(chunker, caption):
    assert texts(chunker, caption) == []


def test_what_is_denied_is_left_out(chunker):
    assert texts(chunker, "A street with no cars and a man without a hat.") == ["A street", "a man"]


def test_measures_take_in_what_they_measure(chunker):
    assert texts(chunker, "A group of people eats a slice of pizza in front of a house.") == [
        "A group of people",
        "a slice of pizza",
        "a house",
    ]


def test_a_referring_expression_keeps_its_attributes_and_yields_its_parts(chunker):
    laptop = "a laptop computer with a grey metal back, featuring a white logo made of metal"
    assert texts(chunker, f"On the desk stands {laptop}.") == [
        "the desk",
        laptop,
        "a grey metal back",
        "a white logo made of metal",
    ]


@pytest.mark.parametrize(
    ("caption", "phrases"),
    [
        ("A cup, a plate and two forks.", ["A cup", "a plate", "two forks"]),
        ("A chair made of dark wood.", ["A chair made of dark wood"]),
        ("A bottle that is light green in color.", ["A bottle that is light green in color"]),
        ("A car in red and white stands on a road.", ["A car in red and white", "a road"]),
        ("Her dog and some cats.", ["dog", "cats"]),
        ("A table with a lamp next to it.", ["A table", "a lamp"]),
        ("A MAN WALKS IN THE AIRPORT", ["A MAN", "THE AIRPORT"]),
        ("It is taken from a high vantage point.", []),
    ],
)
def test_where_phrases_begin_and_end(chunker, caption, phrases):
    assert texts(chunker, caption) == phrases


def test_equal_phrases_are_merged_into_the_first_with_their_count(chunker):
    phrases = chunker.chunk(["A dog sees a cat. The dog runs after the cat. His dog barks."])[0]
    assert [(p.text, p.span_start, p.count) for p in phrases] == [("A dog", 0, 3), ("a cat", 11, 2)]


def test_no_text_breaks_the_rules(chunker):
    rng = random.Random(0)
    words = "a the with of in red white made plastic mug and , . that is has man It 猫 é \n wearing"
    captions = [" ".join(rng.choices(words.split(" "), k=rng.randint(0, 30))) for _ in range(400)]
    for caption, phrases in zip(captions, chunker.chunk(captions), strict=True):
        spans = [(p.span_start, p.span_end) for p in phrases]
        assert [caption[start:end] for start, end in spans] == [p.text for p in phrases]
        assert len(set(spans)) == len(spans)
        # One lies within another or beside it; none crosses another.
        assert not [1 for a in spans for b in spans if a[0] < b[0] < a[1] < b[1]]


def test_at_most_so_many_the_specific_ones():
    chunker = PhraseChunker(max_phrases=2)
    caption = "A cup, a small white plate, a fork, a knife and a red napkin."
    assert texts(chunker, caption) == ["a small white plate", "a red napkin"]
    assert texts(chunker, "A cup, a plate, a fork and a knife.") == ["A cup", "a plate"]


def test_a_batch_gives_what_single_calls_give(chunker):
    captions = ["A red mug.", "", "Two dogs on a beach.", "A MAN WITH A HAT"] * 3
    assert chunker.chunk(captions) == [chunker.chunk([caption])[0] for caption in captions]


def test_the_small_worlds_captions_are_read_almost_without_fault(chunker):
    scenes = [make_scene("demo", index) for index in range(150)]
    wanted = found = surplus = 0
    for scene, phrases in zip(
        scenes, chunker.chunk([long_caption(scene) for scene in scenes]), strict=True
    ):
        truth = {phrase_of(thing) for thing in scene.objects}
        named = {phrase.text for phrase in phrases}
        wanted += len(truth)
        found += len(truth & named)
        surplus += len(named - truth)
    assert found >= 0.99 * wanted
    assert surplus <= 0.01 * wanted
