"""The small world: scenes that a seed decides, with the full truth of each.

The truth comes first and the picture is drawn from it (``draw``), so nothing has to be guessed:
every object's kind, colour, finish, size and box, and the relations between objects, are known.
"""

from __future__ import annotations

import hashlib
import json
import random
from dataclasses import asdict, dataclass, replace

import numpy as np

from datagen.demo.shapes import SHAPES, footprint

KINDS: tuple[str, ...] = tuple(SHAPES)
COLOURS: tuple[str, ...] = (
    "red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white",
)  # fmt: skip
FINISHES: tuple[str, ...] = ("plain", "striped", "dotted", "checkered", "wooden", "metal")
SIZES: tuple[str, ...] = ("small", "large")
BACKGROUNDS: tuple[str, ...] = ("pale gray", "beige", "pale blue", "pale green", "lavender")
PREDICATES: tuple[str, ...] = ("left of", "right of", "above", "below")
SPLITS: tuple[str, ...] = ("tiny-train", "demo-train", "demo", "evaluation", "tiny-test")

CANVAS = 128  # scenes are laid out on a grid of this many pixels
SIDES = {"small": (27, 29, 31), "large": (44, 47, 50)}  # square root of the box's area, in pixels
MIN_VISIBLE = 0.7  # share of every object's pixels that nothing covers
MIN_STEP = 6  # pixels between the centres of neighbours from left to right
MAX_FILL = 0.5  # share of the picture that all boxes together may take
HARD_SHARE = 1 / 3
OVERLAP_SHARE = 1 / 3


@dataclass(frozen=True)
class SceneObject:
    """One thing; ``bbox`` is its full box (x1, y1, x2, y2) in 0..1 of the picture's sides."""

    kind: str
    colour: str
    finish: str
    size: str
    bbox: tuple[float, float, float, float]

    @property
    def attributes(self) -> tuple[str, str, str, str]:
        """Size, colour, finish and kind, in the order in which phrases say them."""
        return (self.size, self.colour, self.finish, self.kind)


@dataclass(frozen=True)
class Relation:
    """``objects[subject] predicate objects[object]``, e.g. 0 "left of" 1."""

    subject: int
    predicate: str
    object: int


@dataclass(frozen=True)
class Scene:
    """The truth of a picture: 2 to 6 objects from left to right; later ones are in front.

    ``hard`` scenes hold objects that share a kind and differ in one attribute only.
    """

    split: str
    index: int
    background: str
    objects: tuple[SceneObject, ...]
    relations: tuple[Relation, ...]
    jpeg_quality: int
    hard: bool


@dataclass(frozen=True)
class _Placed:
    """An object with its place in pixels of the canvas."""

    what: SceneObject
    x: int
    y: int
    width: int
    height: int


def mirrored(index: int, position: int) -> bool:
    """Whether the object at ``position`` of scene ``index`` faces left."""
    return (index + position) % 2 == 1


def make_scene(split: str, index: int, *, skewed: bool = False) -> Scene:
    """The scene ``index`` (0 or more) of a split; the same arguments give the same scene.

    ``skewed`` draws kinds and attributes as unevenly as the real world has them: the chance of the
    n-th is in proportion to 1/n, in an order that each kind has for itself.

    Raises ``ValueError`` for an unknown split or a negative index.
    """
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}: use one of {', '.join(SPLITS)}")
    if index < 0:
        raise ValueError(f"scene index {index} is negative: indices start at 0")
    digest = hashlib.sha256(f"{split}/{index}".encode()).digest()
    rng = random.Random(int.from_bytes(digest[:8], "big"))
    hard = rng.random() < HARD_SHARE
    overlap = rng.random() < OVERLAP_SHARE
    count = rng.randint(2, 6)
    placed = None
    while placed is None:
        placed = _place(_choose_objects(rng, count, hard, skewed), index, overlap, rng)
    objects = tuple(
        replace(
            p.what,
            bbox=(
                p.x / CANVAS,
                p.y / CANVAS,
                (p.x + p.width) / CANVAS,
                (p.y + p.height) / CANVAS,
            ),
        )
        for p in placed
    )
    return Scene(
        split=split,
        index=index,
        background=rng.choice(BACKGROUNDS),
        objects=objects,
        relations=relations_of(objects),
        jpeg_quality=rng.randint(60, 95),
        hard=hard,
    )


def relations_of(objects: tuple[SceneObject, ...]) -> tuple[Relation, ...]:
    """For every pair of objects the relation of their centres along the longer axis, both ways."""
    found: list[Relation] = []
    for i, first in enumerate(objects):
        for j in range(i + 1, len(objects)):
            a, b = first.bbox, objects[j].bbox
            dx = (b[0] + b[2] - a[0] - a[2]) / 2
            dy = (b[1] + b[3] - a[1] - a[3]) / 2
            if abs(dx) >= abs(dy):
                there, back = ("left of", "right of") if dx > 0 else ("right of", "left of")
            else:
                there, back = ("above", "below") if dy > 0 else ("below", "above")
            found += [Relation(i, there, j), Relation(j, back, i)]
    return tuple(found)


