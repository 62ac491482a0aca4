"""A folder of image files, all below it; also what img2dataset writes with `files` as its format.

A caption may lie beside an image in a .txt file of the same name, and more in a .json file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

from datagen.images.sources.base import (
    IMAGE_SUFFIXES,
    Found,
    Part,
    RawImage,
    Source,
    caption_of,
    fetch,
)

BESIDE = (".txt", ".json")
TEXT_BYTES = 1_000_000


class FolderSource(Source):
    """One row a file. Its bytes are read when the image's turn comes."""

    kind = "folder"

    def files(self) -> Iterator[Found]:
        """See `Source.files`."""
        for folder in self.location.walk():
            names = set(folder.files)
            for name in folder.files:
                stem, dot, suffix = name.rpartition(".")
                if f".{suffix}".lower() in IMAGE_SUFFIXES and dot:
                    beside = " ".join(end for end in BESIDE if stem + end in names)
                    yield Found(folder.path(name), beside)
            for name, problem in folder.problems:
                if not problem.startswith("its name") or _suffix(name) in IMAGE_SUFFIXES:
                    yield Found(folder.path(name), problem=problem)

    def parts(self, files: Iterator[Found], shard_rows: int) -> Iterator[Part]:
        """See `Source.parts`."""
        for number, found in enumerate(files):
            yield Part(number // shard_rows, found.file, beside=found.beside, problem=found.problem)

    def read(self, part: Part) -> Iterator[RawImage]:
        """See `Source.read`."""
        yield RawImage(self.location.uri(part.file), path=part.file, beside=part.beside)

    def fetch(self, image: RawImage) -> RawImage:
        """See `Source.fetch`. What lies beside the image becomes its caption and its record."""
        data = fetch(self.location, image.path, self.max_bytes)
        stem = image.path.rpartition(".")[0]
        beside = image.beside.split()
        texts = {end: fetch(self.location, stem + end, TEXT_BYTES) for end in beside}
        record = merge_json(texts[".json"]) if ".json" in texts else {}
        caption = texts.get(".txt", b"").decode("utf-8", "replace").strip() or caption_of(record)
        return replace(image, data=data, caption=caption, source=record)


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


def merge_json(raw: bytes) -> dict[str, Any]:
    """The object that a .json file beside an image holds; anything else is kept under "json"."""
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        return {"json": raw.decode("utf-8", "replace")}
    return value if isinstance(value, dict) else {"json": value}
