"""A dataset on disk or on an object store: its shards, how they are read and committed.

A shard is the unit of work, of commit, of retry and of resume. It is done when its file has
its final name: the file is written under a temporary name in the same folder and renamed
(on an object store the upload itself appears all at once).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from itertools import chain
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from datagen.dataset import counts as index
from datagen.dataset.counts import Counts
from datagen.dataset.files import DatasetError, Files
from datagen.dataset.lineage import Lineage, differing_fields
from datagen.dataset.rows import (
    Candidate,
    CandidatesRow,
    CaptionRow,
    ErrorRow,
    GroundedPhrase,
    GroundingRow,
    ImageRow,
    Negative,
    NegativesRow,
    PhraseSlot,
    RegionRow,
    Row,
    Vote,
)
from datagen.dataset.schemas import ERRORS_SCHEMA, SCHEMA_VERSION, SCHEMAS, Table

ROW_GROUP_ROWS = 256
ROW_GROUP_BYTES = 64 * 2**20
"""A row group of pictures ends here at the latest, so that reading one stays cheap."""
FOOTERS_AT_ONCE = 32
_ROW_TYPES: dict[Table, type] = {
    Table.IMAGES: ImageRow,
    Table.CAPTIONS: CaptionRow,
    Table.GROUNDING: GroundingRow,
    Table.REGIONS: RegionRow,
    Table.CANDIDATES: CandidatesRow,
    Table.NEGATIVES: NegativesRow,
}


def shard_name(index: int) -> str:
    """`part-000007.parquet` for 7."""
    return f"part-{index:06d}.parquet"


def table_of(row: Row) -> Table:
    """The table that a row belongs to."""
    return next(table for table, kind in _ROW_TYPES.items() if isinstance(row, kind))


class Dataset:
    """A directory of tables: `images/ captions/ regions/ negatives/` and `_errors/<stage>/`.

    Args:
        root: a local path, or a URL that pyarrow (`s3://…`, `gs://…`) or fsspec opens.
    """

    def __init__(self, root: str) -> None:
        self.root = str(root)
        self.files = Files(self.root)

    def __reduce__(self) -> tuple[type[Dataset], tuple[str]]:
        return (Dataset, (self.root,))  # file systems are opened anew in each process

    # Reading

    def shards(self, table: Table) -> list[int]:
        """Numbers of the shards of a table that are done, ascending; empty if there is none."""
        return sorted(
            int(name[5:-8])
            for name in self.files.names(table)
            if name.startswith("part-") and name.endswith(".parquet")
        )

    def read(
        self, table: Table, shard: int, columns: Sequence[str] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Stream the record batches of a shard, one row group in memory at a time.

        Raises:
            DatasetError: the shard is missing, is no Parquet file, or has a newer schema.
        """
        name = f"{table}/{shard_name(shard)}"
        try:
            with self.files.open(name) as file, pq.ParquetFile(file) as parquet:
                _check_version(parquet.schema_arrow, self.files.path(name))
                for group in range(parquet.num_row_groups):
                    yield from parquet.read_row_group(group, columns=columns).to_batches()
        except (FileNotFoundError, pa.ArrowInvalid) as error:
            raise DatasetError(
                f"Cannot read shard {self.files.path(name)}: {error}. Run its stage again."
            ) from None

    def read_rows(self, table: Table, shard: int) -> Iterator[Any]:
        """Stream a shard as typed rows (`ImageRow`, `CaptionRow`, …)."""
        row_type = _ROW_TYPES[table]
        for batch in self.read(table, shard):
            for record in batch.to_pylist():
                yield row_type(**_typed(record))

    def metadata(self, table: Table, shard: int) -> dict[str, Any]:
        """What the shard says of itself: `schema_version`, `lineage`, `rows_in`, `dead_letters`.

        `rows` is the number of its rows.

        Raises:
            DatasetError: it has a newer schema.
        """
        name = f"{table}/{shard_name(shard)}"
        with self.files.open(name) as file:
            parquet = pq.ParquetFile(file)
            _check_version(parquet.schema_arrow, self.files.path(name))
            raw = parquet.schema_arrow.metadata or {}
            return {**json.loads(raw.get(b"datagen", b"{}")), "rows": parquet.metadata.num_rows}

    def counts(self, table: Table, shards: Sequence[int]) -> Counts:
        """Rows of these shards, from the index where it knows them and from the shards elsewhere.

        Args:
            table: of which table.
            shards: numbers of shards that are done, ascending.

        Raises:
            DatasetError: a shard cannot be read.
        """
        counts = Counts.unknown(shards)
        counts.take(index.load(self.files, table))
        unknown = counts.shards[~counts.known()].tolist()
        if unknown:
            with ThreadPoolExecutor(FOOTERS_AT_ONCE) as pool:
                for shard, rows in zip(
                    unknown, pool.map(lambda s: self._count(table, s), unknown), strict=True
                ):
                    counts.set(shard, *rows)
        return counts

    def save_counts(self, table: Table, counts: Counts) -> None:
        """Keep what is known of the rows of shards, for the next call of `counts`."""
        index.save(self.files, table, counts)

    def errors(self, stage: str, shard: int) -> list[ErrorRow]:
        """The dead letters that a stage left for a shard; empty if there is none."""
        raw = self.files.read(f"_errors/{stage}/{shard_name(shard)}")
        if raw is None:
            return []
        return [ErrorRow(**record) for record in pq.read_table(pa.BufferReader(raw)).to_pylist()]

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

        Raises:
            StorageError: the disk or object store refused.
        """
        letters = f"_errors/{lineage.stage}/{shard_name(shard)}"
        if errors:
            errors_table = pa.Table.from_pylist([asdict(e) for e in errors], ERRORS_SCHEMA)
            self.files.write(letters, lambda file: pq.write_table(errors_table, file))
        else:
            self.files.remove(letters)
        about = {
            "schema_version": SCHEMA_VERSION,
            "lineage": lineage.to_json(),
            "rows_in": rows_in,
            "dead_letters": len(errors),
        }
        schema = SCHEMAS[table].with_metadata({"datagen": json.dumps(about)})
        # Cast before the file is opened: a row that does not fit must not cost a half-written one.
        groups = (pa.Table.from_pylist([asdict(r) for r in g], schema) for g in _groups(rows))
        first = next(groups, schema.empty_table())

        pictures = table == Table.IMAGES

        def fill(file: IO[bytes]) -> None:
            with pq.ParquetWriter(
                file,
                schema,
                compression="zstd",
                # A dictionary of pictures costs three times the writing and saves nothing.
                use_dictionary=[n for n in schema.names if n != "bytes"] if pictures else True,
                write_batch_size=16 if pictures else 1024,  # else a page holds a whole row group
            ) as writer:
                for group in chain([first], groups):
                    writer.write_table(group)

        self.files.write(f"{table}/{shard_name(shard)}", fill)

    def claim(self, table: Table, lineage: Lineage) -> None:
        """Record the run's configuration in `<table>/run.json`, or check it against the one there.

        Raises:
            DatasetError: the table belongs to another configuration; the fields that differ
                are named.
        """
        found = self.read_json(f"{table}/run.json")
        if not found:
            self.write_json(f"{table}/run.json", lineage.to_json())
            found = self.read_json(f"{table}/run.json")  # another run may have been quicker
        if found["fingerprint"] != lineage.fingerprint:
            fields = "; ".join(differing_fields(found["settings"], lineage.settings))
            raise DatasetError(
                f"{self.root}/{table} was made with another configuration ({fields}). "
                "Use the same configuration, or another output folder."
            )

    def read_json(self, name: str) -> dict[str, Any]:
        """Read what `write_json` wrote; empty if it is not there."""
        raw = self.files.read(name)
        return {} if raw is None else json.loads(raw)

    def write_json(self, name: str, value: Mapping[str, Any]) -> None:
        """Replace a small JSON file; `name` is relative, for example `captions/summary.json`.

        Raises:
            StorageError: the disk or object store refused.
        """
        text = json.dumps(value, indent=2).encode()
        self.files.write(name, lambda file: file.write(text))

    def _count(self, table: Table, shard: int) -> tuple[int, int, int]:
        try:
            about = self.metadata(table, shard)
        except (FileNotFoundError, pa.ArrowInvalid) as error:
            name = self.files.path(f"{table}/{shard_name(shard)}")
            raise DatasetError(
                f"Cannot read shard {name}: {error}. Delete it and run its stage again."
            ) from None
        rows = int(about["rows"])
        return int(about.get("rows_in", rows)), rows, int(about.get("dead_letters", 0))


def _groups(rows: Iterable[Row]) -> Iterator[list[Row]]:
    group: list[Row] = []
    size = 0
    for row in rows:
        group.append(row)
        size += len(row.bytes) if isinstance(row, ImageRow) else 0
        if len(group) == ROW_GROUP_ROWS or size >= ROW_GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def _typed(record: dict[str, Any]) -> dict[str, Any]:
    if "bbox" in record:
        record["bbox"] = tuple(record["bbox"])
    if "negatives" in record:
        record["negatives"] = [_negative(negative) for negative in record["negatives"]]
    if "candidates" in record:
        record["slots"] = [PhraseSlot(**slot) for slot in record["slots"]]
        record["candidates"] = [Candidate(**candidate) for candidate in record["candidates"]]
    if "phrases" in record:
        record["phrases"] = [GroundedPhrase(**phrase) for phrase in record["phrases"]]
    return record


def _negative(record: dict[str, Any]) -> Negative:
    votes = [Vote(**vote) for vote in record.pop("votes", None) or ()]
    change = record.pop("change", None) or "replace"  # files from before these columns
    return Negative(**record, change=change, votes=votes)


def _check_version(schema: pa.Schema, path: str) -> None:
    about = json.loads((schema.metadata or {}).get(b"datagen", b"{}"))
    version = about.get("schema_version", 0)
    if version > SCHEMA_VERSION:
        raise DatasetError(
            f"{path} has schema version {version}, this program knows {SCHEMA_VERSION}: "
            "update the program."
        )
