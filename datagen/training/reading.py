"""Rows of a dataset's aligned shards, joined to samples: a few row groups in memory at a time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from threading import Lock

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from datagen.dataset import Dataset, DatasetError, Table
from datagen.dataset.lineage import fingerprint
from datagen.dataset.store import shard_name
from datagen.training.data import Region, Sample
from datagen.training.order import Segment

_NOTHING = np.empty((0, 0, 3), np.uint8)
_CAPTIONS = ["image_id", "long", "short"]
_REGIONS = ["region_id", "image_id", "phrase", "bbox", "description"]
_NEGATIVES = ["region_id", "image_id", "positive", "negatives"]


@dataclass(frozen=True, slots=True)
class Record:
    """A sample without pixels, and its encoded image."""

    sample: Sample
    image: bytes


@dataclass(frozen=True, slots=True)
class _Texts:
    """What a shard says of its images, as Arrow tables."""

    captions: pa.Table
    cleaned: pa.Table | None
    regions: pa.Table | None
    negatives: pa.Table | None


class Reader:
    """Reads segments of the images table with what the other tables say of them.

    Args:
        with_regions: read regions and negatives too.
        shards_at_once: shards whose texts are kept; as many as are read side by side.

    Raises:
        DatasetError: there is no shard to train on, or a table lacks some.
    """

    def __init__(
        self, dataset: Dataset, with_regions: bool = True, shards_at_once: int = 16
    ) -> None:
        self.dataset, self.with_regions = dataset, with_regions
        self.shards = self._usable_shards()
        self.rows: list[int] = self.dataset.counts(Table.IMAGES, self.shards).rows.tolist()
        self._grounded = set(dataset.shards(Table.GROUNDING))
        self._kept: OrderedDict[int, _Texts] = OrderedDict()
        self._shards_at_once, self._lock = shards_at_once, Lock()

    def _usable_shards(self) -> list[int]:
        found = {table: set(self.dataset.shards(table)) for table in _tables(with_regions=True)}
        shards = found[Table.IMAGES] & found[Table.CAPTIONS]
        if not shards:
            raise DatasetError(
                f"{self.dataset.root} holds no shard with images and captions: "
                "run pipelines/caption.py first."
            )
        for table in _tables(self.with_regions):
            if missing := sorted(shards - found[table]):
                raise DatasetError(
                    f"{self.dataset.root}/{table} lacks {len(missing)} shards that captions has "
                    f"(the first is {missing[0]}): run pipelines/{table}.py first, or set the "
                    "weights of the region and hard losses to 0."
                )
        return sorted(shards)

    def fingerprints(self) -> dict[str, str]:
        """Of the tables' configurations and numbers of rows: others are another training set."""
        found = {}
        for table in _tables(self.with_regions):
            run = self.dataset.read_json(f"{table}/run.json").get("fingerprint", "")
            rows = self.dataset.counts(table, self.shards).rows.tolist()
            found[str(table)] = fingerprint({"run": run, "shards": self.shards, "rows": rows})
        return found

    def texts(self) -> Iterator[str]:
        """Every text once as it comes, for learning a tokenizer."""
        for shard in self.shards:
            texts = self._read_texts(shard)
            yield from texts.captions["long"].to_pylist()
            yield from texts.captions["short"].to_pylist()
            if texts.negatives is not None:
                yield from texts.negatives["positive"].to_pylist()
                yield from _flat_negatives(texts.negatives)[0]

    def segment(self, segment: Segment) -> list[Record | None]:
        """Its rows in order; None for an image that has no captions."""
        images = self._images(segment)
        ids = images["image_id"]
        texts = self._texts(segment.shard)
        captions = _by_image(texts.captions, ids)
        long = {row["image_id"]: row["long"] for row in captions}
        if texts.cleaned is not None:
            long |= {row["image_id"]: row["long"] for row in _by_image(texts.cleaned, ids)}
        short = {row["image_id"]: row["short"] for row in captions}
        regions = _regions(texts, ids)
        records: list[Record | None] = []
        for image_id, data in zip(ids.to_pylist(), images["bytes"].to_pylist(), strict=True):
            if image_id not in short:  # a dead letter of the captions
                records.append(None)
                continue
            found = tuple(regions.get(image_id, ()))
            sample = Sample(image_id, _NOTHING, long[image_id], short[image_id], found)
            records.append(Record(sample, data))
        return records

    def _images(self, segment: Segment) -> pa.Table:
        name = f"{Table.IMAGES}/{shard_name(segment.shard)}"
        with self.dataset.files.open(name) as file, pq.ParquetFile(file) as parquet:
            metadata = parquet.metadata
            sizes = [metadata.row_group(g).num_rows for g in range(metadata.num_row_groups)]
            starts = np.cumsum([0, *sizes])
            first = int(np.searchsorted(starts, segment.first, "right")) - 1
            last = int(np.searchsorted(starts, segment.first + segment.rows, "left"))
            groups = list(range(first, last))
            found = parquet.read_row_groups(groups, ["image_id", "bytes"], use_threads=False)
            return found.slice(segment.first - int(starts[first]), segment.rows)

    def _texts(self, shard: int) -> _Texts:
        with self._lock:
            found = self._kept.pop(shard, None) or self._read_texts(shard)
            self._kept[shard] = found
            while len(self._kept) > self._shards_at_once:
                self._kept.popitem(last=False)
            return found

    def _read_texts(self, shard: int) -> _Texts:
        grounded = shard in self._grounded
        return _Texts(
            captions=self._table(Table.CAPTIONS, shard, _CAPTIONS),
            cleaned=self._table(Table.GROUNDING, shard, ["image_id", "long"]) if grounded else None,
            regions=self._table(Table.REGIONS, shard, _REGIONS) if self.with_regions else None,
            negatives=self._table(Table.NEGATIVES, shard, _NEGATIVES)
            if self.with_regions
            else None,
        )

    def _table(self, table: Table, shard: int, columns: Sequence[str]) -> pa.Table:
        batches = list(self.dataset.read(table, shard, columns))
        if not batches:
            return pa.table({name: pa.array([], pa.string()) for name in columns})
        return pa.Table.from_batches(batches)


