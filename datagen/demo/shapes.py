"""Silhouettes of the kinds of things of the small world.

Every kind is drawn in the unit square (x to the right, y down) and fills it from edge to edge,
so that the box of an object is the box of its pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageOps

SUPERSAMPLING = 4
OUTLINE_SHARE = 1.0 / 128  # outline width as a share of the picture's side


class Pen:
    """Draws unit coordinates on a body mask (what has the object's colour) and on details."""

    def __init__(self, width: int, height: int, inset: int) -> None:
        self.inset = inset
        self.inner = (width - 2 * inset - 1, height - 2 * inset - 1)
        self.body = Image.new("L", (width, height), 0)
        self.details = Image.new("L", (width, height), 0)

    def _points(self, points: tuple[float, ...]) -> list[tuple[float, float]]:
        w, h = self.inner
        pairs = zip(points[::2], points[1::2], strict=True)
        return [(self.inset + x * w, self.inset + y * h) for x, y in pairs]

    def polygon(self, *points: float, hole: bool = False) -> None:
        ImageDraw.Draw(self.body).polygon(self._points(points), fill=0 if hole else 255)

    def ellipse(self, x1: float, y1: float, x2: float, y2: float, *, hole: bool = False) -> None:
        box = self._points((x1, y1, x2, y2))
        ImageDraw.Draw(self.body).ellipse(box, fill=0 if hole else 255)

    def rectangle(self, x1: float, y1: float, x2: float, y2: float, *, hole: bool = False) -> None:
        box = self._points((x1, y1, x2, y2))
        ImageDraw.Draw(self.body).rectangle(box, fill=0 if hole else 255)

    def detail_line(self, *points: float, width: float = 0.05) -> None:
        pixels = max(2, round(width * min(self.inner)))
        ImageDraw.Draw(self.details).line(self._points(points), fill=255, width=pixels)

    def detail_ellipse(self, x1: float, y1: float, x2: float, y2: float) -> None:
        ImageDraw.Draw(self.details).ellipse(self._points((x1, y1, x2, y2)), fill=255)

    def detail_rectangle(self, x1: float, y1: float, x2: float, y2: float) -> None:
        ImageDraw.Draw(self.details).rectangle(self._points((x1, y1, x2, y2)), fill=255)


def _mug(p: Pen) -> None:
    p.ellipse(0.45, 0.2, 1.0, 0.8)
    p.ellipse(0.6, 0.35, 0.86, 0.65, hole=True)
    p.rectangle(0.0, 0.0, 0.7, 1.0)
    p.detail_rectangle(0.0, 0.0, 0.7, 0.1)


def _kettle(p: Pen) -> None:
    p.ellipse(0.3, 0.0, 0.9, 0.7)
    p.ellipse(0.41, 0.12, 0.79, 0.6, hole=True)
    p.polygon(0.42, 0.4, 0.78, 0.4, 1.0, 1.0, 0.2, 1.0)
    p.polygon(0.0, 0.42, 0.14, 0.36, 0.42, 0.7, 0.3, 0.95)


def _chair(p: Pen) -> None:
    p.rectangle(0.0, 0.0, 0.26, 1.0)
    p.rectangle(0.0, 0.46, 1.0, 0.7)
    p.rectangle(0.78, 0.6, 1.0, 1.0)


def _bird(p: Pen) -> None:
    p.ellipse(0.2, 0.3, 0.8, 0.88)
    p.ellipse(0.5, 0.0, 0.86, 0.5)
    p.polygon(0.8, 0.15, 1.0, 0.28, 0.8, 0.34)
    p.polygon(0.35, 0.45, 0.0, 0.62, 0.05, 0.9, 0.4, 0.8)
    p.polygon(0.42, 0.8, 0.48, 0.8, 0.48, 1.0, 0.36, 1.0)
    p.polygon(0.58, 0.8, 0.64, 0.8, 0.7, 1.0, 0.58, 1.0)
    p.detail_ellipse(0.66, 0.14, 0.74, 0.24)


def _car(p: Pen) -> None:
    p.polygon(0.0, 0.45, 0.2, 0.4, 0.32, 0.0, 0.72, 0.0, 0.84, 0.4, 1.0, 0.5, 1.0, 0.84, 0.0, 0.84)
    p.ellipse(0.14, 0.6, 0.36, 1.0)
    p.ellipse(0.64, 0.6, 0.86, 1.0)
    p.detail_ellipse(0.14, 0.6, 0.36, 1.0)
    p.detail_ellipse(0.64, 0.6, 0.86, 1.0)
    p.detail_rectangle(0.36, 0.1, 0.5, 0.36)
    p.detail_rectangle(0.56, 0.1, 0.7, 0.36)


def _fish(p: Pen) -> None:
    p.ellipse(0.25, 0.08, 1.0, 0.92)
    p.polygon(0.0, 0.0, 0.4, 0.5, 0.0, 1.0)
    p.detail_ellipse(0.8, 0.32, 0.88, 0.46)


def _tree(p: Pen) -> None:
    p.polygon(0.5, 0.0, 0.82, 0.32, 0.18, 0.32)
    p.polygon(0.5, 0.12, 0.92, 0.58, 0.08, 0.58)
    p.polygon(0.5, 0.32, 1.0, 0.84, 0.0, 0.84)
    p.rectangle(0.4, 0.8, 0.6, 1.0)
    p.detail_rectangle(0.4, 0.86, 0.6, 1.0)


def _house(p: Pen) -> None:
    p.polygon(0.5, 0.0, 1.0, 0.45, 0.0, 0.45)
    p.rectangle(0.1, 0.42, 0.9, 1.0)
    p.detail_rectangle(0.42, 0.66, 0.6, 1.0)
    p.detail_line(0.0, 0.45, 1.0, 0.45, width=0.05)


def _umbrella(p: Pen) -> None:
    p.ellipse(0.0, 0.0, 1.0, 1.1)
    p.rectangle(0.0, 0.56, 1.0, 1.0, hole=True)
    for left in (0.0, 1 / 3, 2 / 3):
        p.ellipse(left + 0.02, 0.46, left + 1 / 3 - 0.02, 0.66, hole=True)
    p.rectangle(0.46, 0.3, 0.55, 1.0)
    p.rectangle(0.46, 0.9, 0.76, 1.0)
    p.rectangle(0.67, 0.78, 0.76, 1.0)


def _lamp(p: Pen) -> None:
    p.polygon(0.25, 0.0, 0.75, 0.0, 1.0, 0.52, 0.0, 0.52)
    p.rectangle(0.42, 0.5, 0.58, 0.9)
    p.rectangle(0.14, 0.86, 0.86, 1.0)


def _boat(p: Pen) -> None:
    p.polygon(0.0, 0.68, 1.0, 0.68, 0.8, 1.0, 0.2, 1.0)
    p.rectangle(0.44, 0.0, 0.5, 0.7)
    p.polygon(0.44, 0.0, 0.92, 0.56, 0.44, 0.56)
    p.polygon(0.36, 0.12, 0.36, 0.56, 0.08, 0.56)


def _clock(p: Pen) -> None:
    p.ellipse(0.0, 0.0, 0.4, 0.36)
    p.ellipse(0.6, 0.0, 1.0, 0.36)
    p.polygon(0.1, 1.0, 0.3, 0.7, 0.4, 0.8, 0.24, 1.0)
    p.polygon(0.9, 1.0, 0.7, 0.7, 0.6, 0.8, 0.76, 1.0)
    p.ellipse(0.05, 0.08, 0.95, 0.96)
    p.detail_line(0.5, 0.54, 0.5, 0.2, width=0.07)
    p.detail_line(0.5, 0.54, 0.74, 0.6, width=0.07)


def _bottle(p: Pen) -> None:
    p.rectangle(0.33, 0.0, 0.67, 0.35)
    p.ellipse(0.0, 0.26, 1.0, 0.66)
    p.rectangle(0.0, 0.46, 1.0, 1.0)
    p.detail_rectangle(0.33, 0.0, 0.67, 0.09)


def _shirt(p: Pen) -> None:
    p.polygon(0.28, 0.0, 0.72, 0.0, 1.0, 0.26, 0.88, 0.5, 0.76, 0.4, 0.76, 1.0,
              0.24, 1.0, 0.24, 0.4, 0.12, 0.5, 0.0, 0.26)  # fmt: skip
    p.ellipse(0.36, -0.16, 0.64, 0.16, hole=True)


@dataclass(frozen=True)
class Shape:
    """How one kind is drawn, and its width divided by its height."""

    paint: Callable[[Pen], None]
    aspect: float


SHAPES: dict[str, Shape] = {
    "mug": Shape(_mug, 1.05),
    "kettle": Shape(_kettle, 1.1),
    "chair": Shape(_chair, 0.75),
    "bird": Shape(_bird, 1.1),
    "car": Shape(_car, 1.75),
    "fish": Shape(_fish, 1.6),
    "tree": Shape(_tree, 0.75),
    "house": Shape(_house, 1.0),
    "umbrella": Shape(_umbrella, 1.0),
    "lamp": Shape(_lamp, 0.8),
    "boat": Shape(_boat, 1.05),
    "clock": Shape(_clock, 0.95),
    "bottle": Shape(_bottle, 0.58),
    "shirt": Shape(_shirt, 1.05),
}


@dataclass(frozen=True)
class Masks:
    """Coverage of one silhouette, "L" images of one size: all of it, its body, its details."""

    whole: Image.Image
    body: Image.Image
    details: Image.Image


@lru_cache(maxsize=4096)
def masks_of(kind: str, width: int, height: int, mirrored: bool, outline: float = 1.0) -> Masks:
    """Masks of a kind drawn to fill ``width`` x ``height`` pixels, with an outline inside them.

    ``outline`` is the outline's width in pixels. Raises ``KeyError`` for an unknown kind.
    """
    masks = masks_drawn(SHAPES[kind].paint, width, height, outline)
    if not mirrored:
        return masks
    return Masks(*(ImageOps.mirror(m) for m in (masks.whole, masks.body, masks.details)))


def masks_drawn(
    paint: Callable[[Pen], None], width: int, height: int, outline: float = 1.0
) -> Masks:
    """Masks of what ``paint`` draws in the unit square, as those of `masks_of`."""
    grow = max(1, round(outline * SUPERSAMPLING))
    pen = Pen(width * SUPERSAMPLING, height * SUPERSAMPLING, grow)
    paint(pen)
    whole = pen.body.filter(ImageFilter.MaxFilter(2 * grow + 1))
    return Masks(*(layer.reduce(SUPERSAMPLING) for layer in (whole, pen.body, pen.details)))


@lru_cache(maxsize=4096)
def footprint(kind: str, width: int, height: int, mirrored: bool) -> np.ndarray:
    """Boolean array (height, width): the pixels that the silhouette covers at least half."""
    return np.asarray(masks_of(kind, width, height, mirrored).whole) >= 128
