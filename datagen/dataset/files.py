"""Files of a dataset, on a disk or on an object store: listed, opened, and written all at once."""

from __future__ import annotations

import errno
import os
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

import pyarrow as pa
from pyarrow import fs

from datagen.errors import UserError

STALE_TEMPORARY_S = 3600.0
"""A temporary file older than this was left by a writer that is gone."""


class DatasetError(UserError):
    """The dataset, or a run's claim to it, is not usable; the message says what to do."""


class StorageError(DatasetError):
    """The disk or object store cannot be read or written, whatever is in it."""


class Files:
    """What lies below a root.

    Args:
        root: a local path, or a URL that pyarrow (`s3://…`, `gs://…`) or fsspec opens.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self._fs, self._path = open_filesystem(root)
        self.local = isinstance(self._fs, fs.LocalFileSystem)

    def path(self, name: str) -> str:
        """Where a name relative to the root lies, for messages."""
        return f"{self.root.rstrip('/')}/{name}"

    def names(self, folder: str) -> Iterator[str]:
        """Names of the files in a folder, in no order; none if there is no such folder.

        Raises:
            StorageError: it cannot be read.
        """
        try:
            if self.local:  # a folder may hold millions: no object for each
                with os.scandir(f"{self._path}/{folder}") as entries:
                    yield from (entry.name for entry in entries)
            else:
                selector = fs.FileSelector(f"{self._path}/{folder}", allow_not_found=True)
                yield from (info.base_name for info in self._fs.get_file_info(selector))
        except FileNotFoundError:
            return
        except OSError as error:
            raise StorageError(_sentence(self.path(folder), error, "read")) from error

    def exists(self, name: str) -> bool:
        """Whether the file is there.

        Raises:
            StorageError: nobody can tell.
        """
        try:
            return self._fs.get_file_info(f"{self._path}/{name}").type == fs.FileType.File
        except OSError as error:
            raise StorageError(_sentence(self.path(name), error, "read")) from error

    def open(self, name: str) -> pa.NativeFile:
        """Open for reading at any place.

        Raises:
            FileNotFoundError: it is not there.
        """
        return self._fs.open_input_file(f"{self._path}/{name}")

    def read(self, name: str) -> bytes | None:
        """All of a small file; None if it is not there.

        Raises:
            StorageError: it cannot be read.
        """
        try:
            with self._fs.open_input_stream(f"{self._path}/{name}") as stream:
                return stream.read()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageError(_sentence(self.path(name), error, "read")) from error

    def write(self, name: str, fill: Callable[[IO[bytes]], Any]) -> None:
        """Write a file that appears whole or not at all, and replaces one of its name.

        On a disk it is written under a temporary name, flushed, and renamed; to an object store
        it goes up in one piece.

        Args:
            name: relative to the root.
            fill: writes into the binary file that it is given.

        Raises:
            StorageError: full, read-only, or out of reach.
        """
        try:
            if self.local:
                _replace(Path(self._path, name), fill)
            else:
                buffer = pa.BufferOutputStream()
                fill(buffer)
                if isinstance(self._fs, fs.PyFileSystem):  # not all of fsspec's need folders
                    self._fs.create_dir(f"{self._path}/{name}".rpartition("/")[0], recursive=True)
                with self._fs.open_output_stream(f"{self._path}/{name}") as stream:
                    stream.write(buffer.getvalue())
        except OSError as error:
            raise StorageError(_sentence(self.path(name), error)) from error

    def remove(self, name: str) -> None:
        """Delete a file if it is there.

        Raises:
            StorageError: it is there and stays.
        """
        if self.exists(name):
            try:
                self._fs.delete_file(f"{self._path}/{name}")
            except FileNotFoundError:
                return  # another was quicker
            except OSError as error:
                raise StorageError(_sentence(self.path(name), error)) from error

    def sweep(self, folder: str) -> None:
        """Delete what writers that are gone left in a folder under temporary names."""
        if not self.local:
            return
        for name in list(self.names(folder)):
            if name.startswith(".") and name.endswith(".tmp"):
                path = Path(self._path, folder, name)
                try:
                    if time.time() - path.stat().st_mtime > STALE_TEMPORARY_S:
                        path.unlink()
                except FileNotFoundError:
                    continue  # its writer renamed it just now


def _replace(path: Path, fill: Callable[[IO[bytes]], Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as file:
            fill(file)
            file.flush()
            os.fsync(file.fileno())  # else a power cut could leave an empty file of this name
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _sentence(path: str, error: OSError, do: str = "write") -> str:
    again = "then run the same command again: what is committed stays."
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"No space left for {path}: free some, {again}"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        done = "read" if do == "read" else "written"
        return f"{path} cannot be {done} ({error.strerror}): allow it or choose another folder."
    return f"Cannot {do} {path} ({error}): mend that, {again}"


def open_filesystem(root: str) -> tuple[fs.FileSystem, str]:
    """The file system of a local path or URL, and the path within it.

    Raises:
        DatasetError: the URL holds a password or key, which would end in logs and metadata.
    """
    if "://" not in root:
        return fs.LocalFileSystem(), str(Path(root).absolute())
    if "@" in urlsplit(root).netloc:
        raise DatasetError(
            "A URL must not hold a user or key: give credentials by the environment "
            "(AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY for s3://)."
        )
    try:
        return fs.FileSystem.from_uri(root)
    except pa.ArrowInvalid as error:
        import fsspec

        try:
            filesystem, path = fsspec.core.url_to_fs(root)
        except (ImportError, ValueError) as other:
            raise DatasetError(f"Cannot open {root}: {error}; {other}.") from None
        return fs.PyFileSystem(fs.FSSpecHandler(filesystem)), path
