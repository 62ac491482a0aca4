"""FineHARD, the data of FG-CLIP: JSON arrays of records that name images and describe regions.

Its files are far larger than memory, so they are parsed once, in a stream, when the import is
planned; the plan keeps each record with its image.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import ijson

from datagen.images.sources.base import Found, Part, RawImage, Source, caption_of
from datagen.images.sources.location import FetchError, Folder, Location

PREFIX = "grit-20m/data-12m/"
"""What FineHARD's `f_path` begins with, and its own loader takes off."""


class FineHardSource(Source):
    """A row a record. All of a record but its long caption is kept in `source`."""

    kind = "finehard"

    def files(self) -> Iterator[Found]:
        """See `Source.files`."""
        for folder in self.location.walk():
            yield from (Found(folder.path(n)) for n in annotation_files(folder))

    def parts(self, files: Iterator[Found], shard_rows: int) -> Iterator[Part]:
        """See `Source.parts`. A file that breaks off is a dead letter behind its good records."""
        number = 0
        for found in files:
            for part in self._records(found.file):
                yield Part(
                    number // shard_rows,
                    part.file,
                    part.start,
                    problem=part.problem,
                    record=part.record,
                )
                number += 1

    def uri(self, part: Part) -> str:
        """See `Source.uri`."""
        return f"{self.location.uri(part.file)}#{part.start}"

    def read(self, part: Part) -> Iterator[RawImage]:
        """See `Source.read`."""
        uri = self.uri(part)
        record: dict[str, Any] = json.loads(part.record)
        path = record.get("f_path")
        if not isinstance(path, str):
            yield RawImage(uri, problem="the record has no f_path")
            return
        try:
            name = self.images.inside(path.removeprefix(PREFIX))
        except FetchError as error:
            yield RawImage(uri, problem=str(error))
            return
        yield RawImage(uri, path=name, caption=caption_of(record), source=record)

    def _records(self, name: str) -> Iterator[Part]:
        number = -1
        try:
            with self.location.open(name) as file:
                for number, record in enumerate(ijson.items(file, "item", use_float=True)):
                    if isinstance(record, dict):
                        yield Part(0, name, number, record=json.dumps(record, ensure_ascii=False))
                    else:
                        yield Part(0, name, number, problem="the record is no JSON object")
        except (ijson.JSONError, FetchError, ValueError) as error:
            problem = f"no JSON array from record {number + 1} on: {error}"
            yield Part(0, name, number + 1, problem=problem)


def annotation_files(folder: Folder) -> list[str]:
    """JSON files, but for those whose names begin as hidden ones do."""
    return [n for n in folder.files if n.endswith(".json") and not n.startswith(("_", "."))]


def looks_like_finehard(location: Location, name: str) -> bool:
    """Whether a JSON file begins as FineHARD's do."""
    with location.open(name) as file:
        begin = file.read(1 << 16)
    return begin.lstrip().startswith(b"[") and b'"f_path"' in begin
