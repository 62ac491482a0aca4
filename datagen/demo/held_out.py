"""Combinations of attributes that the tiny models never see in training.

A model that knows "green", "bird" and many green things and many birds should name a green bird
that it has never met. Whether it does is measured on these pairs: one colour of every kind (14 of
140) and one finish of eight kinds (8 of 84). Every kind keeps at least 9 colours and 5 finishes,
every colour at least 12 kinds, every finish at least 12. About every fifth object of a scene
shows such a pair.
"""

from __future__ import annotations

import random
from dataclasses import replace

from datagen.demo.world import COLOURS, FINISHES, Scene, SceneObject, make_scene

COLOUR_OF: dict[str, str] = {
    "mug": "yellow", "kettle": "blue", "chair": "red", "bird": "green", "car": "purple",
    "fish": "black", "tree": "pink", "house": "orange", "umbrella": "brown", "lamp": "white",
    "boat": "green", "clock": "blue", "bottle": "pink", "shirt": "red",
}  # fmt: skip
FINISH_OF: dict[str, str] = {
    "kettle": "striped", "chair": "metal", "car": "wooden", "fish": "checkered",
    "house": "dotted", "lamp": "plain", "boat": "striped", "shirt": "wooden",
}  # fmt: skip


def is_held_out(kind: str, colour: str | None, finish: str | None) -> bool:
    """Whether the pair of kind and colour, or that of kind and finish, is held out of training.

    None is an attribute that nothing is said of.
    """
    return (colour is not None and COLOUR_OF.get(kind) == colour) or (
        finish is not None and FINISH_OF.get(kind) == finish
    )


def shows_held_out(what: SceneObject) -> bool:
    """Whether the object shows a pair that is held out."""
    return is_held_out(what.kind, what.colour, what.finish)


def training_scene(index: int) -> Scene:
    """Scene ``index`` of "tiny-train" without held-out pairs: such objects are painted anew.

    To leave such scenes out would keep few of those with many objects. Places, sizes and kinds
    stay, and no two objects of a scene become equal. Raises ``ValueError`` for a negative index.
    """
    scene = make_scene("tiny-train", index)
    rng = random.Random(f"painted anew/{index}")
    objects = list(scene.objects)
    for position, what in enumerate(objects):
        if not shows_held_out(what):
            continue
        others = {o.attributes for o in objects if o is not what}
        options = [
            new
            for new in _repainted(what)
            if not shows_held_out(new) and new.attributes not in others
        ]
        objects[position] = rng.choice(options)
    return replace(scene, objects=tuple(objects))


def _repainted(what: SceneObject) -> list[SceneObject]:
    """The object in all colours, or finishes, or both: only of what is held out in it."""
    colours = COLOURS if is_held_out(what.kind, what.colour, None) else (what.colour,)
    finishes = FINISHES if is_held_out(what.kind, None, what.finish) else (what.finish,)
    return [replace(what, colour=c, finish=f) for c in colours for f in finishes]


def says_held_out(phrase: str) -> bool:
    """Whether a phrase such as "a green bird" names a pair that is held out."""
    words = set(phrase.split())
    pairs = (*COLOUR_OF.items(), *FINISH_OF.items())
    return any(kind in words and value in words for kind, value in pairs)