def _tables(with_regions: bool) -> tuple[Table, ...]:
    tables = (Table.IMAGES, Table.CAPTIONS)
    return (*tables, Table.REGIONS, Table.NEGATIVES) if with_regions else tables


def _by_image(table: pa.Table, ids: pa.ChunkedArray) -> list[dict]:
    return _filtered(table, ids).to_pylist()


def _filtered(table: pa.Table, ids: pa.ChunkedArray) -> pa.Table:
    return table.filter(pc.is_in(table["image_id"], value_set=ids.combine_chunks()))


def _regions(texts: _Texts, ids: pa.ChunkedArray) -> dict[str, list[Region]]:
    if texts.regions is None or texts.negatives is None:
        return {}
    kept = _filtered(texts.negatives, ids)
    flat, lengths = _flat_negatives(kept)
    negatives, start = {}, 0
    for region_id, length in zip(kept["region_id"].to_pylist(), lengths, strict=True):
        negatives[region_id] = tuple(flat[start : start + length])
        start += length
    regions: dict[str, list[Region]] = {}
    for row in _by_image(texts.regions, ids):
        x1, y1, x2, y2 = row["bbox"]
        if x1 < x2 and y1 < y2:  # an empty box has no features
            text = row["description"] or row["phrase"]
            found = negatives.get(row["region_id"], ())
            region = Region((x1, y1, x2, y2), row["phrase"], text, found)
            regions.setdefault(row["image_id"], []).append(region)
    return regions


def _flat_negatives(table: pa.Table) -> tuple[list[str], list[int]]:
    """The texts of all negatives, one row's after the other's, and how many each row has."""
    if not table.num_rows:
        return [], []
    column = table["negatives"].combine_chunks()
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_pylist()
    return pc.struct_field(column.flatten(), "text").to_pylist(), lengths
