"""Training of the tiny models never shows or says the pairs that are held out."""

import random
from collections import Counter

import pytest

from datagen.demo.detection_texts import training_questions
from datagen.demo.held_out import (
    COLOUR_OF,
    FINISH_OF,
    is_held_out,
    says_held_out,
    shows_held_out,
    training_scene,
)
from datagen.demo.language import long_caption, phrase_of
from datagen.demo.world import COLOURS, FINISHES, KINDS, make_scene


def test_training_scenes_are_those_of_the_world_without_held_out_pairs():
    seen = Counter()
    for index in range(400):
        world, scene = make_scene("tiny-train", index), training_scene(index)
        assert scene == training_scene(index)
        assert not says_held_out_anywhere(long_caption(scene))
        assert len({o.attributes for o in scene.objects}) == len(scene.objects)
        for before, after in zip(world.objects, scene.objects, strict=True):
            assert (before.kind, before.size, before.bbox) == (after.kind, after.size, after.bbox)
            assert after == before or shows_held_out(before)
            seen[after.kind, after.colour] += 1
            seen[after.kind, after.finish] += 1
    allowed = [(k, c) for k in KINDS for c in COLOURS if COLOUR_OF[k] != c]
    allowed += [(k, f) for k in KINDS for f in FINISHES if FINISH_OF.get(k) != f]
    assert set(seen) == set(allowed)


def says_held_out_anywhere(caption):
    return any(says_held_out(phrase) for phrase in caption.replace(".", ",").split(","))


def test_training_texts_never_name_held_out_pairs_as_absent():
    rng = random.Random(3)
    asked = [q for i in range(400) for q in training_questions(training_scene(i), rng)]
    assert any(not q.objects for q in asked)
    assert not any(says_held_out(q.phrase) for q in asked)


def test_about_a_tenth_is_held_out_and_every_value_stays_common():
    assert len(COLOUR_OF) / (len(KINDS) * len(COLOURS)) == pytest.approx(0.1)
    assert len(FINISH_OF) / (len(KINDS) * len(FINISHES)) == pytest.approx(0.1, abs=0.01)
    assert set(COLOUR_OF) == set(KINDS) and set(FINISH_OF) <= set(KINDS)
    assert set(Counter(COLOUR_OF.values())) == set(COLOURS)
    assert set(Counter(FINISH_OF.values())) == set(FINISHES)
    assert max([*Counter(COLOUR_OF.values()).values(), *Counter(FINISH_OF.values()).values()]) <= 2


def test_shown_and_said_agree():
    assert is_held_out("bird", "green", None) and not is_held_out("bird", None, "striped")
    assert says_held_out("a green bird") and not says_held_out("a green plain mug")
    for index in range(200):
        for what in make_scene("tiny-test", index).objects:
            assert says_held_out(phrase_of(what)) == shows_held_out(what)
