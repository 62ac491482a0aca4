"""Every kind of dirt that the web has: what comes out is a right picture, or a reason."""

import io
import resource
import struct
import threading
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps, PngImagePlugin

from datagen.images import decode as module
from datagen.images.decode import ImageError, decode, inspect
from tests.images.import_samples import encoded

RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)


def noise(side: int = 64) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (side, side, 3), np.uint8))


def halves() -> Image.Image:
    """Red above, blue below; wider than high."""
    picture = Image.new("RGB", (40, 24), RED)
    picture.paste(BLUE, (0, 12, 40, 24))
    return picture


def near(pixel, colour) -> bool:
    return max(abs(a - b) for a, b in zip(pixel, colour, strict=True)) < 40


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF", "GIF", "BMP"])
def test_truncated_files_are_refused(kind):
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(noise(), kind, **options)
    for share in (0.2, 0.6, 0.9):
        for look in (decode, inspect):
            with pytest.raises(ImageError):
                look(data[: int(len(data) * share)])


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the file is empty"),
        (bytes(1000), "nothing but zero bytes"),
        (b"\xef\xbb\xbf<!DOCTYPE html><html><body>404</body></html>", "an HTML page"),
        (b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>', "an SVG drawing"),
        (b'<?xml version="1.0"?>\n<!-- x -->\n<svg width="9"></svg>', "an SVG drawing"),
        (b"%PDF-1.7 ...", "a PDF document"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
        (b"\xff\xd8\xff\xe0", "cannot be decoded|not an image"),
        (b"RIFF\x24\x00\x00\x00WAVEfmt ", "not an image"),
    ],
)
def test_what_is_no_picture_is_named(data, reason):
    with pytest.raises(ImageError, match=reason):
        inspect(data)


def test_a_wrong_extension_does_not_matter():
    assert inspect(encoded(halves(), "WEBP")).format == "WEBP"  # whatever its file was called


def test_cmyk_shows_its_colours():
    for kind in ("JPEG", "TIFF"):
        picture = decode(encoded(halves().convert("CMYK"), kind))
        assert near(picture.getpixel((20, 2)), RED) and near(picture.getpixel((20, 20)), BLUE)


def test_sixteen_bits_show_as_on_a_screen():
    for kind in ("PNG", "TIFF"):
        shades = np.array([[0, 12850, 65535]], np.uint16).repeat(8, 0)
        picture = decode(encoded(Image.fromarray(shades), kind))
        assert [picture.getpixel((x, 0))[0] for x in range(3)] == [0, 50, 255]


def test_a_palette_with_transparency_lies_on_white():
    picture = halves().quantize(4)
    clear = picture.getpixel((0, 0))
    for kind in ("PNG", "GIF"):
        shown = decode(encoded(picture, kind, transparency=clear))
        assert near(shown.getpixel((0, 0)), WHITE) and near(shown.getpixel((0, 20)), BLUE)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "AVIF", "TIFF"])
