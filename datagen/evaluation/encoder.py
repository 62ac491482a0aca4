"""What a benchmark asks of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from datagen.dataset.rows import Box

Embeddings = NDArray[np.float32]
"""(n, E), unit length"""


class Encoder(Protocol):
    """A model that embeds images, regions and texts in one space, with unit length."""

    @property
    def settings(self) -> Mapping[str, str | int]:
        """What of its preprocessing moves a score; becomes part of every result."""
        ...

    def fingerprint(self) -> str:
        """The same for encoders that give the same embeddings: of weights and preprocessing."""
        ...

    def encode_images(
        self, pictures: Sequence[Image.Image], boxes: Sequence[Sequence[Box]]
    ) -> tuple[Embeddings, list[Embeddings]]:
        """Embed pictures, and the regions of each (boxes x1, y1, x2, y2 in 0..1; may be none)."""
        ...

    def encode_texts(self, texts: Sequence[str], *, long: bool) -> Embeddings:
        """Embed texts; `long` ones with the positions for long texts, if the model has them."""
        ...
