"""A similarity map as a picture to lay over a photo: dark where it is low, bright where high."""

from __future__ import annotations

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image

LEVELS = 64
SIDE = 96  # pixels of the overlay; the page stretches it over the photo


def overlay(values: NDArray[np.floating], low: float, high: float) -> Image.Image:
    """Colours of a (rows, columns) map: `low` and what is below it is dark, `high` is bright.

    The values are interpolated between the middles of their cells, not the colours.
    """
    share = (values - low) / max(high - low, 1e-9)
    image = Image.fromarray(share.astype(np.float32)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    levels = np.clip(np.asarray(image) * LEVELS, 0, LEVELS - 1).astype(np.uint8)
    picture = Image.fromarray(levels).convert("P")
    colours = matplotlib.colormaps["inferno"](np.linspace(0, 1, LEVELS))[:, :3]
    picture.putpalette((colours * 255).astype(np.uint8).tobytes())
    return picture
