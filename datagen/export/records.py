"""The tables of a shard joined: one record an image, with all that is known of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from datagen.dataset import CaptionRow, Dataset, DatasetError, ImageRow, RegionRow, Table
from datagen.dataset.rows import Negative

SUFFIXES = {"JPEG": "jpg", "MPO": "jpg", "TIFF": "tif"}
EXPORTED = (Table.IMAGES, Table.CAPTIONS, Table.REGIONS, Table.NEGATIVES)


@dataclass(frozen=True, slots=True)
class Region:
    """A region and its negatives."""

    row: RegionRow
    negatives: list[Negative]


@dataclass(frozen=True, slots=True)
class Record:
    """An image and what the tables say of it; no caption where its stage gave up on it."""

    image: ImageRow
    caption: CaptionRow | None
    regions: list[Region]

    @property
    def file_name(self) -> str:
        """The image's id with the usual suffix of its format."""
        kind = self.image.format
        return f"{self.image.image_id}.{SUFFIXES.get(kind, kind.lower())}"


def tables_of(dataset: Dataset) -> dict[Table, list[int]]:
    """The tables that there are, each with the numbers of its shards, which must be the same.

    Raises:
        DatasetError: there are no images, or a table lacks shards that the images have.
    """
    found = {table: dataset.shards(table) for table in EXPORTED}
    images = found[Table.IMAGES]
    if not images:
        raise DatasetError(f"{dataset.root} holds no images: run pipelines/caption.py first.")
    tables = {table: shards for table, shards in found.items() if shards}
    for table, shards in tables.items():
        if missing := sorted(set(images) - set(shards)):
            raise DatasetError(
                f"{dataset.root}/{table} lacks {len(missing)} of {len(images)} shards (the first "
                f"is {missing[0]}): finish its stage first."
            )
    return tables


def read_records(dataset: Dataset, tables: dict[Table, list[int]], shard: int) -> Iterator[Record]:
    """The records of a shard. Its texts are held in memory, its pictures stream by.

    Args:
        tables: as `tables_of` gives them; others are not looked for.
    """
    captions: dict[str, CaptionRow] = {}
    if Table.CAPTIONS in tables:
        captions = {row.image_id: row for row in dataset.read_rows(Table.CAPTIONS, shard)}
    negatives: dict[str, list[Negative]] = {}
    if Table.NEGATIVES in tables:
        rows = dataset.read_rows(Table.NEGATIVES, shard)
        negatives = {row.region_id: row.negatives for row in rows}
    regions: dict[str, list[Region]] = {}
    if Table.REGIONS in tables:
        for row in dataset.read_rows(Table.REGIONS, shard):
            region = Region(row, negatives.get(row.region_id, []))
            regions.setdefault(row.image_id, []).append(region)
    for image in dataset.read_rows(Table.IMAGES, shard):
        name = image.image_id
        yield Record(image, captions.get(name), regions.get(name, []))