def test_of_an_animation_the_first_frame_is_shown(kind):
    frames = [Image.new("RGB", (32, 32), colour) for colour in (RED, BLUE, BLUE)]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    assert near(decode(data).getpixel((9, 9)), RED)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_pictures_stand_as_shown(kind, orientation):
    """All eight turns, against Pillow's own; sizes and the hash are of the picture as shown."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(halves(), kind, exif=exif)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    shown = decode(data)
    assert np.array_equal(np.asarray(shown), np.asarray(expected))
    info = inspect(data)
    assert (info.width, info.height) == shown.size
    assert info.phash == inspect(encoded(shown, "PNG")).phash


def test_a_large_jpeg_is_inspected_at_a_fraction_of_its_size_with_the_same_result():
    picture = noise(9).resize((1600, 960), Image.Resampling.BICUBIC)
    exif = Image.Exif()
    exif[0x0112] = 8
    info = inspect(encoded(picture, "JPEG", exif=exif))
    assert (info.width, info.height) == (960, 1600)
    whole = inspect(encoded(picture.rotate(90, expand=True), "PNG"))
    assert (int(info.phash, 16) ^ int(whole.phash, 16)).bit_count() <= 2


def test_exif_that_cannot_be_read_turns_nothing():
    broken = b"Exif\0\0II*\0\xff\xff\xff\xff" + b"\x12\x01" * 40
    assert decode(encoded(halves(), "JPEG", exif=broken)).size == (40, 24)
    for value in (0, 9, 60000):
        exif = Image.Exif()
        exif[0x0112] = value
        assert decode(encoded(halves(), "JPEG", exif=exif)).size == (40, 24)


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (20_000, 20)])
def test_odd_shapes_are_pictures(size):
    for kind in ("PNG", "JPEG"):
        info = inspect(encoded(Image.new("RGB", size, RED), kind))
        assert (info.width, info.height) == size


def png_chunks(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in parts
    )
    return b"\x89PNG\r\n\x1a\n" + body


def tiff(width: int, height: int, *tags: tuple[int, int, int]) -> bytes:
    """A little-endian TIFF of one strip that starts at 8; tags are (tag, type, value)."""
    known = [(256, 4, width), (257, 4, height), (258, 3, 8), (259, 3, 1), (262, 3, 1),
             (273, 4, 8), (277, 3, 1), (278, 4, height), (279, 4, 64)]  # fmt: skip
    tags = sorted({t[0]: t for t in (*known, *tags)}.values())
    body = struct.pack("<H", len(tags)) + b"".join(
        struct.pack("<HHII", t, k, 1, v) for t, k, v in tags
    )
    return b"II*\0" + struct.pack("<I", 72) + bytes(64) + body + bytes(4)


BOMBS = {
    "a wide PNG": png_chunks(2**31 - 1, 2**31 - 1, (b"IDAT", zlib.compress(b""))),
    "a PNG of 64 megapixels and one": png_chunks(64_000_001, 1, (b"IDAT", zlib.compress(b""))),
    "text": png_chunks(9, 9, (b"zTXt", b"a\0\0" + zlib.compress(bytes(200_000_000)))),
    "a colour profile": png_chunks(9, 9, (b"iCCP", b"a\0\0" + zlib.compress(bytes(200_000_000)))),
    "a GIF": b"GIF89a" + struct.pack("<HH", 65535, 65535) + b"\0\0\0,\0\0\0\0"
    + struct.pack("<HH", 65535, 65535) + b"\0\x02\x02\x4c\x01\0;",
    "a frame larger than its GIF": b"GIF89a" + struct.pack("<HH", 8, 8) + b"\0\0\0,\0\0\0\0"
    + struct.pack("<HH", 65535, 65535) + b"\0\x02\x02\x4c\x01\0;",
    "a BMP": b"BM" + struct.pack("<IHHIIiiHHIIiiII", 100, 0, 0, 54, 40, 60000, 60000, 1, 24, 0, 0,
                                 0, 0, 0, 0),
    "a TIFF": tiff(100_000, 100_000),
    "tiles of a TIFF": tiff(8, 8, (322, 4, 65520), (323, 4, 65520), (324, 4, 8), (325, 4, 64)),
    "scans of a JPEG": encoded(noise(), "JPEG", progressive=True)[:-2]
    + b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00" * 5000 + b"\xff\xd9",
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_cost_nothing(name):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    done = []

    def look():
        with pytest.raises(ImageError):
            inspect(BOMBS[name])
        done.append(name)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(30)
    assert done
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before  # KiB on Linux
    assert grown < 300_000, f"{grown / 1024:.0f} MiB"


def test_a_photo_with_much_text_in_it_is_a_picture():
    about = PngImagePlugin.PngInfo()
    about.add_itxt("workflow", "x" * 500_000, zip=True)
    assert decode(encoded(halves(), "PNG", pnginfo=about)).size == (40, 24)


def test_heic_says_what_is_missing(monkeypatch):
    monkeypatch.setattr(module, "_CAN_HEIF", False)
    heic = b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + bytes(100)
    with pytest.raises(ImageError, match=r"HEIC.*pip install pillow-heif"):
        decode(heic)


def test_formats_that_run_programs_are_not_opened():
    postscript = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 50 50\n%%EndComments\nshowpage\n"
    with pytest.raises(ImageError, match="not an image"):
        decode(postscript)
