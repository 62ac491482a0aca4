"""From a source to the images table: the first shards, which all later ones are aligned with."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

from datagen.dataset import Dataset, ErrorRow, ImageRow, Table
from datagen.dataset.lineage import Lineage
from datagen.images.decode import MAX_PIXELS, ImageError, inspect
from datagen.images.sources import RawImage, open_source, to_json
from datagen.progress import Progress

STAGE = "images"


@dataclass(frozen=True, kw_only=True)
class ImportConfig:
    """Where the images are and how they are cut into shards."""

    images: str
    """A folder of images, or Parquet with a column of image bytes."""
    shard_rows: int = 512
    """Images a shard: the unit of work, commit and retry."""
    max_pixels: int = MAX_PIXELS
    """Larger pictures become dead letters."""

    def lineage(self) -> Lineage:
        """What decides the rows of the images table."""
        settings = {
            "images": self.images,
            "shard_rows": self.shard_rows,
            "max_pixels": self.max_pixels,
        }
        return Lineage(stage=STAGE, settings=settings)


@dataclass(frozen=True, kw_only=True)
class ImportSummary:
    """Rows in = rows out + dead letters. `skipped` shards were there already."""

    rows_in: int
    rows_out: int
    dead_letters: int
    skipped: int
    seconds: float

    def line(self) -> str:
        """One line for people."""
        return (
            f"images: {self.rows_in:,} rows in = {self.rows_out:,} rows out + "
            f"{self.dead_letters:,} dead letters ({self.skipped} shards were there already)"
        )


def import_images(dataset: Dataset, config: ImportConfig, progress: Progress) -> ImportSummary:
    """Write the images table, shard by shard; shards that are there are left alone.

    An image whose bytes were seen before in the run becomes a dead letter (`Duplicate`), so that
    every image_id is in the table once.

    Raises:
        SourceError: the source holds nothing.
        DatasetError: the table belongs to another source or configuration.
    """
    started = time.monotonic()
    lineage = config.lineage()
    raw = open_source(config.images)  # before the claim: a bad path leaves nothing behind
    dataset.claim(Table.IMAGES, lineage)
    done = set(dataset.shards(Table.IMAGES))
    seen: set[str] = set()
    rows_in = dead = shards = 0
    with ThreadPoolExecutor(2) as pool:
        for shard, batch in enumerate(_batches(raw, config.shard_rows)):
            if shard in done:
                about = dataset.metadata(Table.IMAGES, shard)
                seen.update(
                    name
                    for rows in dataset.read(Table.IMAGES, shard, ["image_id"])
                    for name in rows["image_id"].to_pylist()
                )
                errors_count = int(about["dead_letters"])
            else:
                results = pool.map(lambda image: _row(image, config.max_pixels), batch)
                rows, errors = _split(results, seen)
                dataset.commit(
                    Table.IMAGES, shard, rows, lineage=lineage, rows_in=len(batch), errors=errors
                )
                errors_count = len(errors)
            shards += 1
            rows_in += len(batch)
            dead += errors_count
            progress.advance(len(batch), dead_letters=errors_count)
    summary = ImportSummary(
        rows_in=rows_in,
        rows_out=rows_in - dead,
        dead_letters=dead,
        skipped=len(done),
        seconds=time.monotonic() - started,
    )
    if shards > len(done):
        dataset.write_json(f"{Table.IMAGES}/summary.json", asdict(summary))
    return summary


def _batches(images: Iterator[RawImage], size: int) -> Iterator[list[RawImage]]:
    while batch := list(itertools.islice(images, size)):
        yield batch


def _row(image: RawImage, max_pixels: int) -> ImageRow | ErrorRow:
    try:
        if image.data is None:
            raise ImageError(image.problem)
        info = inspect(image.data, max_pixels)
        return ImageRow(
            image_id=info.image_id,
            uri=image.uri,
            bytes=image.data,
            width=info.width,
            height=info.height,
            format=info.format,
            phash=info.phash,
            source_caption=image.caption,
            source=to_json(image.source),
        )
    except ValueError as error:
        return _error(image.uri, type(error).__name__, str(error))


def _split(
    results: Iterator[ImageRow | ErrorRow], seen: set[str]
) -> tuple[list[ImageRow], list[ErrorRow]]:
    rows: list[ImageRow] = []
    errors: list[ErrorRow] = []
    for result in results:
        if isinstance(result, ErrorRow):
            errors.append(result)
        elif result.image_id in seen:
            message = f"the same bytes as an earlier image ({result.image_id})"
            errors.append(_error(result.uri, "Duplicate", message))
        else:
            seen.add(result.image_id)
            rows.append(result)
    return rows, errors


def _error(uri: str, error: str, message: str) -> ErrorRow:
    return ErrorRow(id=uri, stage=STAGE, error=error, message=message, attempts=1)
