"""Mutates valid pictures and decodes them: ``python -m tests.images.fuzz --count 100000 --seed 1``.

Ends with exit code 0 and one line of JSON if every mutant was a picture or an `ImageError`, within
4 GB and 30 CPU seconds a thousand. A crash of a decoder ends the process.
"""

import argparse
import io
import json
import random
import resource
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

from datagen.images.decode import ImageError, decode, inspect

MEMORY = 4 << 30
CPU_SECONDS_A_THOUSAND = 30
MAX_PIXELS = 1_000_000
EDGES = [b"\0", b"\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff", b"\x80\0\0\0", b"\0\0\0\1"]


def seeds() -> list[bytes]:
    """Small pictures of every format, in the modes and compressions it has."""
    colours = np.random.default_rng(0).integers(0, 255, (16, 24, 4), np.uint8)
    rgba = Image.fromarray(colours)
    rgb, grey = rgba.convert("RGB"), rgba.convert("L")
    exif = Image.Exif()
    exif[0x0112] = 6
    plain: list[tuple[Image.Image, str, dict]] = [
        (rgb, "JPEG", {"exif": exif}),
        (rgb, "JPEG", {"progressive": True, "icc_profile": bytes(200)}),
        (rgb.convert("CMYK"), "JPEG", {}),
        (rgba, "PNG", {"exif": exif}),
        (grey.convert("I;16"), "PNG", {}),
        (rgb.quantize(16), "PNG", {"transparency": 3}),
        (rgb, "PNG", {"save_all": True, "append_images": [rgb, rgb]}),
        (rgb.quantize(16), "GIF", {"save_all": True, "append_images": [grey.quantize(8)]}),
        (rgb, "WEBP", {"exif": exif}),
        (rgba, "WEBP", {"lossless": True}),
        (rgb, "WEBP", {"save_all": True, "append_images": [rgba]}),
        (rgb, "BMP", {}),
        (rgb.quantize(16), "BMP", {}),
        (rgb, "AVIF", {"exif": exif}),
        (rgba, "AVIF", {"save_all": True, "append_images": [rgba]}),
        (grey.convert("F"), "TIFF", {}),
    ]
    ways = ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "group4", None)
    for way in ways:
        picture = grey.convert("1") if way == "group4" else rgb
        plain.append((picture, "TIFF", {"compression": way, "exif": exif}))
    found = []
    for picture, kind, options in plain:
        buffer = io.BytesIO()
        picture.save(buffer, kind, **options)
        found.append(buffer.getvalue())
    return found


def mutate(data: bytes, other: bytes, chance: random.Random) -> bytes:
    """One to four random changes, most of them near the start, where the headers are."""
    raw = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        reach = chance.choice((64, 256, len(raw)))
        at = chance.randrange(max(min(reach, len(raw)), 1))
        length = chance.choice((1, 2, 4, 16, 200))
        match chance.randrange(7):
            case 0:
                raw[at : at + 1] = bytes([raw[at] ^ 1 << chance.randrange(8)]) if raw else b""
            case 1:
                edge = chance.choice(EDGES)
                raw[at : at + len(edge)] = edge
            case 2:
                raw[at : at + length] = chance.randbytes(length)
            case 3:
                del raw[at : at + length]
            case 4:
                raw[at:at] = raw[at : at + length] * chance.choice((1, 3))
            case 5:
                start = chance.randrange(len(other))
                raw[at : at + length] = other[start : start + length]
            case 6:
                del raw[chance.randrange(len(raw) + 1) :]
    return bytes(raw)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    cpu = 30 + CPU_SECONDS_A_THOUSAND * arguments.count // 1000
    resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu))
    chance, files = random.Random(arguments.seed), seeds()
    results: Counter[str] = Counter()
    for data in files:
        assert decode(data, MAX_PIXELS).mode == "RGB", "the seeds themselves are pictures"
    for number in range(arguments.count):
        data = mutate(files[number % len(files)], chance.choice(files), chance)
        try:
            info = inspect(data, MAX_PIXELS)
            picture = decode(data, MAX_PIXELS)
            assert picture.mode == "RGB" and picture.size == (info.width, info.height)
            assert picture.width * picture.height <= MAX_PIXELS and len(info.phash) == 16
            results["pictures"] += 1
        except ImageError as error:
            assert str(error)
            results["refused"] += 1
        except BaseException:
            print("the mutant, in hex:", data.hex())
            raise
    print(json.dumps({**results, "peak_mib": peak_mib(), "seed": arguments.seed}))


def peak_mib() -> int:
    """Of this process alone: `ru_maxrss` would begin with what its parent had."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024


if __name__ == "__main__":
    main()
