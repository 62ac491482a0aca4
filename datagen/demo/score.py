"""How true captions of the small world are: phrases read from the text, matched to the truth."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from datagen.demo.world import COLOURS, FINISHES, KINDS, SIZES, Scene, SceneObject

_VALUES = {
    **dict.fromkeys(SIZES, "size"),
    **dict.fromkeys(COLOURS, "colour"),
    **dict.fromkeys(FINISHES, "finish"),
}
_BREAKS = {"a", "an", "the", "and", "then", "is", ",", "."}


@dataclass(frozen=True)
class SaidObject:
    """An object that a caption names; None where it says nothing."""

    kind: str
    size: str | None = None
    colour: str | None = None
    finish: str | None = None

    def right(self, truth: SceneObject) -> int:
        """How many of the attributes said here (0 to 3) the object really has."""
        names = ("size", "colour", "finish")
        return sum(getattr(self, name) == getattr(truth, name) for name in names)

    def said(self) -> int:
        """How many attributes are said (0 to 3)."""
        return sum(value is not None for value in (self.size, self.colour, self.finish))


@dataclass(frozen=True)
class CaptionScore:
    """All shares are 0..1.

    object_recall: true objects that are named with kind and colour right.
    finish_recall: true objects that are named with kind, colour and finish right.
    exact_recall: true objects that are named with all four attributes right.
    attribute_accuracy: attributes said of objects of the right kind that are true.
    invented: named objects for which no object of that kind and colour is (left) in the scene.
    """

    object_recall: float
    attribute_accuracy: float
    invented: float
    finish_recall: float
    exact_recall: float
    objects: int
    named: int


def said_objects(caption: str) -> list[SaidObject]:
    """The objects a caption names, in order: each kind word with the attributes before it."""
    found: list[SaidObject] = []
    attributes: dict[str, str] = {}
    for word in re.findall(r"[a-z]+|[.,]", caption.lower()):
        if word in _BREAKS:
            attributes = {}
        elif word in _VALUES:
            attributes[_VALUES[word]] = word
        elif word in KINDS:
            found.append(SaidObject(kind=word, **attributes))
            attributes = {}
    return found


def match(scene: Scene, said: Sequence[SaidObject]) -> list[tuple[int, int]]:
    """Pairs (position in the scene, position in ``said``) of equal kind, one to one, best first.

    Pairs of the same colour go before others, then those with more attributes right.
    """
    candidates = [
        (said_one.colour == truth.colour, said_one.right(truth), -i, -j)
        for i, truth in enumerate(scene.objects)
        for j, said_one in enumerate(said)
        if said_one.kind == truth.kind
    ]
    pairs: list[tuple[int, int]] = []
    for _, _, i, j in sorted(candidates, reverse=True):
        if all(-i != a and -j != b for a, b in pairs):
            pairs.append((-i, -j))
    return pairs


def score_captions(scenes: Sequence[Scene], captions: Sequence[str]) -> CaptionScore:
    """Score one caption for each scene.

    Raises ``ValueError`` when the two have different lengths or there is nothing to score.
    """
    if len(scenes) != len(captions) or not scenes:
        raise ValueError(f"{len(captions)} captions for {len(scenes)} scenes: need one for each")
    objects = named = found = finish = exact = said_total = right_total = 0
    for scene, caption in zip(scenes, captions, strict=True):
        said = said_objects(caption)
        objects += len(scene.objects)
        named += len(said)
        for i, j in match(scene, said):
            truth, words = scene.objects[i], said[j]
            said_total += words.said()
            right_total += words.right(truth)
            if words.colour == truth.colour:
                found += 1
                finish += words.finish == truth.finish
                exact += (words.finish, words.size) == (truth.finish, truth.size)
    return CaptionScore(
        object_recall=found / objects,
        attribute_accuracy=right_total / said_total if said_total else 0.0,
        invented=(named - found) / named if named else 0.0,
        finish_recall=finish / objects,
        exact_recall=exact / objects,
        objects=objects,
        named=named,
    )
