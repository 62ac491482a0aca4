"""Pictures whose objects wear blotches that have no name, so that tiny models tell kinds by shape.

Trained on named colours and finishes alone, the captioner's vision tower knew the kind of 96 % of
the objects, but of 75 % of those whose pair of attributes it had never met: it had learnt kinds
colour by colour and pattern by pattern. 300 more steps at a falling rate with such pictures, of
which only kinds, sizes and places are told, made that 98 % and 91 %; 250 such steps with pictures
in other colours, but with their finishes, 99 % and 81 %.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from datagen.demo.draw import BACKGROUND_VALUES, COLOUR_VALUES, OUTLINE
from datagen.demo.held_out import COLOUR_OF
from datagen.demo.shapes import OUTLINE_SHARE, masks_of
from datagen.demo.world import CANVAS, Scene, mirrored

APART = 90  # RGB distance that blotches keep from the colour held out for the kind
PALE_DETAIL = (205, 205, 210)


def draw_unnamed(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    """The scene as a JPEG shows it, (128, 128, 3) uint8, its objects in blotches of two colours.

    The colours are any but those near the kind's held-out colour, and blotches are none of the
    finishes: pairs that are held out do not come in by this door.
    """
    picture = Image.new("RGB", (CANVAS, CANVAS), BACKGROUND_VALUES[scene.background])
    for position, what in enumerate(scene.objects):
        x1, y1, x2, y2 = (round(value * CANVAS) for value in what.bbox)
        mirror = mirrored(scene.index, position)
        masks = masks_of(what.kind, x2 - x1, y2 - y1, mirror, OUTLINE_SHARE * CANVAS)
        pair = _colours(what.kind, rng)
        picture.paste(OUTLINE, (x1, y1), masks.whole)
        picture.paste(_blotches(x2 - x1, y2 - y1, pair, rng), (x1, y1), masks.body)
        detail = PALE_DETAIL if pair.mean() < 60 else OUTLINE
        picture.paste(detail, (x1, y1), masks.details)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=scene.jpeg_quality, subsampling=0)
    return np.asarray(Image.open(buffer))


def _colours(kind: str, rng: np.random.Generator) -> np.ndarray:
    """Two random RGB colours (2, 3); they and their mixtures are far from the held-out one."""
    shares = np.linspace(0, 1, 5)[:, None]
    while True:
        pair = rng.uniform(0, 255, (2, 3))
        mixtures = shares * pair[0] + (1 - shares) * pair[1]
        distances = np.linalg.norm(mixtures - COLOUR_VALUES[COLOUR_OF[kind]], axis=1)
        if distances.min() >= APART:
            return pair


def _blotches(width: int, height: int, pair: np.ndarray, rng: np.random.Generator) -> Image.Image:
    """Smooth random spots of 2 to 8 pixels that mix two colours (2, 3), sharply or softly."""
    grain = rng.uniform(2, 8)
    coarse = rng.random((int(height / grain) + 2, int(width / grain) + 2)).astype(np.float32)
    spots = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
    share = np.clip(0.5 + (spots - 0.5) * rng.uniform(1, 12), 0, 1)[..., None]
    mixed = share * pair[0] + (1 - share) * pair[1]
    return Image.fromarray(mixed.astype(np.uint8))
