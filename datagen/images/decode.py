"""Safe decoding: from the bytes of a file to the picture as a viewer would show it.

Bytes from the web are hostile. Only formats that cameras and the web use are decoded; a size,
frame, tile or scan count that would cost more than the picture is worth is refused before it
does; and whatever Pillow raises comes out as `ImageError` with a reason.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from dataclasses import dataclass

import imagehash
from PIL import ExifTags, Image, TiffImagePlugin

from datagen.stage import RowError

MAX_PIXELS = 64_000_000
"""Larger pictures are refused before their pixels are decoded."""
MAX_JPEG_SCANS = 200
"""A progressive JPEG has about ten; each scan, even an empty one, costs a pass over all pixels."""
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
_HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"hevm", b"mif1", b"msf1")
_HASH_SIDE = 128
"""A perceptual hash looks at 32 × 32 pixels: pictures are first made about this small, cheaply."""
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

Image.init()  # knows all formats from the start, whatever was opened before
try:  # an extra package: HEIC is under patents, so Pillow itself does not read it
    import pillow_heif
except ImportError:
    _CAN_HEIF = False
else:
    pillow_heif.register_heif_opener()
    _CAN_HEIF = True


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


def decode(data: bytes, max_pixels: int = MAX_PIXELS, side: int = 0) -> Image.Image:
    """Decode to RGB: first frame, EXIF rotation applied, transparency laid on white.

    Args:
        data: the encoded image.
        max_pixels: limit of width times height, checked before decoding.
        side: if above 0, a JPEG may come at a half, quarter or eighth of its size, where that is
            no smaller than this on either side: faster for those who shrink it further.

    Raises:
        ImageError: no image, truncated, or too large.
    """
    return _decode(data, max_pixels, side)[0]


def inspect(data: bytes, max_pixels: int = MAX_PIXELS) -> ImageInfo:
    """Read the picture to its end once, and say what it is.

    A JPEG is decoded at a fraction of its size where the hash needs no more: all of its data is
    still read, so a truncated one is found.

    Raises:
        ImageError: as `decode`.
    """
    picture, file_format, (width, height) = _decode(data, max_pixels, _HASH_SIDE)
    if (factor := min(picture.size) // _HASH_SIDE) > 1:
        picture = picture.reduce(factor)
    return ImageInfo(
        image_id=image_id(data),
        width=width,
        height=height,
        format=file_format,
        phash=str(imagehash.phash(picture)),
    )


def _decode(data: bytes, max_pixels: int, side: int) -> tuple[Image.Image, str, tuple[int, int]]:
    """The picture, its format, and its size as shown (that of the picture, if `side` is 0)."""
    if not data:
        raise ImageError("the file is empty")
    try:
        picture = _open(data)
        file_format = picture.format or "unknown"
        width, height = picture.size
        if width * height > max_pixels:
            raise ImageError(f"{width}×{height} pixels, the limit is {max_pixels:,}")
        _check_cost(picture, data, max_pixels)
        if side:
            picture.draft(None, (side, side))
        picture.load()
        turn = _orientation(picture)
        if turn in (5, 6, 7, 8):
            width, height = height, width
        if turn in _UPRIGHT:
            picture = picture.transpose(_UPRIGHT[turn])
        picture = _as_rgb(picture)
        return picture, file_format, (width, height) if side else picture.size
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageError(f"too many pixels, the limit is {max_pixels:,}: {error}") from None
    except Image.UnidentifiedImageError:
        raise ImageError(_what_else(data)) from None
    except MemoryError:
        raise ImageError("decoding it takes more memory than there is") from None
    except Exception as error:  # Pillow's decoders raise anything on hostile bytes
        raise ImageError(f"cannot be decoded: {type(error).__name__}: {error}") from None


def _open(data: bytes) -> Image.Image:
    with warnings.catch_warnings():
        # Bombs meet our own limit, and half of the web's EXIF and TIFF tags are odd.
        warnings.simplefilter("ignore")
        formats = (*FORMATS, "HEIF") if _CAN_HEIF else FORMATS
        return Image.open(io.BytesIO(data), formats=formats)


def _check_cost(picture: Image.Image, data: bytes, max_pixels: int) -> None:
    """What a small size in the header does not tell."""
    if picture.format in ("JPEG", "MPO"):
        scans = data.count(b"\xff\xda")  # in compressed data, 0xFF is always followed by 0x00
        if scans > MAX_JPEG_SCANS:
            raise ImageError(f"a JPEG of {scans} scans, the limit is {MAX_JPEG_SCANS}")
    if isinstance(picture, TiffImagePlugin.TiffImageFile):
        tags = (TiffImagePlugin.TILEWIDTH, TiffImagePlugin.TILELENGTH)
        across, down = (int(picture.tag_v2.get(tag, 0)) for tag in tags)
        if across * down > max_pixels:
            raise ImageError(f"a TIFF in tiles of {across}×{down} pixels")


def _orientation(picture: Image.Image) -> int:
    """EXIF orientation, 1 to 8."""
    try:
        value = picture.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # EXIF that cannot be read turns nothing; viewers show such pictures too
        return 1
    return value if isinstance(value, int) else 1


def _as_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I;16"):  # else all from 256 on turns white
        picture = picture.convert("I").point(lambda value: value * (1 / 257)).convert("L")
    elif picture.mode in ("I", "F"):  # no fixed range: from the least (at most 0) to the greatest
        low, high = picture.getextrema()
        scale = 255.0 / max(float(high) - min(0.0, float(low)), 255.0)  # type: ignore[arg-type]
        picture = picture.convert("F").point(lambda value: value * scale).convert("L")
    if picture.has_transparency_data:
        rgba = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return picture.convert("RGB")


def _what_else(data: bytes) -> str:
    """Why bytes are not among the formats: what they are instead, where that is plain to see."""
    begin = data[:256].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS:
        return "a damaged HEIC picture" if _CAN_HEIF else "a HEIC picture: pip install pillow-heif"
    if begin.startswith((b"<!doctype html", b"<html", b"<head")):
        return "an HTML page, not an image"
    if begin.startswith(b"<svg") or (begin.startswith(b"<?xml") and b"<svg" in data[:4096]):
        return "an SVG drawing, not a picture of pixels"
    if begin.startswith(b"%pdf"):
        return "a PDF document, not an image"
    if not any(data[:4096]):
        return "nothing but zero bytes"
    return f"not an image (begins with {data[:12]!r})"
