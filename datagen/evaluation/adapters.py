"""Encoders made of others: whole pictures, or crops, in place of features of regions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

from datagen.dataset.rows import Box
from datagen.evaluation.encoder import Embeddings, Encoder

_BATCH = 64


class WholeImages:
    """Every box of a picture has the picture's own embedding."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder

    @property
    def settings(self) -> Mapping[str, str | int]:
        """See `Encoder`."""
        return {**self._encoder.settings, "regions": "whole picture"}

    def fingerprint(self) -> str:
        """See `Encoder`."""
        return f"whole {self._encoder.fingerprint()}"

    def encode_images(
        self, pictures: Sequence[Image.Image], boxes: Sequence[Sequence[Box]]
    ) -> tuple[Embeddings, list[Embeddings]]:
        """See `Encoder`."""
        images, _ = self._encoder.encode_images(pictures, [()] * len(pictures))
        regions = [
            np.repeat(image[None], len(found), 0)
            for image, found in zip(images, boxes, strict=True)
        ]
        return images, regions

    def encode_texts(self, texts: Sequence[str], *, long: bool) -> Embeddings:
        """See `Encoder`."""
        return self._encoder.encode_texts(texts, long=long)


class Crops:
    """A box is cut out, its pixels made a picture of their own, and that is embedded.

    The protocol for models without dense features; a crop has at least one pixel.
    """

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder

    @property
    def settings(self) -> Mapping[str, str | int]:
        """See `Encoder`."""
        return {**self._encoder.settings, "regions": "crop"}

    def fingerprint(self) -> str:
        """See `Encoder`."""
        return f"crops {self._encoder.fingerprint()}"

    def encode_images(
        self, pictures: Sequence[Image.Image], boxes: Sequence[Sequence[Box]]
    ) -> tuple[Embeddings, list[Embeddings]]:
        """See `Encoder`."""
        images, _ = self._encoder.encode_images(pictures, [()] * len(pictures))
        crops = [
            _crop(picture, box)
            for picture, found in zip(pictures, boxes, strict=True)
            for box in found
        ]
        parts = [images[:0]]
        for start in range(0, len(crops), _BATCH):
            some = crops[start : start + _BATCH]
            parts.append(self._encoder.encode_images(some, [()] * len(some))[0])
        ends = np.cumsum([len(found) for found in boxes])
        return images, np.split(np.concatenate(parts), ends[:-1])

    def encode_texts(self, texts: Sequence[str], *, long: bool) -> Embeddings:
        """See `Encoder`."""
        return self._encoder.encode_texts(texts, long=long)


def _crop(picture: Image.Image, box: Box) -> Image.Image:
    width, height = picture.size
    x1, y1 = (
        min(max(0, round(v * size)), size - 1)
        for v, size in zip(box[:2], picture.size, strict=True)
    )
    x2, y2 = min(width, round(box[2] * width)), min(height, round(box[3] * height))
    return picture.crop((x1, y1, max(x1 + 1, x2), max(y1 + 1, y2)))
