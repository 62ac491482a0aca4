"""What is evaluated: pictures with items about their regions, and with captions.

Two sources: the tables of a dataset, and JSON lines in the format of FG-OVD.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from datagen.dataset import FLOW, Dataset, DatasetError, Table
from datagen.dataset.rows import Box
from datagen.errors import UserError
from datagen.images.decode import ImageError, decode


class EvaluationError(UserError):
    """There is nothing to evaluate, or it is not what was announced; the message says what."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionItem:
    """A region, its true phrase, and phrases that are false of it; `types` are those of each."""

    image_id: str
    box: Box
    positive: str
    negatives: tuple[str, ...]
    types: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One picture with all that is asked about it."""

    image_id: str
    image: Image.Image
    items: tuple[RegionItem, ...] = ()
    long: str = ""
    short: str = ""


def read_dataset(dataset: Dataset) -> Iterator[Picture]:
    """Stream the pictures of a dataset that have captions, with the regions that have negatives.

    Raises:
        EvaluationError: no shard has all four tables, or an image cannot be decoded.
    """
    shards = set.intersection(*(set(dataset.shards(table)) for table in FLOW))
    if not shards:
        raise EvaluationError(
            f"{dataset.root} holds no shard with images, captions, regions and negatives."
        )
    for shard in sorted(shards):
        captions = {row.image_id: row for row in dataset.read_rows(Table.CAPTIONS, shard)}
        boxes = {row.region_id: row.bbox for row in dataset.read_rows(Table.REGIONS, shard)}
        items: dict[str, list[RegionItem]] = {}
        for row in dataset.read_rows(Table.NEGATIVES, shard):
            if row.region_id not in boxes:
                raise DatasetError(
                    f"Region {row.region_id} of shard {shard} has negatives but no box: "
                    "run pipelines/negatives.py again."
                )
            item = RegionItem(
                image_id=row.image_id,
                box=boxes[row.region_id],
                positive=row.positive,
                negatives=tuple(negative.text for negative in row.negatives),
                types=tuple(negative.type for negative in row.negatives),
            )
            items.setdefault(row.image_id, []).append(item)
        for image in dataset.read_rows(Table.IMAGES, shard):
            caption = captions.get(image.image_id)
            if caption is not None:
                try:
                    picture = decode(image.bytes)
                except ImageError as error:
                    raise EvaluationError(f"Image {image.image_id}: {error}.") from None
                yield Picture(
                    image_id=image.image_id,
                    image=picture,
                    items=tuple(items.get(image.image_id, ())),
                    long=caption.long,
                    short=caption.short,
                )


def read_fgovd(annotations: str | Path, images: str | Path) -> Iterator[Picture]:
    """Stream FG-OVD's items by picture: `img_path`, `bbox` (x, y, w, h in pixels),
    `pos_expression`, `neg_expression`.

    Raises:
        EvaluationError: a file is missing, a line is no item, or an image is not readable.
    """
    by_path: dict[str, list[tuple[int, dict]]] = {}
    try:
        lines = Path(annotations).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise EvaluationError(f"Cannot read {annotations}: {error.strerror}.") from None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            by_path.setdefault(record["img_path"], []).append((number, record))
        except (json.JSONDecodeError, KeyError, TypeError):
            raise EvaluationError(
                f"Line {number} of {annotations} is no item with an img_path."
            ) from None
    if not by_path:
        raise EvaluationError(f"{annotations} holds no items.")
    for path, records in by_path.items():
        file = Path(images) / path.lstrip("/")
        try:
            image = decode(file.read_bytes())
        except (OSError, ImageError) as error:
            raise EvaluationError(f"Cannot read the image {file}: {error}.") from None
        items = tuple(_fgovd_item(path, r, image, n, annotations) for n, r in records)
        yield Picture(image_id=path, image=image, items=items)


def _fgovd_item(
    path: str, record: dict, image: Image.Image, line: int, annotations: str | Path
) -> RegionItem:
    try:
        x, y, width, height = map(float, record["bbox"])
        w, h = image.size
        return RegionItem(
            image_id=path,
            box=(x / w, y / h, (x + width) / w, (y + height) / h),
            positive=record["pos_expression"][0],
            negatives=tuple(record["neg_expression"]),
        )
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise EvaluationError(
            f"Line {line} of {annotations} is no FG-OVD item: {error!r}."
        ) from None
