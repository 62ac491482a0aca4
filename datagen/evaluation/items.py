"""What is evaluated: pictures with items about their regions, and with captions.

Here: what a picture and an item are, what is left out, and the tables of a dataset as a source.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from PIL import Image

from datagen.dataset import FLOW, Dataset, DatasetError, Table
from datagen.dataset.rows import Box
from datagen.errors import UserError
from datagen.images.decode import ImageError, decode

_END = 1 + 1e-6  # of a picture, in float32


class EvaluationError(UserError):
    """There is nothing to evaluate, or it is not what was announced; the message says what."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionItem:
    """A region, its true phrase, and phrases that are false of it; `types` are those of each.

    `area` is the box's, in pixels of the picture as it is on disk; 0 if not known.
    """

    image_id: str
    box: Box
    positive: str
    negatives: tuple[str, ...]
    types: tuple[str, ...] = ()
    area: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One picture with all that is asked about it."""

    image_id: str
    image: Image.Image
    items: tuple[RegionItem, ...] = ()
    long: str = ""
    short: str = ""


@dataclass
class Skipped:
    """What a benchmark had to leave out, with the reasons; too much of it ends the evaluation."""

    limit: float = 0.01
    """Largest share of the items that may be left out, 0..1."""
    reasons: list[str] = field(default_factory=list)
    items: int = 0

    def add(self, reason: str, items: int, total: int) -> None:
        """Leave out some of all `total` items.

        Raises:
            EvaluationError: it is more than the limit allows.
        """
        self.reasons.append(reason)
        self.items += items
        if self.items > self.limit * total:
            shown = "; ".join(self.reasons[:3])
            raise EvaluationError(
                f"{self.items:,} of {total:,} items cannot be evaluated, more than the share of "
                f"{self.limit:g} that --max-skipped allows: {shown}."
            )


def read_dataset(dataset: Dataset, skipped: Skipped | None = None) -> Iterator[Picture]:
    """Stream the pictures of a dataset that have captions, with the regions that have negatives.

    Args:
        dataset: with all four tables.
        skipped: gathers pictures that are not readable, and regions whose box or negatives are not
            usable; its limit is a share of all pictures and regions together. Without it, none
            may be left out.

    Raises:
        EvaluationError: no shard has all four tables, or too much is skipped.
    """
    skipped = skipped if skipped is not None else Skipped(limit=0.0)
    shards = set.intersection(*(set(dataset.shards(table)) for table in FLOW))
    if not shards:
        raise EvaluationError(
            f"{dataset.root} holds no shard with images, captions, regions and negatives."
        )
    ordered = sorted(shards)
    counted = [dataset.counts(table, ordered) for table in (Table.IMAGES, Table.NEGATIVES)]
    total = sum(int(counts.rows.sum()) for counts in counted)
    for shard in ordered:
        captions = {row.image_id: row for row in dataset.read_rows(Table.CAPTIONS, shard)}
        boxes = {row.region_id: row.bbox for row in dataset.read_rows(Table.REGIONS, shard)}
        negatives: dict[str, list] = {}
        for row in dataset.read_rows(Table.NEGATIVES, shard):
            if row.region_id not in boxes:
                raise DatasetError(
                    f"Region {row.region_id} of shard {shard} has negatives but no box: "
                    "run pipelines/negatives.py again."
                )
            negatives.setdefault(row.image_id, []).append(row)
        for image in dataset.read_rows(Table.IMAGES, shard):
            caption = captions.get(image.image_id)
            if caption is None:
                continue
            try:
                picture = decode(image.bytes)
            except ImageError as error:
                lost = 1 + len(negatives.get(image.image_id, ()))
                skipped.add(f"image {image.image_id}: {error}", lost, total)
                continue
            items = []
            for row in negatives.get(image.image_id, ()):
                x1, y1, x2, y2 = box = boxes[row.region_id]
                where = f"region {row.region_id} of image {image.image_id}"
                if not (0 <= x1 < x2 <= _END and 0 <= y1 < y2 <= _END):
                    skipped.add(f"{where}: the box {list(box)} is no part of it", 1, total)
                    continue
                if not all(negative.text.strip() for negative in row.negatives):
                    skipped.add(f"{where}: one of its negatives is empty", 1, total)
                    continue
                items.append(
                    RegionItem(
                        image_id=row.image_id,
                        box=box,
                        positive=row.positive,
                        negatives=tuple(negative.text for negative in row.negatives),
                        types=tuple(negative.type for negative in row.negatives),
                        area=(x2 - x1) * picture.width * (y2 - y1) * picture.height,
                    )
                )
            yield Picture(
                image_id=image.image_id,
                image=picture,
                items=tuple(items),
                long=caption.long,
                short=caption.short,
            )
