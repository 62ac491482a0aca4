"""From a source to the images table in one process."""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict, dataclass

from datagen.dataset import Dataset, ErrorRow, ImageRow, Table
from datagen.images.sources.base import RawImage
from datagen.images.stage import ImagesStage, ImportConfig
from datagen.progress import Progress
from datagen.stage import RowError

__all__ = ["ImportConfig", "ImportSummary", "import_images"]


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

    Raises:
        SourceError: the source holds nothing.
        DatasetError: the table belongs to another source or configuration.
    """
    started = time.monotonic()
    stage = ImagesStage(config)
    stage.check()
    dataset.claim(Table.IMAGES, stage.lineage)
    stage.prepare(dataset)
    done = set(dataset.shards(Table.IMAGES))
    seen: set[str] = set()
    rows_in = dead = 0
    shards = stage.shards(dataset)
    asyncio.run(stage.open())
    for shard in shards:
        if shard in done:
            about = dataset.metadata(Table.IMAGES, shard)
            for batch in dataset.read(Table.IMAGES, shard, ["image_id"]):
                seen.update(batch["image_id"].to_pylist())
            count, letters = int(about["rows_in"]), int(about["dead_letters"])
        else:
            results = asyncio.run(_shard(stage, dataset, shard))
            rows, errors = _split(results, seen)
            dataset.commit(
                Table.IMAGES,
                shard,
                rows,
                lineage=stage.lineage,
                rows_in=len(results),
                errors=errors,
            )
            count, letters = len(results), len(errors)
        rows_in += count
        dead += letters
        progress.advance(count, dead_letters=letters)
    summary = ImportSummary(
        rows_in=rows_in,
        rows_out=rows_in - dead,
        dead_letters=dead,
        skipped=len(done),
        seconds=time.monotonic() - started,
    )
    if len(shards) > len(done):
        dataset.write_json(f"{Table.IMAGES}/summary.json", asdict(summary))
    return summary


async def _shard(stage: ImagesStage, dataset: Dataset, shard: int) -> list[ImageRow | ErrorRow]:
    await stage.open()
    return list(await asyncio.gather(*(_row(stage, i) for i in stage.read(dataset, shard))))


async def _row(stage: ImagesStage, item: RawImage) -> ImageRow | ErrorRow:
    try:
        return (await stage.process(item))[0]
    except RowError as error:
        return _error(item.id, type(error).__name__, str(error))


def _split(
    results: list[ImageRow | ErrorRow], seen: set[str]
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
    return ErrorRow(id=uri, stage="images", error=error, message=message, attempts=1)
