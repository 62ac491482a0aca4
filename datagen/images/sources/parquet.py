"""Parquet files of images: as bytes, as the struct<bytes, path> of Hugging Face datasets, or named.

Names are paths below the root of images, or URLs. Rows are streamed, a few at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from datagen.images.sources.base import (
    WEB,
    Found,
    Part,
    RawImage,
    Source,
    SourceError,
    caption_of,
)
from datagen.images.sources.location import FetchError, Location

BYTES_COLUMNS = ("bytes", "image", "jpg", "image_bytes", "img", "png", "webp", "content")
NAME_COLUMNS = (
    *("image", "path", "image_path", "file_name", "filename", "file", "img_path"),
    *("url", "URL", "image_url", "img_url"),
)
BATCH_ROWS = 16
READ_BYTES = 8 << 20


class ParquetSource(Source):
    """Rows `start` … `stop` - 1 of a file make a shard."""

    kind = "parquet"

    def __init__(
        self,
        location: Location,
        images: Location,
        max_bytes: int,
        image_column: str | None = None,
        caption_column: str | None = None,
    ) -> None:
        super().__init__(location, images, max_bytes)
        self.image_column, self.caption_column = image_column, caption_column

    def files(self) -> Iterator[Found]:
        """See `Source.files`."""
        for folder in self.location.walk():
            yield from (Found(folder.path(n)) for n in folder.files if n.endswith(".parquet"))

    def parts(self, files: Iterator[Found], shard_rows: int) -> Iterator[Part]:
        """Cut by the row counts in the footers; a file without a footer is one dead letter."""
        shard = 0
        for found in files:
            try:
                with self.location.open(found.file) as file, pq.ParquetFile(file) as parquet:
                    rows = parquet.metadata.num_rows
                    schema = parquet.schema_arrow
            except (FetchError, OSError, pa.ArrowException) as error:
                if isinstance(error, OSError):
                    self._still_there(found.file)
                problem = f"cannot be read as Parquet: {error}"
                yield Part(shard, found.file, problem=problem)
                shard += 1
                continue
            self._column(schema, found.file)
            for start in range(0, rows, shard_rows):
                stop = min(start + shard_rows, rows)
                yield Part(shard, found.file, start, stop, rows=stop - start)
                shard += 1

    def read(self, part: Part) -> Iterator[RawImage]:
        """See `Source.read`. Only the row groups that hold the part are read."""
        assert part.stop is not None
        try:
            file = self.location.open(part.file)
        except FetchError as error:
            raise SourceError(f"{error}, but the import was planned with it.") from None
        with file, pq.ParquetFile(file, buffer_size=READ_BYTES, pre_buffer=False) as parquet:
            if parquet.metadata.num_rows < part.stop:
                raise SourceError(
                    f"{self.location.uri(part.file)} has {parquet.metadata.num_rows:,} rows, fewer "
                    "than when the import was planned: import it into another dataset."
                )
            column = self._column(parquet.schema_arrow, part.file)
            first = 0
            for group in range(parquet.num_row_groups):
                rows = parquet.metadata.row_group(group).num_rows
                start, stop = max(part.start - first, 0), min(part.stop - first, rows)
                if start < stop:
                    yield from self._group(parquet, group, part.file, column, first, start, stop)
                first += rows

    def _group(
        self,
        parquet: pq.ParquetFile,
        group: int,
        file: str,
        column: str,
        first: int,
        start: int,
        stop: int,
    ) -> Iterator[RawImage]:
        """Rows `start` … `stop` - 1 of a row group whose first row is row `first` of the file."""
        columns = [column, *_other_columns(parquet.schema_arrow, column)]
        at = 0
        try:
            for batch in parquet.iter_batches(BATCH_ROWS, [group], columns, use_threads=False):
                low, high = max(start - at, 0), min(stop - at, len(batch))
                if low < high:
                    for number, record in enumerate(batch.slice(low, high - low).to_pylist()):
                        yield self._image(file, first + at + low + number, record, column)
                at += len(batch)
                if at >= stop:
                    return
        except (OSError, pa.ArrowException) as error:
            if isinstance(error, OSError):
                self._still_there(file)
            for number in range(max(at, start), stop):
                uri = f"{self.location.uri(file)}#{first + number}"
                yield RawImage(uri, problem=f"the Parquet file is corrupt here: {error}")

    def _still_there(self, file: str) -> None:
        """Tell corrupt data from a store that is out of reach, which raises OSError here again."""
        with self.location.open(file) as again:
            again.read(4)

    def _image(self, file: str, row: int, record: dict[str, Any], column: str) -> RawImage:
        uri = f"{self.location.uri(file)}#{row}"
        value = record.pop(column)
        caption = caption_of(record, self.caption_column)
        data, path = value, None
        if isinstance(value, dict):
            data, path = value.get("bytes"), value.get("path")
        elif isinstance(value, str):
            data, path = None, value
        if path:
            record[column] = path
        if data:
            return RawImage(uri, data=data, caption=caption, source=record)
        if data is None and path:
            return self._named(RawImage(uri, caption=caption, source=record), path)
        problem = f"column {column} is empty"
        return RawImage(uri, problem=problem, caption=caption, source=record)

    def _named(self, image: RawImage, path: str) -> RawImage:
        try:
            name = path if path.startswith(WEB) else self.images.inside(path)
        except FetchError as error:
            return RawImage(image.id, problem=str(error))
        return RawImage(image.id, path=name, caption=image.caption, source=image.source)

    def _column(self, schema: pa.Schema, file: str) -> str:
        """Which column holds the images."""
        for name in ("image_column", "caption_column"):
            wanted = getattr(self, name)
            if wanted and wanted not in schema.names:
                raise SourceError(f"{file} has no column {wanted}: {', '.join(schema.names)}.")
        if self.image_column:
            return self.image_column
        structs = [f.name for f in schema if _is_image_struct(f.type)]
        binaries = [f.name for f in schema if _is_binary(f.type)]
        strings = [f.name for f in schema if pa.types.is_string(f.type)]
        found = (
            *(name for name in BYTES_COLUMNS if name in structs or name in binaries),
            *structs,
            *binaries,
            *(name for name in NAME_COLUMNS if name in strings),
        )
        if not found:
            raise SourceError(
                f"{file} has no column of image bytes, paths or URLs (columns: "
                f"{', '.join(schema.names)}): name it with --image-column."
            )
        return found[0]


def _is_binary(kind: pa.DataType) -> bool:
    return (
        pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind)
    )


def _is_image_struct(kind: pa.DataType) -> bool:
    return pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0


def _other_columns(schema: pa.Schema, column: str) -> list[str]:
    """Columns that are kept beside the image: all but those of bytes, which may be large."""
    return [
        field.name
        for field in schema
        if field.name != column and not _is_binary(field.type) and not _is_image_struct(field.type)
    ]
