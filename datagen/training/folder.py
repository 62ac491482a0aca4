"""One's own pictures and captions as a dataset: what training needs, and nothing generated."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from datagen.dataset import CaptionRow, Dataset, ErrorRow, ImageRow, Table
from datagen.dataset.lineage import Lineage
from datagen.errors import UserError
from datagen.images.decode import MAX_PIXELS, inspect
from datagen.images.sources.base import RawImage, to_json
from datagen.images.sources.detect import KINDS, absolute, detect, locate
from datagen.stage import RowError

STAGE = "folder"
SHARD_ROWS = 1024
_MAX_BYTES = 4 * MAX_PIXELS
_DONE = "captions/folder.json"


def is_dataset(path: str) -> bool:
    """Whether a folder or URL holds tables of a dataset."""
    return bool(Dataset(path).shards(Table.IMAGES))


def import_folder(path: str, output: Path) -> Dataset:
    """Write pictures and their captions as the images and captions tables of a new dataset.

    A caption lies beside its picture as a .txt file of the same name, or in the tars and Parquet
    files that hold the pictures. It is the long caption; its first sentence is the short one.
    What has no caption or is no picture becomes a dead letter.

    Args:
        path: a folder, or anything else that the import of images reads.
        output: where the dataset is written; what is there already is used.

    Raises:
        UserError: no picture has a caption, or `output` holds something else.
    """
    dataset = Dataset(str(output))
    lineage = Lineage(stage=STAGE, settings={"source": absolute(path)})
    for table in (Table.IMAGES, Table.CAPTIONS):
        dataset.claim(table, lineage)
    if dataset.read_json(_DONE):
        return dataset
    shard = captioned = 0
    images = _images(path)
    while group := list(islice(images, SHARD_ROWS)):
        rows, errors = _rows(group)
        captions = [_captions(row) for row in rows]
        for table, found in ((Table.IMAGES, rows), (Table.CAPTIONS, captions)):
            dataset.commit(table, shard, found, lineage=lineage, rows_in=len(group), errors=errors)
        shard, captioned = shard + 1, captioned + len(rows)
    if not captioned:
        raise UserError(
            f"No picture in {path} has a caption: put one beside each, as a .txt file of its name."
        )
    dataset.write_json(_DONE, {"captioned": captioned})
    print(f"{captioned:,} captioned pictures of {path} imported to {dataset.root}", flush=True)
    return dataset


def _images(path: str) -> Iterator[RawImage]:
    location = locate(path, absolute(path))
    source = KINDS[detect(location)](location, location, _MAX_BYTES)
    for part in source.parts(source.files(), SHARD_ROWS):
        for image in source.read(part):
            try:
                needs_bytes = image.data is None and not image.problem
                yield source.fetch(image) if needs_bytes else image
            except RowError as error:
                yield RawImage(image.id, problem=str(error))


def _rows(group: list[RawImage]) -> tuple[list[ImageRow], list[ErrorRow]]:
    rows: dict[str, ImageRow] = {}
    errors = []
    for image in group:
        try:
            row = _row(image)
            rows.setdefault(row.image_id, row)  # the same picture twice is one
        except RowError as error:
            name = type(error).__name__
            errors.append(
                ErrorRow(id=image.id, stage=STAGE, error=name, message=str(error), attempts=1)
            )
    return list(rows.values()), errors


def _row(image: RawImage) -> ImageRow:
    if image.problem or image.data is None:
        raise RowError(image.problem or "it has no bytes")
    if not image.caption:
        raise RowError("it has no caption")
    info = inspect(image.data)
    return ImageRow(
        image_id=info.image_id, uri=image.id, bytes=image.data, width=info.width,
        height=info.height, format=info.format, phash=info.phash,
        source_caption=image.caption, source=to_json(image.source),
    )  # fmt: skip


def _captions(row: ImageRow) -> CaptionRow:
    long = " ".join((row.source_caption or "").split())
    return CaptionRow(
        image_id=row.image_id, long=long, short=re.split(r"(?<=[.!?])\s", long)[0],
        long_finish_reason="stop", short_finish_reason="stop", prompt_tokens=0, long_tokens=0,
        short_tokens=0,
    )  # fmt: skip
