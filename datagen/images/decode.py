"""Safe decoding: from the bytes of a file to the picture as a viewer would show it."""

from __future__ import annotations

import hashlib
import io
import warnings
from dataclasses import dataclass

import imagehash
from PIL import Image, ImageOps

from datagen.stage import RowError

MAX_PIXELS = 64_000_000
"""Larger pictures are refused before their pixels are decoded."""


class ImageError(RowError):
    """The bytes are no picture that can be shown; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageInfo:
    """What the images table keeps of a picture; sizes are of the picture as shown."""

    image_id: str
    width: int
    height: int
    format: str
    phash: str


def image_id(data: bytes) -> str:
    """First 128 bits of the SHA-256 of the encoded bytes, in hex (32 characters)."""
    return hashlib.sha256(data).hexdigest()[:32]


def decode(data: bytes, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Decode to RGB: first frame, EXIF rotation applied, transparency laid on white.

    Args:
        data: the encoded image.
        max_pixels: limit of width times height, checked before decoding.

    Raises:
        ImageError: no image, truncated, or too large.
    """
    return _decode(data, max_pixels)[0]


def inspect(data: bytes, max_pixels: int = MAX_PIXELS) -> ImageInfo:
    """Decode once, fully, and say what the picture is.

    Raises:
        ImageError: as `decode`.
    """
    picture, file_format = _decode(data, max_pixels)
    return ImageInfo(
        image_id=image_id(data),
        width=picture.width,
        height=picture.height,
        format=file_format,
        phash=str(imagehash.phash(picture)),
    )


def _decode(data: bytes, max_pixels: int) -> tuple[Image.Image, str]:
    if not data:
        raise ImageError("the file is empty")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # we set a limit below
            picture = Image.open(io.BytesIO(data))
        file_format = picture.format or "unknown"
        if picture.width * picture.height > max_pixels:
            raise ImageError(
                f"{picture.width}×{picture.height} pixels, the limit is {max_pixels:,}"
            )
        picture.load()
        return _as_rgb(ImageOps.exif_transpose(picture)), file_format
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageError(f"too many pixels, the limit is {max_pixels:,}: {error}") from None
    except Image.UnidentifiedImageError:
        raise ImageError(f"not an image (begins with {data[:12]!r})") from None
    except Exception as error:  # Pillow's decoders raise anything on hostile bytes
        raise ImageError(f"cannot be decoded: {type(error).__name__}: {error}") from None


def _as_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith(("I", "F")):  # 16 bits and more: scale, else all turns white
        low, high = picture.getextrema()
        scale = 255.0 / max(float(high) - min(0.0, float(low)), 255.0)  # type: ignore[arg-type]
        picture = picture.convert("F").point(lambda value: value * scale).convert("L")
    if picture.has_transparency_data:
        rgba = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return picture.convert("RGB")
