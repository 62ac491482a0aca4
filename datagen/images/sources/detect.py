"""Which kind of source a path or URL is."""

from __future__ import annotations

from pathlib import Path

from pyarrow import fs

from datagen.images.sources.base import IMAGE_SUFFIXES, Source, SourceError
from datagen.images.sources.finehard import (
    FineHardSource,
    annotation_files,
    looks_like_finehard,
)
from datagen.images.sources.folder import FolderSource
from datagen.images.sources.location import Folder, Location
from datagen.images.sources.parquet import ParquetSource
from datagen.images.sources.tars import TAR_SUFFIXES, TarSource

KINDS: dict[str, type[Source]] = {
    source.kind: source for source in (FolderSource, ParquetSource, TarSource, FineHardSource)
}
EXPECTED = "a folder of images, Parquet files, WebDataset tars, or FineHARD's JSON"


def absolute(path: str) -> str:
    """The same place, whatever folder a process runs in."""
    return path if "://" in path else str(Path(path).absolute())


def locate(path: str, root: str) -> Location:
    """A folder, or the one file of its folder that a path names.

    Args:
        path: as the user named it.
        root: as `absolute` gives it.

    Raises:
        SourceError: nothing is there, or it cannot be reached.
    """
    try:
        location = Location(path, root)
        kind = location.kind()
    except (OSError, ValueError) as error:
        raise SourceError(f"Cannot reach {path}: {error}.") from None
    if kind == fs.FileType.NotFound:
        raise SourceError(f"There is no {path}: give {EXPECTED}.")
    if kind == fs.FileType.Directory:
        return location
    folder, name = _split(path)
    return Location(folder, _split(root)[0], only=name)


def detect(location: Location) -> str:
    """The kind of the first folder that holds something known.

    Raises:
        SourceError: nothing known is in it.
    """
    for folder in location.walk():
        if kind := _kind(location, folder):
            return kind
    if location.only:
        raise SourceError(
            f"{location.uri(location.only)} is no folder and no .parquet, .tar, .tar.gz or "
            "FineHARD .json file."
        )
    raise SourceError(
        f"{location.shown} holds no images: expected {EXPECTED} "
        f"(looked for {', '.join(sorted(IMAGE_SUFFIXES))})."
    )


def _kind(location: Location, folder: Folder) -> str:
    ends = {name.rpartition(".")[2].lower() for name in folder.files}
    if any(name.endswith(TAR_SUFFIXES) for name in folder.files):
        return TarSource.kind  # img2dataset writes Parquet and JSON beside its tars
    if "parquet" in ends:
        tables = (name for name in folder.files if name.endswith(".parquet"))
        beside = any(name.removesuffix(".parquet") in folder.folders for name in tables)
        return FolderSource.kind if beside else ParquetSource.kind  # img2dataset's `files`
    if any(f".{end}" in IMAGE_SUFFIXES for end in ends):
        return FolderSource.kind
    annotations = annotation_files(folder)
    if annotations and looks_like_finehard(location, folder.path(annotations[0])):
        return FineHardSource.kind
    return ""


def _split(path: str) -> tuple[str, str]:
    """Folder and name; a URL's query stays with the folder."""
    base, question, query = path.partition("?") if "://" in path else (path, "", "")
    folder, slash, name = base.rpartition("/")
    return (folder or slash or ".") + question + query, name
