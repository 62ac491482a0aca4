"""A dataset on disk or on an object store: its shards, how they are read and committed.

A shard is the unit of work, of commit, of retry and of resume. It is done when its file has
its final name: the file is written under a temporary name in the same folder and renamed
(on an object store the upload itself appears all at once).
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from datagen.dataset.lineage import Lineage, differing_fields
from datagen.dataset.rows import (
    CaptionRow,
    ErrorRow,
    ImageRow,
    Negative,
    NegativesRow,
    RegionRow,
    Row,
)
from datagen.dataset.schemas import ERRORS_SCHEMA, SCHEMA_VERSION, SCHEMAS, Table
from datagen.errors import UserError

ROW_GROUP_ROWS = 256
_ROW_TYPES = {
    Table.IMAGES: ImageRow,
    Table.CAPTIONS: CaptionRow,
    Table.REGIONS: RegionRow,
    Table.NEGATIVES: NegativesRow,
}


class DatasetError(UserError):
    """The dataset, or a run's claim to it, is not usable; the message says what to do."""


def shard_name(index: int) -> str:
    """`part-000007.parquet` for 7."""
    return f"part-{index:06d}.parquet"


class Dataset:
    """A directory of tables: `images/ captions/ regions/ negatives/` and `_errors/<stage>/`.

    Args:
        root: a local path, or a URL that pyarrow (`s3://…`, `gs://…`) or fsspec opens.
    """

    def __init__(self, root: str) -> None:
        self.root = str(root)
        self._fs, self._path = _open(self.root)

    def __reduce__(self) -> tuple[type[Dataset], tuple[str]]:
        return (Dataset, (self.root,))  # file systems are opened anew in each process

    # Reading

    def shards(self, table: Table) -> list[int]:
        """Numbers of the shards of a table that are done, ascending; empty if there is none."""
        folder = fs.FileSelector(f"{self._path}/{table}", allow_not_found=True)
        names = (info.base_name for info in self._fs.get_file_info(folder))
        return sorted(
            int(name[5:-8])
            for name in names
            if name.startswith("part-") and name.endswith(".parquet")
        )

    def read(
        self, table: Table, shard: int, columns: Sequence[str] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Stream the record batches of a shard, one row group in memory at a time.

        Raises:
            DatasetError: the shard is missing, is no Parquet file, or has a newer schema.
        """
        path = self._shard_path(table, shard)
        try:
            with self._fs.open_input_file(path) as file, pq.ParquetFile(file) as parquet:
                _check_version(parquet.schema_arrow, path)
                for group in range(parquet.num_row_groups):
                    yield from parquet.read_row_group(group, columns=columns).to_batches()
        except (FileNotFoundError, pa.ArrowInvalid) as error:
            raise DatasetError(f"Cannot read shard {path}: {error}. Run its stage again.") from None

    def read_rows(self, table: Table, shard: int) -> Iterator[Any]:
        """Stream a shard as typed rows (`ImageRow`, `CaptionRow`, …)."""
        row_type = _ROW_TYPES[table]
        for batch in self.read(table, shard):
            for record in batch.to_pylist():
                yield row_type(**_typed(record))

    def metadata(self, table: Table, shard: int) -> dict[str, Any]:
        """What the shard says of itself: `schema_version`, `lineage`, `rows_in`, `dead_letters`.

        `rows` is the number of its rows.
        """
        with self._fs.open_input_file(self._shard_path(table, shard)) as file:
            parquet = pq.ParquetFile(file)
            raw = parquet.schema_arrow.metadata or {}
            return {**json.loads(raw.get(b"datagen", b"{}")), "rows": parquet.metadata.num_rows}

    def errors(self, stage: str, shard: int) -> list[ErrorRow]:
        """The dead letters that a stage left for a shard; empty if there is none."""
        path = f"{self._path}/_errors/{stage}/{shard_name(shard)}"
        if self._fs.get_file_info(path).type == fs.FileType.NotFound:
            return []
        with self._fs.open_input_file(path) as file:
            return [ErrorRow(**record) for record in pq.read_table(file).to_pylist()]

    # Writing

    def commit(
        self,
        table: Table,
        shard: int,
        rows: Iterable[Row],
        *,
        lineage: Lineage,
        rows_in: int,
        errors: Sequence[ErrorRow] = (),
    ) -> None:
        """Write one shard of a table and its dead letters, and let them appear at once.

        The dead letters go first: whoever sees the shard sees them as well. Rows are cast to the
        table's schema, so a wrong type fails here and nowhere later.
        """
        if errors:
            errors_table = pa.Table.from_pylist([asdict(e) for e in errors], ERRORS_SCHEMA)
            self._write(f"{self._path}/_errors/{lineage.stage}", shard, errors_table)
        else:
            self._remove(f"{self._path}/_errors/{lineage.stage}/{shard_name(shard)}")
        about = {
            "schema_version": SCHEMA_VERSION,
            "lineage": lineage.to_json(),
            "rows_in": rows_in,
            "dead_letters": len(errors),
        }
        schema = SCHEMAS[table].with_metadata({"datagen": json.dumps(about)})
        data = pa.Table.from_pylist([asdict(row) for row in rows], schema)
        self._write(f"{self._path}/{table}", shard, data)

    def claim(self, table: Table, lineage: Lineage) -> None:
        """Record the run's configuration in `<table>/run.json`, or check it against the one there.

        Raises:
            DatasetError: the table belongs to another configuration; the fields that differ
                are named.
        """
        path = f"{self._path}/{table}/run.json"
        if self._fs.get_file_info(path).type != fs.FileType.NotFound:
            with self._fs.open_input_stream(path) as stream:
                found = json.loads(stream.read())
            if found["fingerprint"] != lineage.fingerprint:
                fields = "; ".join(differing_fields(found["settings"], lineage.settings))
                raise DatasetError(
                    f"{self.root}/{table} was made with another configuration ({fields}). "
                    "Use the same configuration, or another output folder."
                )
            return
        self._fs.create_dir(f"{self._path}/{table}", recursive=True)
        self._put(path, json.dumps(lineage.to_json(), indent=2).encode())

    def read_json(self, name: str) -> dict[str, Any]:
        """Read what `write_json` wrote; empty if it is not there."""
        path = f"{self._path}/{name}"
        if self._fs.get_file_info(path).type == fs.FileType.NotFound:
            return {}
        with self._fs.open_input_stream(path) as stream:
            return json.loads(stream.read())

    def write_json(self, name: str, value: Mapping[str, Any]) -> None:
        """Replace a small JSON file; `name` is relative, for example `captions/summary.json`."""
        self._fs.create_dir(f"{self._path}/{name}".rpartition("/")[0], recursive=True)
        self._put(f"{self._path}/{name}", json.dumps(value, indent=2).encode())

    def _shard_path(self, table: Table, shard: int) -> str:
        return f"{self._path}/{table}/{shard_name(shard)}"

    def _write(self, folder: str, shard: int, data: pa.Table) -> None:
        self._fs.create_dir(folder, recursive=True)
        sink = pa.BufferOutputStream()
        pq.write_table(data, sink, compression="zstd", row_group_size=ROW_GROUP_ROWS)
        self._put(f"{folder}/{shard_name(shard)}", sink.getvalue())

    def _put(self, path: str, data: bytes | pa.Buffer) -> None:
        local = isinstance(self._fs, fs.LocalFileSystem)
        folder, _, name = path.rpartition("/")
        target = f"{folder}/.{name}.{uuid.uuid4().hex}.tmp" if local else path
        with self._fs.open_output_stream(target) as stream:
            stream.write(data)
        if local:
            self._fs.move(target, path)

    def _remove(self, path: str) -> None:
        if self._fs.get_file_info(path).type != fs.FileType.NotFound:
            self._fs.delete_file(path)


def _open(root: str) -> tuple[fs.FileSystem, str]:
    if "://" not in root:
        from pathlib import Path

        return fs.LocalFileSystem(), str(Path(root).absolute())
    try:
        return fs.FileSystem.from_uri(root)
    except pa.ArrowInvalid:
        import fsspec

        filesystem, path = fsspec.core.url_to_fs(root)
        return fs.PyFileSystem(fs.FSSpecHandler(filesystem)), path


def _typed(record: dict[str, Any]) -> dict[str, Any]:
    if "bbox" in record:
        record["bbox"] = tuple(record["bbox"])
    if "negatives" in record:
        record["negatives"] = [Negative(**negative) for negative in record["negatives"]]
    return record


def _check_version(schema: pa.Schema, path: str) -> None:
    about = json.loads((schema.metadata or {}).get(b"datagen", b"{}"))
    version = about.get("schema_version", 0)
    if version > SCHEMA_VERSION:
        raise DatasetError(
            f"{path} has schema version {version}, this program knows {SCHEMA_VERSION}: "
            "update the program."
        )
