"""Training data of the tiny captioner: rendered scenes, cell labels, tokenised captions."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from datagen.demo.draw import encode_jpeg
from datagen.demo.held_out import training_scene
from datagen.demo.language import long_caption, short_caption
from datagen.demo.shapeless import blobs, draw_shapeless
from datagen.demo.shapes import footprint
from datagen.demo.unnamed import draw_unnamed
from datagen.demo.world import (
    CANVAS,
    COLOURS,
    FINISHES,
    KINDS,
    SIZES,
    Scene,
    from_json,
    mirrored,
    to_json,
)

CELLS = 8  # the vision tower's patches a side
MIN_COVER = 0.12  # a cell belongs to an object when this share of its pixels does
ATTRIBUTES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("kind", KINDS),
    ("colour", COLOURS),
    ("finish", FINISHES),
    ("size", SIZES),
)
MAX_OBJECTS = 6
UNNAMED_SHARE = 0.25  # of the pictures, whose colours and finishes have no names
SHAPELESS_SHARE = 0.25  # of the pictures, whose kinds have no names
UNTOLD_KIND = -2  # the label of a cell of such an object: something is there
SWAP_SHARE = 0.1
"""Words of colour and finish that stand wrong before what is to be said next. A captioner that
trusts its own words learns which kinds never follow which colours; the picture should tell it."""


def render_cache(folder: Path, count: int, log: Callable[[str], None] = print) -> None:
    """Draw the first ``count`` training scenes into ``folder``, unless they are there."""
    if (folder / f"done-{count}").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    offsets = [0]
    with (folder / "images.bin").open("wb") as images, (folder / "scenes.jsonl").open("w") as truth:
        for index in range(count):
            scene = training_scene(index)
            offsets.append(offsets[-1] + images.write(encode_jpeg(scene)))
            truth.write(to_json(scene) + "\n")
            if (index + 1) % 10_000 == 0:
                log(f"rendered {index + 1} of {count} scenes")
    np.save(folder / "offsets.npy", np.array(offsets))
    (folder / f"done-{count}").touch()


def flipped(scene: Scene) -> Scene:
    """The scene seen in a mirror, without its relations; only captions may be taken from it."""
    objects = tuple(
        replace(o, bbox=(1 - o.bbox[2], o.bbox[1], 1 - o.bbox[0], o.bbox[3]))
        for o in reversed(scene.objects)
    )
    return replace(scene, objects=objects, relations=())


def cell_owners(scene: Scene, shapes: Sequence[np.ndarray] | None = None) -> np.ndarray:
    """For each of the 8x8 cells the position of the object that covers most of it, or -1.

    ``shapes`` are the objects' pixels in their boxes, bool (height, width), if not their kinds'.
    """
    cover = np.zeros((len(scene.objects), CANVAS, CANVAS), dtype=bool)
    for position, what in enumerate(scene.objects):
        x1, y1, x2, y2 = (round(v * CANVAS) for v in what.bbox)
        pixels = (
            footprint(what.kind, x2 - x1, y2 - y1, mirrored(scene.index, position))
            if shapes is None
            else shapes[position]
        )
        cover[:position, y1:y2, x1:x2] &= ~pixels
        cover[position, y1:y2, x1:x2] = pixels
    step = CANVAS // CELLS
    shares = cover.reshape(len(cover), CELLS, step, CELLS, step).mean(axis=(2, 4))
    return np.where(shares.max(axis=0) >= MIN_COVER, shares.argmax(axis=0), -1)


@dataclass(frozen=True)
class Batch:
    """Pixels (n, 3, 128, 128) in -1..1; per-cell labels (n, 64), -1 where nothing is; captions.

    ``labels`` has one column for kind, colour, finish, size and rank: shape (n, 64, 5); the
    colours and finishes of unnamed pictures are -1, the kinds of shapeless ones ``UNTOLD_KIND``,
    and all of them ``pad`` in ``tokens``.
    ``centres`` (n, 64, 2) are x and y of the object's middle in 0..1 (nothing there: 0).
    ``tokens`` are caption ids (n, longest) padded with ``pad``; ``heard`` are those that the
    model is told to go on from: ``tokens`` with some words swapped.
    """

    pixels: torch.Tensor
    labels: torch.Tensor
    centres: torch.Tensor
    tokens: torch.Tensor
    heard: torch.Tensor


class TrainingScenes:
    """The rendered scenes of a cache folder, each also seen in a mirror.

    ``kinds``, ``colours`` and ``finishes`` are ids of their words.
    """

    def __init__(
        self,
        folder: Path,
        encode: Callable[[list[str]], list[list[int]]],
        kinds: Sequence[int],
        colours: Sequence[int],
        finishes: Sequence[int],
        pad: int,
    ) -> None:
        self.kinds, self.colours, self.finishes, self.pad = kinds, colours, finishes, pad
        self.offsets = np.load(folder / "offsets.npy")
        self.images = (folder / "images.bin").read_bytes()
        scenes = [from_json(line) for line in (folder / "scenes.jsonl").read_text().splitlines()]
        self.scenes, self.count = scenes, len(scenes)
        self.owners = np.stack([cell_owners(scene) for scene in scenes]).astype(np.int8)
        self.attributes = np.full((self.count, MAX_OBJECTS + 1, 5), -1, dtype=np.int8)
        for row, scene in zip(self.attributes, scenes, strict=True):
            for rank, what in enumerate(scene.objects):
                row[rank] = [v.index(getattr(what, name)) for name, v in ATTRIBUTES] + [rank]
        self.centres = np.zeros((self.count, MAX_OBJECTS + 1, 2), dtype=np.float32)
        for places, scene in zip(self.centres, scenes, strict=True):
            for rank, what in enumerate(scene.objects):
                x1, y1, x2, y2 = what.bbox
                places[rank] = (x1 + x2) / 2, (y1 + y2) / 2
        self.objects = np.array([len(scene.objects) for scene in scenes])
        turned = [flipped(scene) for scene in scenes]
        self.captions = {
            (kind, flip): encode([caption(scene) for scene in group])
            for kind, caption in (("long", long_caption), ("short", short_caption))
            for flip, group in ((False, scenes), (True, turned))
        }

    def batch(self, indices: np.ndarray, caption: str, rng: np.random.Generator) -> Batch:
        """The scenes of ``indices``, half of them mirrored, with "long" or "short" captions."""
        flips = rng.random(len(indices)) < 0.5
        pixels = np.empty((len(indices), CANVAS, CANVAS, 3), dtype=np.uint8)
        labels = np.empty((len(indices), CELLS, CELLS, 5), dtype=np.int64)
        centres = np.empty((len(indices), CELLS, CELLS, 2), dtype=np.float32)
        tokens: list[list[int]] = []
        drawn = rng.random(len(indices))
        unnamed = drawn < UNNAMED_SHARE
        shapeless = (drawn >= UNNAMED_SHARE) & (drawn < UNNAMED_SHARE + SHAPELESS_SHARE)
        for row, (i, flip) in enumerate(zip(indices, flips, strict=True)):
            scene, owners = self.scenes[i], self.owners[i]
            if unnamed[row]:
                picture = draw_unnamed(scene, rng)
            elif shapeless[row]:
                masks = blobs(scene, rng)
                picture = draw_shapeless(scene, masks)
                owners = cell_owners(scene, [np.asarray(m.whole) >= 128 for m in masks])
            else:
                jpeg = self.images[self.offsets[i] : self.offsets[i + 1]]
                picture = np.asarray(Image.open(io.BytesIO(jpeg)))
            label = self.attributes[i][owners].astype(np.int64)
            place = self.centres[i][owners]
            if unnamed[row]:
                label[..., 1:3] = -1
            if shapeless[row]:
                label[..., 0][label[..., 0] >= 0] = UNTOLD_KIND
            if flip:
                picture, label, place = picture[:, ::-1], label[:, ::-1].copy(), place[:, ::-1]
                place = np.abs((1, 0) - place)
                ranks = label[..., 4]
                ranks[ranks >= 0] = self.objects[i] - 1 - ranks[ranks >= 0]
            pixels[row], labels[row], centres[row] = picture, label, place
            tokens.append(self.captions[caption, bool(flip)][i])
        longest = max(len(ids) for ids in tokens)
        padded = np.array([ids + [self.pad] * (longest - len(ids)) for ids in tokens])
        heard = padded.copy()
        for group, untold in (
            (self.kinds, shapeless),
            (self.colours, unnamed),
            (self.finishes, unnamed),
        ):
            words = np.isin(padded, group)
            swapped = rng.random(padded.shape) < (0 if group is self.kinds else SWAP_SHARE)
            wrong = words & (untold[:, None] | swapped)
            heard[wrong] = rng.choice(group, wrong.sum())
            padded[words & untold[:, None]] = self.pad
        scaled = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1
        return Batch(
            scaled.contiguous(),
            torch.from_numpy(labels.reshape(len(indices), -1, 5)),
            torch.from_numpy(centres.reshape(len(indices), -1, 2)),
            torch.from_numpy(padded),
            torch.from_numpy(heard),
        )
