"""Samples from the aligned shards of a dataset: image, captions, regions and their negatives."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from datagen.dataset import Dataset, DatasetError, ImageRow, Table
from datagen.dataset.lineage import fingerprint
from datagen.dataset.rows import Box
from datagen.images.decode import ImageError, decode

log = logging.getLogger(__name__)
Pixels = np.ndarray


@dataclass(frozen=True, slots=True)
class Region:
    """A box and what is said of it.

    `phrase` goes with the negatives, `text` (the phrase or the longer description, drawn anew each
    epoch) with the region loss, as in the paper.
    """

    box: Box
    phrase: str
    text: str
    negatives: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sample:
    """One image with its texts; `pixels` is (H, W, 3) uint8, a square of the model's size."""

    image_id: str
    pixels: Pixels
    long: str
    short: str
    regions: tuple[Region, ...] = ()


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """What is read and in which order."""

    max_regions: int = 8
    """Regions of an image in one epoch; which ones is drawn anew each epoch."""
    max_negatives: int = 10
    """Negatives of a region in one epoch, drawn anew each epoch as well."""
    short_prefix: str = ""
    """Put before short captions; the paper has "a photo of "."""
    keep_in_memory: bool = False
    """Keep decoded images: for small datasets and many epochs."""
    shuffle_buffer: int = 4096
    """Encoded images among which the next is drawn."""


