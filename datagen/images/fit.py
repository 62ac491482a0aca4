"""From a picture of any size to the square that a model looks at."""

from __future__ import annotations

from typing import Literal

from PIL import Image

Fit = Literal["stretch", "crop"]
"""`stretch` makes both sides the model's and loses the aspect, as FG-CLIP does; `crop` makes the
shorter side the model's and cuts the middle of the longer one, as CLIP does."""

Interpolation = Literal["bicubic", "bilinear", "lanczos"]


def fitted(
    picture: Image.Image, size: int, fit: Fit = "stretch", interpolation: Interpolation = "bicubic"
) -> Image.Image:
    """The picture as (size, size) pixels."""
    how = Image.Resampling[interpolation.upper()]
    if fit == "stretch":
        return picture if picture.size == (size, size) else picture.resize((size, size), how)
    shorter = min(picture.size)
    width, height = (int(size * side / shorter) for side in picture.size)
    if (width, height) != picture.size:
        picture = picture.resize((width, height), how)
    left, top = (width - size) // 2, (height - size) // 2
    return picture.crop((left, top, left + size, top + size))
