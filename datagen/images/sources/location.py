"""A root that files are read from, on a disk or an object store, and that none may lead out of."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import pyarrow as pa
import requests
from pyarrow import fs
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

from datagen.dataset.files import open_filesystem
from datagen.stage import RowError

HTTP_TIMEOUT_S = 30.0
"""For a connection and for each piece of an answer; three times this for all of it."""
HTTP_TRIES = 3
BUSY = (429, 500, 502, 503, 504)


class FetchError(RowError):
    """The file of an image cannot be had; the message says why. A retry may succeed."""


@dataclass(frozen=True, slots=True)
class Folder:
    """What lies in one folder; `name` is "" for the root. `problems` are (name, reason)."""

    name: str
    files: list[str]
    folders: list[str]
    problems: list[tuple[str, str]] = field(default_factory=list)

    def path(self, name: str) -> str:
        """Name relative to the root."""
        return f"{self.name}/{name}" if self.name else name


class Location:
    """A folder, local or by URL.

    Args:
        shown: how the user named it; begins every uri.
        root: the same, independent of the folder that a process runs in.
        only: name of the one file in it that counts.
    """

    def __init__(self, shown: str, root: str, only: str = "") -> None:
        self.shown, self.root, self.only = _without_query(shown), _without_query(root), only
        self._fs, path = open_filesystem(root)
        self._path = path.rstrip("/")
        self.local = isinstance(self._fs, fs.LocalFileSystem)

    def uri(self, name: str) -> str:
        """Of a file below the root: what the user named, and the file's own name."""
        return f"{self.shown}/{name}"

    def kind(self) -> fs.FileType:
        """What the root itself is."""
        return self._fs.get_file_info(self._path).type

    def walk(self, name: str = "") -> Iterator[Folder]:
        """All folders, parents first, sorted by name; the names of one are in memory at a time."""
        if self.only:
            yield Folder("", [self.only], [])
            return
        folder = self._list_local(name) if self.local else self._list(name)
        yield folder
        for inner in folder.folders:
            yield from self.walk(folder.path(inner))

    def open(self, name: str) -> pa.NativeFile:
        """Open a file below the root for reading at any place.

        Raises:
            FetchError: it leads out of the root, is not there, or is no regular file.
            OSError: the disk or object store failed.
        """
        if self.local:
            self._check_local(name)
        try:
            return self._fs.open_input_file(f"{self._path}/{name}")
        except FileNotFoundError:
            raise FetchError(f"{self.uri(name)} is not there") from None

    def inside(self, path: str) -> str:
        """The name below the root that a relative path, absolute path or URL means.

        Raises:
            FetchError: it leads out of the root.
        """
        for base in (self.root, self.shown):
            path = path.removeprefix(f"{base}/")
        parts = PurePosixPath(path).parts
        if "://" in path or path.startswith("/") or ".." in parts or not parts:
            raise FetchError(f"{path!r} leads out of the folder of images, {self.shown}")
        return "/".join(part for part in parts if part != ".")

    def _check_local(self, name: str) -> None:
        path, root = Path(self._path, name), Path(self._path).resolve()
        try:
            real = path.resolve(strict=True)
            mode = real.stat().st_mode
        except FileNotFoundError:
            reason = "is a link to nothing" if path.is_symlink() else "is not there"
            raise FetchError(f"{self.uri(name)} {reason}") from None
        except RuntimeError:
            raise FetchError(f"{self.uri(name)} is a link that leads in circles") from None
        except OSError as error:
            raise FetchError(f"{self.uri(name)} cannot be read: {error.strerror}") from None
        if not real.is_relative_to(root):
            raise FetchError(f"{self.uri(name)} is a link that leads out of the folder")
        if not stat.S_ISREG(mode):
            raise FetchError(f"{self.uri(name)} is no regular file")

    def _list_local(self, name: str) -> Folder:
        found = Folder(name, [], [])
        try:
            self._scan(found)
        except PermissionError:
            if not name:
                raise
            found.problems.append(("", "a folder that may not be read"))
        found.files.sort()
        found.folders.sort()
        return found

    def _scan(self, found: Folder) -> None:
        with os.scandir(f"{self._path}/{found.name}") as entries:
            for entry in entries:
                shown = os.fsencode(entry.name).decode("utf-8", "backslashreplace")
                if shown != entry.name:
                    found.problems.append((shown, "its name is not UTF-8"))
                elif entry.is_symlink() and Path(entry.path).is_dir():  # False for a circle
                    found.problems.append((shown, "a link to a folder; such are not followed"))
                elif entry.is_dir(follow_symlinks=False):
                    found.folders.append(entry.name)
                else:
                    found.files.append(entry.name)

    def _list(self, name: str) -> Folder:
        found = Folder(name, [], [])
        selector = fs.FileSelector(f"{self._path}/{name}".rstrip("/"), allow_not_found=True)
        for info in self._fs.get_file_info(selector):
            folder = info.type == fs.FileType.Directory
            (found.folders if folder else found.files).append(info.base_name)
        found.files.sort()
        found.folders.sort()
        return found


def _without_query(url: str) -> str:
    """A URL may say behind a question mark how to reach the store; a file's name may hold one."""
    return (url.partition("?")[0] if "://" in url else url).rstrip("/")


def read_whole(file: pa.NativeFile, max_bytes: int) -> bytes:
    """All of an open file.

    Raises:
        FetchError: it is too large; nothing is read then.
    """
    if (size := file.size()) > max_bytes:
        raise FetchError(f"{size:,} bytes, the limit is {max_bytes:,}")
    return file.read()


def download(url: str, max_bytes: int) -> bytes:
    """Get an http(s) URL, with a time limit and a few tries where the server is busy.

    Raises:
        FetchError: no answer, an answer other than 200, or more bytes than the limit.
    """
    deadline = time.monotonic() + 3 * HTTP_TIMEOUT_S
    again = Retry(HTTP_TRIES - 1, backoff_factor=0.5, status_forcelist=BUSY, raise_on_status=False)
    data = bytearray()
    try:
        with requests.Session() as session:
            for scheme in ("http://", "https://"):
                session.mount(scheme, HTTPAdapter(max_retries=again))
            with session.get(url, stream=True, timeout=HTTP_TIMEOUT_S) as answer:
                if answer.status_code != requests.codes.ok:
                    raise FetchError(f"the server answers with status {answer.status_code}")
                for piece in answer.iter_content(1 << 16):
                    data += piece
                    if len(data) > max_bytes:
                        raise FetchError(f"more than {max_bytes:,} bytes")
                    if time.monotonic() > deadline:
                        raise FetchError(f"not there after {3 * HTTP_TIMEOUT_S:.0f} s")
    except requests.RequestException as error:  # its text may hold a signed URL
        raise FetchError(f"cannot be downloaded: {type(error).__name__}") from None
    return bytes(data)
