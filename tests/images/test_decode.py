"""Pictures come out as a viewer would show them; what is no picture is refused with a reason."""

import io

import numpy as np
import pytest
from PIL import Image

from datagen.images.decode import ImageError, decode, inspect


def encoded(picture: Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def test_exif_rotation_is_applied():
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: shown upright, width and height change places
    data = encoded(Image.new("RGB", (40, 20), "red"), "JPEG", exif=exif)
    assert decode(data).size == (20, 40)
    info = inspect(data)
    assert (info.width, info.height, info.format) == (20, 40, "JPEG")


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "CMYK", "RGBA", "I;16", "I", "F"])
def test_every_mode_becomes_rgb(mode):
    kind = "TIFF" if mode in ("CMYK", "F", "I") else "PNG"
    picture = decode(encoded(Image.new(mode, (8, 8)), kind))
    assert picture.mode == "RGB" and picture.size == (8, 8)


def test_sixteen_bits_keep_their_shades():
    values = np.linspace(0, 65535, 64, dtype=np.uint16).reshape(8, 8)
    shades = np.asarray(decode(encoded(Image.fromarray(values))))[..., 0]
    assert shades.min() == 0 and shades.max() >= 254 and len(np.unique(shades)) > 50


def test_transparency_is_laid_on_white():
    clear = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    assert decode(encoded(clear)).getpixel((0, 0)) == (255, 255, 255)


def test_the_first_frame_of_an_animation_is_taken():
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert decode(data).getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"<html>404</html>", "not an image"),
        (encoded(Image.effect_noise((64, 64), 50), "JPEG")[:600], "cannot be decoded"),
    ],
)
def test_what_is_no_picture_is_refused(data, reason):
    with pytest.raises(ImageError, match=reason):
        decode(data)


@pytest.mark.parametrize("side", [10_000, 20_000])
def test_a_bomb_is_refused_before_its_pixels_are_decoded(side):
    data = encoded(Image.new("1", (side, side)))
    with pytest.raises(ImageError, match="pixels, the limit is 64,000,000"):
        decode(data)


def test_equal_bytes_have_equal_ids():
    data = encoded(Image.new("RGB", (8, 8)))
    assert inspect(data).image_id == inspect(bytes(data)).image_id
    assert len(inspect(data).image_id) == 32
