"""Dense similarity maps: where in a picture a model sees a phrase.

FG-CLIP's feature of a region is the mean of the dense features of its patches, weighted as RoIAlign
does it. A box that lies around the middle of one patch has that patch's feature, so the map is
made with what scores regions: a small box in each cell of the model's grid.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from datagen.dataset.rows import Box
from datagen.evaluation.encoder import Encoder

_HALF = 0.25  # of a cell: RoIAlign takes one sample of such a box, in the cell's middle


def similarity_maps(
    encoder: Encoder, picture: Image.Image, phrases: Sequence[str], side: int
) -> NDArray[np.float32]:
    """Cosine of each phrase with each patch of the picture.

    Args:
        encoder: with dense features of regions.
        picture: stretched to the model's square, as for regions.
        phrases: encoded as short texts.
        side: patches along a side of the model's grid.

    Returns:
        (phrases, side, side), rows from top to bottom.
    """
    cells = [_middle(row, column, side) for row in range(side) for column in range(side)]
    _, (patches,) = encoder.encode_images([picture], [cells])
    texts = encoder.encode_texts(list(phrases), long=False)
    return (texts @ patches.T).reshape(len(phrases), side, side)


def _middle(row: int, column: int, side: int) -> Box:
    x, y = column + 0.5, row + 0.5
    return ((x - _HALF) / side, (y - _HALF) / side, (x + _HALF) / side, (y + _HALF) / side)
