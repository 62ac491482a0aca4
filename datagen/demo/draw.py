"""Pictures of scenes: flat backgrounds, outlined silhouettes, a texture for each finish."""

from __future__ import annotations

import io
import math
from functools import lru_cache

from PIL import Image, ImageDraw

from datagen.demo.shapes import OUTLINE_SHARE, masks_of
from datagen.demo.world import CANVAS, Scene, SceneObject, mirrored

RGB = tuple[int, int, int]

COLOUR_VALUES: dict[str, RGB] = {
    "red": (214, 30, 36),
    "orange": (250, 135, 10),
    "yellow": (250, 222, 30),
    "green": (30, 150, 55),
    "blue": (30, 85, 215),
    "purple": (125, 45, 165),
    "pink": (250, 130, 185),
    "brown": (122, 72, 34),
    "black": (30, 30, 32),
    "white": (250, 250, 250),
}
BACKGROUND_VALUES: dict[str, RGB] = {
    "pale gray": (196, 198, 200),
    "beige": (222, 208, 178),
    "pale blue": (178, 204, 224),
    "pale green": (188, 214, 186),
    "lavender": (206, 196, 226),
}
OUTLINE: RGB = (24, 24, 28)
WHITE: RGB = (255, 255, 255)
STEEL: RGB = (30, 32, 40)
# What the pattern is painted with: pale on dark colours, dark on pale ones.
_PALE_COLOURS = {"yellow", "white", "pink", "orange"}
# Black and white keep to their own half of the greys, or a chessboard could be either.
_MARK_SHARES = {"black": 0.42, "white": 0.45}
_SHEEN = {"black": (0.5, 0.7), "white": (0.85, 0.5)}
_SAMPLING = 4


def draw(scene: Scene, size: int = CANVAS) -> Image.Image:
    """The scene as an RGB picture of ``size`` x ``size`` pixels."""
    picture = Image.new("RGB", (size, size), BACKGROUND_VALUES[scene.background])
    for position, what in enumerate(scene.objects):
        _paint(picture, what, mirrored(scene.index, position))
    return picture


def encode_jpeg(scene: Scene, size: int = CANVAS) -> bytes:
    """The scene as a JPEG file of ``scene.jpeg_quality``."""
    buffer = io.BytesIO()
    draw(scene, size).save(buffer, "JPEG", quality=scene.jpeg_quality, subsampling=0)
    return buffer.getvalue()


def _paint(picture: Image.Image, what: SceneObject, mirror: bool) -> None:
    side = picture.width
    x1, y1, x2, y2 = (round(value * side) for value in what.bbox)
    masks = masks_of(what.kind, x2 - x1, y2 - y1, mirror, OUTLINE_SHARE * side)
    sheet = texture(what.colour, what.finish, x2 - x1, y2 - y1, side / CANVAS)
    picture.paste(OUTLINE, (x1, y1), masks.whole)
    picture.paste(sheet, (x1, y1), masks.body)
    picture.paste(detail_of(what.colour), (x1, y1), masks.details)


def detail_of(colour: str) -> RGB:
    """What wheels, windows and the like are painted with on a thing of this colour."""
    return (205, 205, 210) if colour == "black" else OUTLINE


@lru_cache(maxsize=8192)
def texture(colour: str, finish: str, width: int, height: int, scale: float = 1.0) -> Image.Image:
    """A sheet of ``width`` x ``height`` pixels; ``scale`` is a picture's side over ``CANVAS``."""
    base = COLOUR_VALUES[colour]
    zoom = _SAMPLING * scale  # pixels of the sheet for one pixel of the canvas
    w, h = width * _SAMPLING, height * _SAMPLING
    sheet = Image.new("RGB", (w, h), base)
    pen = ImageDraw.Draw(sheet)
    mark = _mark(colour)
    if finish == "striped":  # diagonal bands
        step, band = 8 * zoom, round(2.6 * zoom)
        for i in range(-math.ceil(h / step) - 1, math.ceil(w / step) + 1):
            pen.line([(i * step, h), (i * step + h, 0)], fill=mark, width=band)
    elif finish == "dotted":  # round dots in staggered rows
        step, radius = 7 * zoom, 1.75 * zoom
        for row in range(math.ceil(h / step) + 1):
            for column in range(-1, math.ceil(w / step) + 1):
                x = (column + 0.5 + 0.5 * (row % 2)) * step
                y = (row + 0.5) * step
                pen.ellipse([x - radius, y - radius, x + radius, y + radius], fill=mark)
    elif finish == "checkered":  # a chessboard
        cell = 5 * zoom
        for row in range(math.ceil(h / cell)):
            for column in range(row % 2, math.ceil(w / cell), 2):
                x, y = column * cell, row * cell
                pen.rectangle([x, y, x + cell - 1, y + cell - 1], fill=mark)
    elif finish == "wooden":  # boards with wavy grain
        grain = (92, 46, 14) if colour in _PALE_COLOURS else (226, 170, 104)
        step = 5.5 * zoom
        for row in range(math.ceil(h / step) + 1):
            y0 = row * step + 0.4 * step
            line = [
                (x, y0 + 0.22 * step * math.sin(x / (3.5 * zoom) + row * 2.1))
                for x in range(0, w + 4, 4)
            ]
            pen.line(line, fill=grain, width=round(1.6 * zoom))
    elif finish == "metal":  # a soft sheen, bright and dark in turn
        for y in range(h):
            wave = math.cos(2 * math.pi * (y / (17 * zoom) - 0.2))
            bright, dim = _SHEEN.get(colour, (0.85, 0.7))
            shade = _mix(base, WHITE, bright * wave) if wave > 0 else _mix(base, STEEL, -dim * wave)
            pen.line([(0, y), (w, y)], fill=shade)
    return sheet.reduce(_SAMPLING)


def _mark(colour: str) -> RGB:
    """What a pattern of this colour is painted with."""
    base = COLOUR_VALUES[colour]
    if colour in _PALE_COLOURS:
        return _mix(base, STEEL, _MARK_SHARES.get(colour, 0.62))
    return _mix(base, WHITE, _MARK_SHARES.get(colour, 0.72))


def _mix(colour: RGB, other: RGB, share: float) -> RGB:
    share = min(1.0, max(0.0, share))
    r, g, b = (round(c + (o - c) * share) for c, o in zip(colour, other, strict=True))
    return (r, g, b)