def to_json(scene: Scene) -> str:
    """The scene's truth as one line of JSON."""
    return json.dumps(asdict(scene))


def from_json(text: str) -> Scene:
    """The scene that ``to_json`` wrote. Raises ``ValueError`` when the text is something else."""
    try:
        raw = json.loads(text)
        objects = tuple(SceneObject(**{**o, "bbox": tuple(o["bbox"])}) for o in raw.pop("objects"))
        relations = tuple(Relation(**r) for r in raw.pop("relations"))
        return Scene(objects=objects, relations=relations, **raw)
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise ValueError(f"not the truth of a scene ({error}): {text[:80]!r}") from error


def _choose_objects(
    rng: random.Random, count: int, hard: bool, skewed: bool = False
) -> list[SceneObject]:
    nowhere = (0.0, 0.0, 0.0, 0.0)
    if skewed:
        chosen = _skewed_objects(rng, count)
    else:
        chosen = [
            SceneObject(kind, rng.choice(COLOURS), rng.choice(FINISHES), rng.choice(SIZES), nowhere)
            for kind in rng.sample(KINDS, count)
        ]
    if hard:  # the last object, or two of a large scene, become near-twins of the first
        twins = 2 if count >= 4 and rng.random() < 0.3 else 1
        options = [("colour", COLOURS), ("finish", FINISHES), ("size", SIZES)]
        for position, (name, values) in enumerate(rng.sample(options, twins), start=1):
            other = rng.choice([v for v in values if v != getattr(chosen[0], name)])
            # A changed attribute of its own for each twin keeps the twins apart from each other.
            chosen[-position] = SceneObject(**{**asdict(chosen[0]), name: other, "bbox": nowhere})
        rng.shuffle(chosen)
    return chosen


def _skewed_objects(rng: random.Random, count: int) -> list[SceneObject]:
    kinds: list[str] = []
    while len(kinds) < count:
        kind = _zipf(rng, KINDS, "kinds")
        if kind not in kinds:
            kinds.append(kind)
    return [
        SceneObject(
            kind,
            _zipf(rng, COLOURS, f"{kind}/colours"),
            _zipf(rng, FINISHES, f"{kind}/finishes"),
            _zipf(rng, SIZES, f"{kind}/sizes"),
            (0.0, 0.0, 0.0, 0.0),
        )
        for kind in kinds
    ]


def _zipf(rng: random.Random, values: tuple[str, ...], order: str) -> str:
    ranked = random.Random(order).sample(values, len(values))
    return rng.choices(ranked, [1 / (rank + 1) for rank in range(len(ranked))])[0]


def _place(
    chosen: list[SceneObject], index: int, overlap: bool, rng: random.Random
) -> list[_Placed] | None:
    """Put the objects on the canvas, or None when they do not fit."""
    placed: list[_Placed] = []
    sized: list[tuple[SceneObject, int, int]] = []
    for what in chosen:
        side, root = rng.choice(SIDES[what.size]), SHAPES[what.kind].aspect ** 0.5
        sized.append((what, round(side * root), round(side / root)))
    if sum(w * h for _, w, h in sized) > MAX_FILL * CANVAS**2:
        return None
    for what, width, height in sized:
        for _ in range(30):
            x = rng.randint(2, CANVAS - 2 - width)
            y = rng.randint(2, CANVAS - 2 - height)
            new = _Placed(what, x, y, width, height)
            if all(_apart(new, old, overlap) for old in placed):
                placed.append(new)
                break
        else:
            return None
    placed.sort(key=lambda p: 2 * p.x + p.width)
    return placed if not overlap or _all_visible(placed, index) else None


def _apart(a: _Placed, b: _Placed, overlap: bool) -> bool:
    if abs(2 * a.x + a.width - 2 * b.x - b.width) < 2 * MIN_STEP:
        return False
    gap = -10 if overlap else 1  # overlapping scenes may share this many pixels on each axis
    return (
        a.x + a.width + gap <= b.x
        or b.x + b.width + gap <= a.x
        or a.y + a.height + gap <= b.y
        or b.y + b.height + gap <= a.y
    )


def _all_visible(placed: list[_Placed], index: int) -> bool:
    owner = np.full((CANVAS, CANVAS), -1)
    totals = []
    for position, p in enumerate(placed):
        pixels = footprint(p.what.kind, p.width, p.height, mirrored(index, position))
        owner[p.y : p.y + p.height, p.x : p.x + p.width][pixels] = position
        totals.append(int(pixels.sum()))
    return all(
        int((owner == position).sum()) >= MIN_VISIBLE * total
        for position, total in enumerate(totals)
    )
