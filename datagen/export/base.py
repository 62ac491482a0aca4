"""What an export is: it writes one shard at a time, and a shard that is there is done."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from datagen.dataset import Dataset, DatasetError, Table
from datagen.dataset.counts import Counts
from datagen.dataset.files import Files
from datagen.dataset.lineage import differing_fields
from datagen.export.records import Record, read_records, tables_of
from datagen.progress import Progress

ABOUT = "_export.json"


@dataclass(frozen=True, kw_only=True)
class ExportSummary:
    """Images in = records out + left out."""

    format: str
    images: int
    records: int
    shards: int
    skipped: int

    def line(self) -> str:
        """One line for people."""
        left = self.images - self.records
        return (
            f"export: {self.images:,} images = {self.records:,} records of {self.format} + "
            f"{left:,} left out (no caption), in {self.shards} shards "
            f"({self.skipped} were there already)"
        )


@dataclass(frozen=True)
class Shard:
    """A shard to write: its number, its place among the shards, and how many they are."""

    number: int
    place: int
    total: int


class Exporter(ABC):
    """One format."""

    format: ClassVar[str]
    needs_caption: ClassVar[bool] = False
    """Images without a caption are left out."""

    @abstractmethod
    def name(self, shard: Shard) -> str:
        """The file whose being there says that the shard is done."""

    @abstractmethod
    def write(self, files: Files, shard: Shard, records: Iterator[Record]) -> None:
        """Write one shard, the file of `name` last and all at once."""

    def finish(self, files: Files, dataset: Dataset, about: dict[str, Any]) -> None:  # noqa: B027
        """Write what describes the whole, when all shards are there."""


def export(dataset: Dataset, output: str, exporter: Exporter) -> ExportSummary:
    """Write every shard of a dataset that the output lacks.

    Raises:
        DatasetError: a table is not finished, or the output is of another state of the dataset.
        StorageError: the output cannot be written.
    """
    tables = tables_of(dataset)
    shards, files = tables[Table.IMAGES], Files(output)
    counts = {table: dataset.counts(table, numbers) for table, numbers in tables.items()}
    about = _about(dataset, counts, exporter)
    _claim(files, about)
    if exporter.needs_caption and Table.CAPTIONS not in tables:
        raise DatasetError(
            f"{dataset.root} has no captions, which {exporter.format} needs: run its stage first."
        )
    images = int(about["rows"][Table.IMAGES])
    skipped = 0
    with Progress(f"export {exporter.format}", images) as progress:
        for place, number in enumerate(shards):
            shard = Shard(number, place, len(shards))
            if files.exists(exporter.name(shard)):
                skipped += 1
            else:
                records = read_records(dataset, tables, number)
                kept = (r for r in records if r.caption is not None or not exporter.needs_caption)
                exporter.write(files, shard, kept)
            progress.advance(int(counts[Table.IMAGES].rows[place]))
        exporter.finish(files, dataset, about)
    return ExportSummary(
        format=exporter.format,
        images=images,
        records=int(about["rows"][Table.CAPTIONS]) if exporter.needs_caption else images,
        shards=len(shards),
        skipped=skipped,
    )


def _about(dataset: Dataset, counts: dict[Table, Counts], exporter: Exporter) -> dict[str, Any]:
    """What an output must agree on with the dataset to be continued."""
    runs = {str(table): dataset.read_json(f"{table}/run.json") for table in counts}
    return {
        "format": exporter.format,
        "shards": len(counts[Table.IMAGES].shards),
        "rows": {str(table): int(count.rows.sum()) for table, count in counts.items()},
        "dead_letters": {str(t): int(count.dead_letters.sum()) for t, count in counts.items()},
        "fingerprints": {table: run.get("fingerprint", "") for table, run in runs.items()},
    }


def _claim(files: Files, about: dict[str, Any]) -> None:
    raw = files.read(ABOUT)
    found = about if raw is None else json.loads(raw)
    if found != about:
        fields = "; ".join(differing_fields(found, about))
        raise DatasetError(
            f"{files.root} holds the export of another dataset or another state of it ({fields}). "
            "Choose another output folder, or remove this one."
        )
    text = json.dumps(about, indent=2).encode()
    files.write(ABOUT, lambda file: file.write(text))
