"""What a detector is asked about a scene: phrases that are true and phrases that are not.

Absent phrases are mostly near misses of an object of the scene (one attribute swapped), because
a detector that only knows kinds would pass on anything easier.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from datagen.demo.held_out import says_held_out
from datagen.demo.language import phrase_of
from datagen.demo.world import COLOURS, FINISHES, KINDS, SIZES, Scene, SceneObject

Attributes = tuple[str | None, str | None, str | None, str]  # size, colour, finish, kind
VALUES: tuple[tuple[str, ...], ...] = (SIZES, COLOURS, FINISHES, KINDS)
NOWHERE = (0.0, 0.0, 0.0, 0.0)
OTHER_PHRASES = ("the background", "the picture", "the left", "the right", "the scene", "the front")


@dataclass(frozen=True)
class Question:
    """A phrase and the positions of the scene's objects that it is true of (none: absent)."""

    phrase: str
    objects: tuple[int, ...]


def near_miss(what: SceneObject, position: int, rng: random.Random) -> Attributes:
    """The attributes of an object with the one at ``position`` (0 size .. 3 kind) changed."""
    values = list(what.attributes)
    values[position] = rng.choice([v for v in VALUES[position] if v != values[position]])
    return (values[0], values[1], values[2], values[3])


def phrase(attributes: Attributes, article: bool = True) -> str:
    """The phrase for some attributes of an object; those that are None stay unsaid."""
    words = [value for value in attributes if value is not None]
    if None not in attributes and article:
        return phrase_of(SceneObject(words[3], words[1], words[2], words[0], NOWHERE))
    start = ["an" if words[0][0] in "aeiou" else "a"] if article else []
    return " ".join(start + words)


def objects_of(scene: Scene, attributes: Attributes) -> tuple[int, ...]:
    """Positions of the objects that have all attributes that are said."""
    return tuple(
        i
        for i, what in enumerate(scene.objects)
        if all(v is None or v == own for v, own in zip(attributes, what.attributes, strict=True))
    )


def exam_questions(scene: Scene, seed: int = 0) -> list[Question]:
    """The full phrase of every object, and as many absent ones, of which half are near misses."""
    rng = random.Random(f"{seed}/{scene.split}/{scene.index}")
    asked = [Question(phrase_of(what), (i,)) for i, what in enumerate(scene.objects)]
    absent: list[Question] = []
    while len(absent) < len(scene.objects):
        if len(absent) % 2:
            wrong = near_miss(rng.choice(scene.objects), rng.randrange(4), rng)
        else:
            wrong = _anything(rng)
        _add_absent(absent, scene, wrong, article=True)
    asked += absent
    rng.shuffle(asked)
    return asked


def training_questions(scene: Scene, rng: random.Random) -> list[Question]:
    """Questions as varied as captions are: some objects unsaid, some phrases without an attribute
    or an article, and rather more absent phrases than true ones.

    Absent phrases never name a held-out pair: asked for only where it is not, it would be learnt
    as something that does not exist.
    """
    article = rng.random() < 0.85
    asked: list[Question] = []
    for what in scene.objects:
        if rng.random() < 0.08 and len(scene.objects) > 2:
            continue
        said: list[str | None] = list(what.attributes)
        if rng.random() < 0.15:  # short captions say "a red mug"
            for position in rng.choice(((0,), (2,), (0, 2), (0, 2), (1,), (0, 1, 2))):
                said[position] = None
        attributes: Attributes = (said[0], said[1], said[2], what.kind)
        question = Question(phrase(attributes, article), objects_of(scene, attributes))
        if question not in asked:
            asked.append(question)
    wanted = len(asked) + rng.randint(0, 3)
    absent: list[Question] = []
    while len(absent) < wanted:
        kind_of_question = rng.random()
        if kind_of_question < 0.03:
            absent.append(Question(rng.choice(OTHER_PHRASES), ()))
            continue
        if kind_of_question < 0.7:
            wrong = near_miss(rng.choice(scene.objects), rng.randrange(4), rng)
            if rng.random() < 0.1:
                wrong = (None, wrong[1], rng.choice((None, wrong[2])), wrong[3])
        else:
            wrong = _anything(rng)
        if not says_held_out(phrase(wrong)):
            _add_absent(absent, scene, wrong, article)
    asked += absent
    rng.shuffle(asked)
    return asked


def unnamed_questions(scene: Scene, rng: random.Random) -> list[Question]:
    """Questions about a picture whose colours and finishes have no names: kinds, with and without
    the size, as many absent ones as true ones."""
    article = rng.random() < 0.85
    asked: list[Question] = []
    for what in scene.objects:
        attributes: Attributes = (rng.choice((None, what.size)), None, None, what.kind)
        question = Question(phrase(attributes, article), objects_of(scene, attributes))
        if question not in asked:
            asked.append(question)
    absent: list[Question] = []
    while len(absent) < len(asked):
        wrong: Attributes = (rng.choice((None, *SIZES)), None, None, rng.choice(KINDS))
        _add_absent(absent, scene, wrong, article)
    asked += absent
    rng.shuffle(asked)
    return asked


def vocabulary_words(extra: Sequence[str] = ()) -> list[str]:
    """Every word that a question can hold, sorted."""
    values = {value for group in VALUES for value in group}
    words = {word for text in (*OTHER_PHRASES, *values, *extra) for word in text.split()}
    return sorted(words | {"a", "an"})


def _anything(rng: random.Random) -> Attributes:
    return (rng.choice(SIZES), rng.choice(COLOURS), rng.choice(FINISHES), rng.choice(KINDS))


def _add_absent(
    absent: list[Question], scene: Scene, attributes: Attributes, article: bool
) -> None:
    question = Question(phrase(attributes, article), ())
    if not objects_of(scene, attributes) and question not in absent:
        absent.append(question)
