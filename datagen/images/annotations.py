"""FineHARD's own captions, boxes and negatives as our tables, for training without generating."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from datagen.dataset import CaptionRow, Dataset, Negative, NegativesRow, RegionRow, Table
from datagen.dataset.lineage import Lineage
from datagen.dataset.rows import Box, Row
from datagen.stage import Item, RowError, Stage

NEGATIVE_TYPE = "unknown"
"""FineHARD does not say which attribute a negative changes."""


@dataclass(frozen=True, slots=True)
class AnnotatedImage(Item):
    """An image that came with a record of FineHARD; `id` is its image_id."""

    caption: str
    record: dict[str, Any]


class AnnotationsStage(Stage[AnnotatedImage]):
    """images → captions, regions and negatives, from what the import kept in `source`.

    A region's span is that of its phrase in the long caption, 0 … 0 where it is not there word for
    word. Boxes are clipped to the picture; those with no area left are left out.
    """

    name: ClassVar[str] = "annotations"
    source: ClassVar[Table | None] = Table.IMAGES
    output: ClassVar[Table] = Table.CAPTIONS
    beside: ClassVar[tuple[Table, ...]] = (Table.REGIONS, Table.NEGATIVES)
    key: ClassVar[str] = "image_id"

    @property
    def lineage(self) -> Lineage:
        """See `Stage.lineage`."""
        return Lineage(stage=self.name, settings={"annotations": "FineHARD"})

    def read(self, dataset: Dataset, shard: int) -> Iterator[AnnotatedImage]:
        """See `Stage.read`."""
        for batch in dataset.read(Table.IMAGES, shard, ["image_id", "source_caption", "source"]):
            for row in batch.to_pylist():
                record = json.loads(row["source"] or "{}")
                yield AnnotatedImage(row["image_id"], row["source_caption"] or "", record)

    async def process(self, item: AnnotatedImage) -> Sequence[Row]:
        """The caption of an image, its regions, and a row of negatives for each.

        Raises:
            RowError: the record is none of FineHARD's.
        """
        short, boxes = item.record.get("short_caption"), item.record.get("bbox_info")
        if not item.caption or not isinstance(short, str) or not isinstance(boxes, list):
            raise RowError("no record of FineHARD: it lacks caption, short_caption or bbox_info")
        rows: list[Row] = [_captions(item.id, item.caption, short)]
        for number, info in enumerate(boxes):
            try:
                rows += _region(item, number, info)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                reason = f"{type(error).__name__}: {error}"
                raise RowError(f"bbox_info[{number}] is not as FineHARD's: {reason}") from None
        return rows


def _captions(image_id: str, long: str, short: str) -> CaptionRow:
    return CaptionRow(
        image_id=image_id,
        long=long,
        short=short,
        long_finish_reason="stop",
        short_finish_reason="stop",
        prompt_tokens=0,
        long_tokens=0,
        short_tokens=0,
    )


def _region(item: AnnotatedImage, number: int, info: dict[str, Any]) -> list[Row]:
    """Region and negatives of one box, or nothing if it has no area."""
    sides = [float(side) for side in info["bbox"]]
    box = _clipped(sides)
    phrase = str(info["short_expr"])
    if box is None or not phrase:
        return []
    name = f"{item.id}:{number}:{','.join(f'{side:.4f}' for side in box)}"
    region_id = hashlib.sha256(name.encode()).hexdigest()[:32]
    start = max(item.caption.find(phrase), 0)
    found = item.caption.startswith(phrase, start)
    texts = [str(text) for text in (info.get("short_expr_negs") or {}).values()]
    return [
        RegionRow(
            region_id=region_id,
            image_id=item.id,
            phrase=phrase,
            span_start=start,
            span_end=start + len(phrase) if found else 0,
            bbox=box,
            score=sides[4] if len(sides) > 4 else 1.0,
            margin=0.0,
            description=str(info.get("long_expr") or phrase),
        ),
        NegativesRow(
            region_id=region_id,
            image_id=item.id,
            positive=phrase,
            negatives=[negative(phrase, text) for text in texts if text and text != phrase],
        ),
    ]


def _clipped(sides: Sequence[float]) -> Box | None:
    x1, y1, x2, y2 = (min(max(side, 0.0), 1.0) for side in sides[:4])
    if not all(math.isfinite(side) for side in sides[:4]) or x1 >= x2 or y1 >= y2:
        return None
    return x1, y1, x2, y2


def negative(positive: str, text: str) -> Negative:
    """A negative with the words in which it differs: all between equal beginnings and ends."""
    old, new = positive.split(" "), text.split(" ")
    most = min(len(old), len(new))
    front = next((i for i in range(most) if old[i] != new[i]), most)
    most -= front
    back = next((i for i in range(most) if old[-1 - i] != new[-1 - i]), most)
    changed = " ".join(new[front : len(new) - back])
    start = len(" ".join(new[:front])) + (1 if 0 < front < len(new) else 0)
    return Negative(
        text=text,
        type=NEGATIVE_TYPE,
        span_start=start,
        span_end=start + len(changed),
        old=" ".join(old[front : len(old) - back]),
        new=changed,
    )
