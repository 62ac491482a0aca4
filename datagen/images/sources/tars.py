"""WebDataset tars, as img2dataset writes them: members of the same stem are one sample.

A tar is streamed once from its start; nothing of it is ever written to the file system, so that
names with ../, links and devices can do no harm.
"""

from __future__ import annotations

import gzip
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import IO, Any

from datagen.images.sources.base import (
    IMAGE_SUFFIXES,
    Found,
    Part,
    RawImage,
    Source,
    SourceError,
    caption_of,
)
from datagen.images.sources.folder import TEXT_BYTES, merge_json
from datagen.images.sources.location import FetchError

TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz")
_TEXTS = ("txt", "caption", "text", "cls", "json")
_HEADER = 512
_READ_BYTES = 1 << 20


class TarSource(Source):
    """A tar is a shard: nobody has to count its samples first."""

    kind = "tar"

    def files(self) -> Iterator[Found]:
        """See `Source.files`."""
        for folder in self.location.walk():
            yield from (Found(folder.path(n)) for n in folder.files if n.endswith(TAR_SUFFIXES))

    def parts(self, files: Iterator[Found], shard_rows: int) -> Iterator[Part]:
        """See `Source.parts`."""
        for shard, found in enumerate(files):
            yield Part(shard, found.file, rows=None)

    def read(self, part: Part) -> Iterator[RawImage]:
        """See `Source.read`. One sample is in memory at a time."""
        uri = self.location.uri(part.file)
        try:
            file = self.location.open(part.file)
        except FetchError as error:
            raise SourceError(f"{error}, but the import was planned with it.") from None
        with file:
            zipped = not part.file.endswith(".tar")
            stream: Any = gzip.GzipFile(fileobj=file) if zipped else file
            sample = _Sample("")
            for member in _members(stream, self.max_bytes):
                if member.key != sample.key:
                    yield from sample.images(uri)
                    sample = _Sample(member.key)
                sample.members.append(member)
            yield from sample.images(uri)


@dataclass(frozen=True, slots=True)
class _Member:
    """A file of a tar; `problem` says why it cannot be used, or what is wrong with the tar."""

    name: str
    data: bytes = b""
    problem: str = ""

    def uri(self, tar: str) -> str:
        return f"{tar}#{self.name}" if self.name else tar

    @property
    def key(self) -> str:
        """What members of a sample share: all up to the first dot of the last part."""
        folder, _, name = self.name.rpartition("/")
        return f"{folder}/{name.partition('.')[0]}"

    @property
    def suffix(self) -> str:
        return PurePosixPath(self.name).suffix.lower()


@dataclass(slots=True)
class _Sample:
    """The members of one stem."""

    key: str
    members: list[_Member] = field(default_factory=list)

    def images(self, tar: str) -> Iterator[RawImage]:
        """One image each; a sample without an image is a dead letter."""
        images = [m for m in self.members if m.suffix in IMAGE_SUFFIXES and not m.problem]
        record: dict[str, Any] = {}
        caption = None
        for member in self.members:
            if member.problem:
                yield RawImage(member.uri(tar), problem=member.problem)
            elif member.suffix == ".json":
                record.update(merge_json(member.data))
            elif member.suffix == ".cls":
                record["cls"] = member.data.decode("utf-8", "replace").strip()
            elif member.suffix[1:] in _TEXTS:
                caption = member.data.decode("utf-8", "replace").strip()
        caption = caption or caption_of(record)
        for member in images:
            yield RawImage(member.uri(tar), data=member.data, caption=caption, source=dict(record))
        if self.members and not images and not any(m.problem for m in self.members):
            names = ", ".join(m.name for m in self.members)
            yield RawImage(self.members[0].uri(tar), problem=f"no image among {names}")


def _members(stream: IO[bytes], max_bytes: int) -> Iterator[_Member]:
    """Images and texts of a tar in its order, then what is wrong with the tar, if anything."""
    forward = _Forward(stream, max_bytes)
    last = "its start"
    seen: set[str] = set()
    try:
        with tarfile.open(fileobj=forward, mode="r:") as tar:  # type: ignore[call-overload]
            for info in tar:
                last = info.name
                member = _read(tar, info, max_bytes)
                if member is not None and member.name in seen:
                    name = f"{member.name}@{info.offset}"
                    yield _Member(name, problem="a member of this name came before")
                elif member is not None:
                    seen.add(member.name)
                    yield member
                tar.members = []  # else it remembers every member
        if any(forward.last):
            yield _Member("", problem=f"the tar is corrupt or cut off after {last}")
    except (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error, ValueError) as error:
        yield _Member("", problem=f"the tar is corrupt or cut off after {last}: {error}")


def _read(tar: tarfile.TarFile, info: tarfile.TarInfo, max_bytes: int) -> _Member | None:
    """A member, or None if it is neither an image nor a text."""
    # Names may hold bytes that are not UTF-8, which tarfile keeps as lone surrogates.
    name = info.name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    if info.isdir():
        return None
    if not info.isfile() or info.issparse():
        kind = "a link" if info.issym() or info.islnk() else "no regular file"
        return _Member(name, problem=f"{kind} in a tar is not followed")
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        return _Member(name, problem="its name leads out of the tar")
    image = path.suffix.lower() in IMAGE_SUFFIXES
    if not image and path.suffix[1:].lower() not in _TEXTS:
        return None
    limit = max_bytes if image else TEXT_BYTES
    if info.size > limit:
        return _Member(name, problem=f"{info.size:,} bytes, the limit is {limit:,}")
    file = tar.extractfile(info)
    assert file is not None
    data = file.read()
    if len(data) < info.size:
        raise tarfile.ReadError(f"{name} has {len(data):,} of its {info.size:,} bytes")
    return _Member(name, data)


class _Forward:
    """A stream as `tarfile` wants it: with a place that can be asked for and moved ahead.

    Refuses to read more at once than the largest member may have: the length of an extended
    header is whatever the tar says it is.
    """

    def __init__(self, stream: IO[bytes], max_bytes: int) -> None:
        self._stream, self._max_bytes = stream, max(max_bytes, TEXT_BYTES)
        self._at = 0
        self._buffer = memoryview(b"")
        self.last = b""
        """The header that was read last: zeros if the tar ended as tars do."""

    def tell(self) -> int:
        return self._at

    def seek(self, place: int, whence: int = 0) -> int:
        assert whence == 0 and place >= self._at, "tarfile goes ahead only"
        while self._at < place and self.read(min(place - self._at, _READ_BYTES)):
            pass
        return self._at

    def read(self, size: int) -> bytes:
        if size > self._max_bytes:
            raise tarfile.ReadError(f"a header of {size:,} bytes")
        data = b"".join(self._pieces(size))
        self._at += len(data)
        if size == _HEADER:
            self.last = data or b"no header"
        return data

    def _pieces(self, size: int) -> Iterator[bytes]:
        while size > 0:
            if not self._buffer:
                self._buffer = memoryview(self._stream.read(_READ_BYTES))
                if not self._buffer:
                    return
            piece = bytes(self._buffer[:size])
            self._buffer = self._buffer[size:]
            size -= len(piece)
            yield piece
