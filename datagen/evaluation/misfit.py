"""Whether a box of an annotation can be a box of its picture."""

from __future__ import annotations

import math

from datagen.dataset.rows import Box

_OUTSIDE = 2.0  # pixels that a box may leave the picture by: rounding, and boxes counted from 1


def misfit(box: Box, stated: tuple[int | None, int | None], size: tuple[int, int]) -> str:
    """What is wrong with a box, or nothing.

    Args:
        box: x1, y1, x2, y2 in pixels.
        stated: width and height of the picture as the annotation has them, None where it does not.
        size: those of the picture.
    """
    width, height = size
    if None not in stated and stated != size:
        return (
            f"the image is {width} × {height}, but the annotation, whose boxes are in pixels, was "
            f"made on {stated[0]} × {stated[1]}"
        )
    x1, y1, x2, y2 = box
    if not all(map(math.isfinite, box)) or x2 <= x1 or y2 <= y1:
        return f"the box {[round(v, 1) for v in box]} is empty"
    if min(x1, y1) < -_OUTSIDE or x2 > width + _OUTSIDE or y2 > height + _OUTSIDE:
        return f"the box {[round(v, 1) for v in box]} lies outside the image of {width} × {height}"
    return ""
