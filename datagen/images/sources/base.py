"""What a source of images is: it lists its files, cuts them into parts, and reads a part."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any, ClassVar

from datagen.dataset import DatasetError
from datagen.images.sources.location import FetchError, Location, download, read_whole
from datagen.stage import Item, RowError

IMAGE_SUFFIXES = frozenset(
    f".{end}"
    for end in (
        *("avif", "bmp", "gif", "heic", "heif", "jfif", "jpe", "jpeg"),
        *("jpg", "png", "tif", "tiff", "webp"),
    )
)
CAPTION_KEYS = ("source_caption", "caption", "text", "TEXT", "captions")
"""Columns, or keys of a JSON object, that hold the caption which came with an image."""
WEB = ("http://", "https://")
_INLINE_LIMIT = 1_000_000


class SourceError(DatasetError):
    """Nothing can be read from the source; the message says what was expected there."""


@dataclass(frozen=True, slots=True)
class Found:
    """A file of a source.

    `beside` names the suffixes (".txt", ".json") of files of the same stem; `problem` says why it
    cannot be used, if it cannot.
    """

    file: str
    beside: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """A line of the plan: what shard `shard` reads of one file.

    Rows `start` … `stop` - 1 of a file that has rows, the whole file where `stop` is None.
    `record` is what is already known of the row, as JSON. `rows` is None where only reading tells.
    """

    shard: int
    file: str
    start: int = 0
    stop: int | None = None
    rows: int | None = 1
    beside: str = ""
    problem: str = ""
    record: str = ""


@dataclass(frozen=True, slots=True)
class RawImage(Item):
    """An encoded image, not looked into yet; `id` is its uri, unique in the source.

    Its bytes are in `data`, or else they are to be fetched from `path`: a name below the source's
    root of images, or an http(s) URL. `problem` says why there is neither.
    """

    data: bytes | None = None
    path: str = ""
    beside: str = ""
    problem: str = ""
    caption: str | None = None
    source: dict[str, Any] | None = None


class Source(ABC):
    """One kind of source.

    Args:
        location: where it is.
        images: where names of images lead, for kinds that only name them.
        max_bytes: larger files and members are not read.
    """

    kind: ClassVar[str]

    def __init__(self, location: Location, images: Location, max_bytes: int) -> None:
        self.location, self.images, self.max_bytes = location, images, max_bytes

    @abstractmethod
    def files(self) -> Iterator[Found]:
        """The files that are read, always in the same order."""

    @abstractmethod
    def parts(self, files: Iterator[Found], shard_rows: int) -> Iterator[Part]:
        """Cut the files into shards, numbered from 0 in ascending order.

        Raises:
            SourceError: the files are not what this kind needs.
        """

    def uri(self, part: Part) -> str:
        """Of a part that is one row."""
        return self.location.uri(part.file)

    @abstractmethod
    def read(self, part: Part) -> Iterator[RawImage]:
        """Stream the images of a part; what cannot be read comes as an image with a `problem`.

        Raises:
            SourceError: the file has changed since the plan was made.
            OSError: the disk or object store failed.
        """

    def fetch(self, image: RawImage) -> RawImage:
        """The image with its bytes. Runs in a thread, many at once.

        Raises:
            FetchError: they cannot be had.
        """
        return replace(image, data=fetch(self.images, image.path, self.max_bytes))


def fetch(location: Location, path: str, max_bytes: int) -> bytes:
    """The bytes of a file below a location, or of an http(s) URL.

    Raises:
        FetchError: they cannot be had.
    """
    if path.startswith(WEB):
        return download(path, max_bytes)
    try:
        with location.open(path) as file:
            return read_whole(file, max_bytes)
    except OSError as error:  # an object store has tried several times by now
        raise FetchError(f"{location.uri(path)} cannot be read: {error}") from None


def caption_of(record: dict[str, Any], column: str | None = None) -> str | None:
    """Take the caption out of a record, the first one of a list."""
    for name in (column,) if column else CAPTION_KEYS:
        value = record.get(name)
        if isinstance(value, str):
            del record[name]
            return value.strip() or None
        if isinstance(value, list) and value and isinstance(value[0], str):
            return value[0].strip() or None  # the list stays in the record
    return None


def to_json(source: dict[str, Any] | None) -> str | None:
    """The other columns of a source as JSON, dates in ISO form.

    Raises:
        RowError: larger than a megabyte; such columns do not belong beside every image.
    """
    if not source:
        return None
    text = json.dumps(source, default=_plain, ensure_ascii=False)
    if len(text) > _INLINE_LIMIT:
        raise RowError(f"the other columns of the source take {len(text):,} characters")
    return text


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date | datetime) else str(value)
