"""Which phrases a box supports, and which sentences go."""

import pytest

from datagen.dataset import GroundedPhrase
from datagen.regions.boxes import Detection
from datagen.regions.grounding import drop_sentences, ground
from datagen.regions.phrases import PhraseChunker

LEFT, RIGHT = (0.1, 0.1, 0.4, 0.5), (0.6, 0.1, 0.9, 0.5)


@pytest.fixture(scope="module")
def chunker():
    return PhraseChunker()


def grounded(chunker, caption, detections, **settings):
    (phrases,) = chunker.chunk([caption])
    row = ground("id", caption, phrases, detections, **settings)
    return row, {phrase.text: phrase.grounded for phrase in row.phrases}


def test_a_phrase_with_a_box_is_grounded(chunker):
    caption = "A dog sits beside a red car."
    row, phrases = grounded(chunker, caption, [Detection(0, LEFT, 0.7), Detection(1, RIGHT, 0.3)])
    assert phrases == {"A dog": True, "a red car": False}
    assert row.grounded == 0.5
    assert [p.score for p in row.phrases] == [0.7, 0.3]
    assert all(caption[p.span_start : p.span_end] == p.text for p in row.phrases)
    _, low = grounded(chunker, caption, [Detection(1, RIGHT, 0.3)], threshold=0.2)
    assert low == {"A dog": False, "a red car": True}


def test_a_phrase_that_contradicts_a_better_one_about_its_box_is_not_grounded(chunker):
    caption = "A red mug stands beside a blue mug."
    one_box = [Detection(0, LEFT, 0.5), Detection(1, LEFT, 0.8)]
    assert grounded(chunker, caption, one_box)[1] == {"A red mug": False, "a blue mug": True}
    two_boxes = [*one_box, Detection(0, RIGHT, 0.45)]
    assert grounded(chunker, caption, two_boxes)[1] == {"A red mug": True, "a blue mug": True}


def test_phrases_of_the_same_thing_support_each_other(chunker):
    caption = "A woman rides a horse. The young woman wears a hat."
    (phrases,) = chunker.chunk([caption])
    texts = [phrase.text for phrase in phrases]
    found = [
        Detection(texts.index("A woman"), LEFT, 0.9),
        Detection(texts.index("The young woman"), LEFT, 0.6),
    ]
    _, said = grounded(chunker, caption, found)
    assert said["A woman"] and said["The young woman"]
    assert not said["a horse"]


def test_a_caption_without_phrases_has_no_share(chunker):
    row, phrases = grounded(chunker, "It is calm.", [])
    assert (row.grounded, phrases, row.long) == (None, {}, "It is calm.")


def phrase(text, grounded):
    return GroundedPhrase(text=text, span_start=0, span_end=1, grounded=grounded, score=0.5)


def test_sentences_go_when_too_few_of_their_phrases_are_grounded():
    caption = "A dog sees a cat. The unicorn sings to a kite. A dog sleeps. It is calm."
    phrases = [
        phrase("A dog", True),
        phrase("a cat", False),
        phrase("The unicorn", False),
        phrase("a kite", False),
    ]
    assert drop_sentences(caption, phrases, 0) == (caption, [])
    assert drop_sentences(caption, phrases, 0.5) == (
        "A dog sees a cat. A dog sleeps. It is calm.",
        ["The unicorn sings to a kite."],
    )
    assert drop_sentences(caption, phrases, 1)[0] == "A dog sleeps. It is calm."


def test_what_is_said_again_with_another_article_goes_as_well():
    caption = "There is a blue kite. The blue kite flies. Akites fly."
    assert drop_sentences(caption, [phrase("a blue kite", False)], 0.5)[0] == "Akites fly."


def test_nothing_may_be_left():
    assert drop_sentences("A kite flies.", [phrase("A kite", False)], 1) == ("", ["A kite flies."])
