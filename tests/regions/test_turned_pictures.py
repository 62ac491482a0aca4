"""Boxes are of the picture as shown: a camera's turn (EXIF) is done before the detector looks."""

import asyncio
import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from datagen.regions import backends
from datagen.regions.boxes import Detection
from datagen.regions.stage import CaptionedImage, RegionsConfig, RegionsStage


class FindsRed:
    """A detector that puts its box around what is red in the picture that it is given."""

    def __init__(self, model, revision=None, device=None):
        pass

    def detect(self, images, phrases):
        return [[Detection(0, red_box(image), 0.9)] for image in images]


def red_box(image):
    pixels = np.asarray(image.convert("RGB")).astype(int)
    rows, columns = np.nonzero(pixels[..., 0] - pixels[..., 2] > 100)
    height, width = pixels.shape[:2]
    x1, x2 = columns.min() / width, (columns.max() + 1) / width
    return (float(x1), float(rows.min() / height), float(x2), float((rows.max() + 1) / height))


def taken(orientation):
    """A blue picture with red in a corner, in a file whose camera was held in some way."""
    picture = Image.new("RGB", (64, 32), "blue")
    picture.paste((255, 0, 0), (0, 0, 16, 16))
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", exif=exif)
    return buffer.getvalue()


async def regions_of(data):
    stage = RegionsStage(RegionsConfig(detector="some/model"))
    await stage.open()
    try:
        return await stage.process(CaptionedImage("an id", data, "There is a red mug."))
    finally:
        await stage.close()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_box_is_where_a_viewer_sees_it(monkeypatch, orientation):
    monkeypatch.setattr(backends, "TransformersDetector", FindsRed)
    data = taken(orientation)
    row, _ = asyncio.run(regions_of(data))
    assert row.bbox == red_box(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
