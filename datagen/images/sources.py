"""Where images come from. A source yields encoded images and what is known of each."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from datagen.errors import UserError

IMAGE_SUFFIXES = frozenset(
    [
        ".avif",
        ".bmp",
        ".gif",
        ".heic",
        ".heif",
        ".jfif",
        ".jpeg",
        ".jpg",
        ".png",
        ".tif",
        ".tiff",
        ".webp",
    ]
)
BYTES_COLUMNS = ("bytes", "image", "jpg", "image_bytes")
CAPTION_COLUMNS = ("source_caption", "caption", "text")
_INLINE_LIMIT = 1_000_000


class SourceError(UserError):
    """Nothing can be read from the source; the message says what was expected there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RawImage:
    """An encoded image as it came, not looked into yet. `data` is None if it cannot be read."""

    uri: str
    data: bytes | None
    problem: str = ""
    caption: str | None = None
    source: dict[str, Any] | None = None


def open_source(path: str) -> Iterator[RawImage]:
    """Stream the images of a folder (all below it, by name) or of Parquet files with bytes.

    Raises:
        SourceError: nothing is there, or nothing in it is of a known kind.
    """
    root = Path(path)
    if not root.exists():
        raise SourceError(f"There is no {path}: give a folder of images or a Parquet file.")
    if root.is_file():
        if root.suffix != ".parquet":
            raise SourceError(f"{path} is no folder and no .parquet file.")
        return _parquet([root])
    parquet = sorted(root.glob("*.parquet"))
    if parquet:
        return _parquet(parquet)
    files = sorted(file for file in root.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES)
    if not files:
        raise SourceError(
            f"{path} holds no images (looked for {', '.join(sorted(IMAGE_SUFFIXES))})."
        )
    return _folder(root, files)


def _folder(root: Path, files: list[Path]) -> Iterator[RawImage]:
    """A caption may lie beside an image, in a .txt file of the same name."""
    inside = root.resolve()
    for file in files:
        uri = str(file)
        if not file.resolve().is_relative_to(inside):
            yield RawImage(uri=uri, data=None, problem="a link that leads out of the folder")
            continue
        caption = file.with_suffix(".txt")
        try:
            yield RawImage(
                uri=uri,
                data=file.read_bytes(),
                caption=caption.read_text("utf-8").strip() if caption.is_file() else None,
            )
        except (OSError, UnicodeDecodeError) as error:
            yield RawImage(uri=uri, data=None, problem=str(error))


def _parquet(files: list[Path]) -> Iterator[RawImage]:
    for file in files:
        try:
            parquet = pq.ParquetFile(file)
        except Exception as error:
            raise SourceError(f"{file} cannot be read as Parquet: {error}.") from None
        names = parquet.schema_arrow.names
        column = next((name for name in BYTES_COLUMNS if name in names), None)
        if column is None:
            raise SourceError(
                f"{file} has no column of image bytes: expected one of {', '.join(BYTES_COLUMNS)}, "
                f"found {', '.join(names)}."
            )
        caption = next((name for name in CAPTION_COLUMNS if name in names), None)
        number = 0
        for batch in parquet.iter_batches(batch_size=64):
            for record in batch.to_pylist():
                yield _record(f"{file}#{number}", record, column, caption)
                number += 1


def _record(uri: str, record: dict[str, Any], column: str, caption: str | None) -> RawImage:
    image = record.pop(column)
    data = image.get("bytes") if isinstance(image, dict) else image
    text = record.pop(caption, None) if caption else None
    own = record.get("uri") or record.get("file_name") or record.get("url")
    return RawImage(
        uri=str(own) if own else uri,
        data=data if isinstance(data, bytes) else None,
        problem="" if isinstance(data, bytes) else f"column {column} holds no bytes",
        caption=text if isinstance(text, str) else None,
        source=record,
    )


def to_json(source: dict[str, Any] | None) -> str | None:
    """The other columns of a source as JSON, bytes as base64, dates in ISO form.

    Raises:
        ValueError: larger than a megabyte; such columns do not belong beside every image.
    """
    if source is None:
        return None
    text = json.dumps(source, default=_plain, ensure_ascii=False)
    if len(text) > _INLINE_LIMIT:
        raise ValueError(f"the other columns of the source take {len(text):,} characters")
    return text


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, date | datetime):
        return value.isoformat()
    return str(value)