class Samples:
    """The samples of a dataset. Order and choices depend on the seed and the epoch alone.

    Args:
        with_regions: read regions and negatives too.

    Raises:
        DatasetError: there is no shard to train on, or a table lacks some.
    """

    def __init__(
        self,
        dataset: Dataset,
        config: DataConfig,
        seed: int,
        with_regions: bool = True,
    ) -> None:
        self.dataset, self.config = dataset, config
        self.seed, self.with_regions = seed, with_regions
        self._memory: list[Sample] | None = None
        if not self.shards():
            raise DatasetError(
                f"{self.dataset.root} holds no shard with images and captions: "
                "run pipelines/caption.py first."
            )

    def fingerprints(self) -> dict[str, str]:
        """Of the tables' configurations and row counts: other tables are another training set."""
        tables = [Table.IMAGES, Table.CAPTIONS]
        tables += [Table.REGIONS, Table.NEGATIVES] if self.with_regions else []
        return {str(table): self._fingerprint(table) for table in tables}

    def _fingerprint(self, table: Table) -> str:
        about = [self.dataset.metadata(table, shard) for shard in self.shards()]
        parts = [[shard["lineage"]["fingerprint"], shard["rows"]] for shard in about]
        return fingerprint({"shards": parts})

    def shards(self) -> list[int]:
        """Shards that all needed tables have.

        Raises:
            DatasetError: regions are wanted and a table lacks shards that captions has.
        """
        tables = [Table.CAPTIONS, Table.REGIONS, Table.NEGATIVES]
        found = {table: set(self.dataset.shards(table)) for table in (Table.IMAGES, *tables)}
        shards = found[Table.IMAGES] & found[Table.CAPTIONS]
        for table in tables[1:] if self.with_regions else ():
            if missing := sorted(shards - found[table]):
                raise DatasetError(
                    f"{self.dataset.root}/{table} lacks {len(missing)} shards that captions has "
                    f"(the first is {missing[0]}): run pipelines/{table}.py first, or set the "
                    "weights of the region and hard losses to 0."
                )
        return sorted(shards)

    def count(self) -> int:
        """Number of captioned images, from the metadata alone."""
        return sum(self.dataset.metadata(Table.CAPTIONS, s)["rows"] for s in self.shards())

    def epoch(self, number: int, size: int) -> Iterator[Sample]:
        """The samples of one epoch. A corrupt image is left out and its id logged.

        Args:
            size: side in pixels to which images are resized, without keeping their aspect, as
                FG-CLIP does. The same in all epochs.
        """
        order = random.Random(f"{self.seed}/{number}")
        if self.config.keep_in_memory:
            if self._memory is None:
                self._memory = [s for shard in self.shards() for s in self._decoded(shard, size)]
            samples: Iterator[Sample] = iter(order.sample(self._memory, len(self._memory)))
        else:
            samples = self._streamed(order, size)
        return (self._choose(sample, number) for sample in samples)

    def _decoded(self, shard: int, size: int) -> Iterator[Sample]:
        decoded = (self._with_pixels(sample, data, size) for sample, data in self._shard(shard))
        return (sample for sample in decoded if sample is not None)

    def _streamed(self, order: random.Random, size: int) -> Iterator[Sample]:
        shards = self.shards()
        order.shuffle(shards)
        rows = (row for shard in shards for row in self._shard(shard))
        for sample, data in _shuffled(rows, self.config.shuffle_buffer, order):
            decoded = self._with_pixels(sample, data, size)
            if decoded is not None:
                yield decoded

    def texts(self) -> Iterator[str]:
        """Every text once as it comes, for learning a tokenizer."""
        for shard in self.shards():
            for row in self.dataset.read_rows(Table.CAPTIONS, shard):
                yield row.long
                yield row.short
            if self.with_regions:
                for row in self.dataset.read_rows(Table.NEGATIVES, shard):
                    yield row.positive
                    yield from (negative.text for negative in row.negatives)

    def _shard(self, shard: int) -> Iterator[tuple[Sample, bytes]]:
        captions = {row.image_id: row for row in self.dataset.read_rows(Table.CAPTIONS, shard)}
        regions = self._regions(shard) if self.with_regions else {}
        image: ImageRow
        for image in self.dataset.read_rows(Table.IMAGES, shard):
            caption = captions.get(image.image_id)
            if caption is None:  # a dead letter of the captions
                continue
            found = tuple(regions.get(image.image_id, ()))
            short = self.config.short_prefix + caption.short
            nothing = np.empty((0, 0, 3), np.uint8)
            yield Sample(image.image_id, nothing, caption.long, short, found), image.bytes

    def _regions(self, shard: int) -> dict[str, list[Region]]:
        negatives = {
            row.region_id: tuple(negative.text for negative in row.negatives)
            for row in self.dataset.read_rows(Table.NEGATIVES, shard)
        }
        regions: dict[str, list[Region]] = {}
        for row in self.dataset.read_rows(Table.REGIONS, shard):
            x1, y1, x2, y2 = row.bbox
            if x1 < x2 and y1 < y2:  # an empty box has no features
                text = row.description or row.phrase
                region = Region(row.bbox, row.phrase, text, negatives.get(row.region_id, ()))
                regions.setdefault(row.image_id, []).append(region)
        return regions

    def _with_pixels(self, sample: Sample, data: bytes, size: int) -> Sample | None:
        try:
            return replace(sample, pixels=resized(decode(data), size))
        except ImageError as error:
            log.warning("Image %s is skipped: %s.", sample.image_id, error)
            return None

    def _choose(self, sample: Sample, epoch: int) -> Sample:
        """Some of the regions and negatives where there are more than the budget."""
        chance = random.Random(f"{self.seed}/{epoch}/{sample.image_id}")
        regions = _some(sample.regions, self.config.max_regions, chance)
        most = self.config.max_negatives
        chosen = (
            replace(
                region,
                text=chance.choice((region.phrase, region.text)),
                negatives=_some(region.negatives, most, chance),
            )
            for region in regions
        )
        return replace(sample, regions=tuple(chosen))


def resized(picture: Image.Image, size: int) -> Pixels:
    """(size, size, 3) uint8; the aspect is not kept."""
    if picture.size != (size, size):
        picture = picture.resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(picture)


def _some(items: tuple, most: int, chance: random.Random) -> tuple:
    return items if len(items) <= most else tuple(chance.sample(items, most))


def _shuffled(
    rows: Iterator[tuple[Sample, bytes]], size: int, order: random.Random
) -> Iterator[tuple[Sample, bytes]]:
    buffer: list[tuple[Sample, bytes]] = []
    for row in rows:
        buffer.append(row)
        if len(buffer) >= size:
            place = order.randrange(len(buffer))
            buffer[place], buffer[-1] = buffer[-1], buffer[place]
            yield buffer.pop()
    order.shuffle(buffer)
    yield from buffer
