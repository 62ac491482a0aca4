"""A small dataset whose rows try to break out of the page."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

from PIL import Image, ImageDraw

from datagen.dataset import (
    FLOW,
    CaptionRow,
    Dataset,
    ErrorRow,
    ImageRow,
    Negative,
    NegativesRow,
    RegionRow,
    Table,
)
from datagen.dataset.lineage import Lineage
from datagen.evaluation.item_rows import ItemRow

EVIL = "<script>document.title='owned'</script>"
BOXES = ((0.1, 0.2, 0.4, 0.8), (0.5, 0.1, 0.9, 0.6), (0.55, 0.15, 0.65, 0.3))
PHRASES = ("a red mug", f"a {EVIL} chair", 'a "blue" bird')
LONG = f"There is {PHRASES[0]} beside {PHRASES[1]} & {PHRASES[2]}."


def lineage(stage: str) -> Lineage:
    settings = {
        "model": {"name": f"model-of-{stage}"},
        "prompt": {"name": f"p<b>{stage}", "version": 3},
    }
    return Lineage(stage=stage, settings=settings)


def picture(seed: int) -> bytes:
    """200 × 100 pixels, with a filled rectangle where each box is."""
    image = Image.new("RGB", (200, 100), (240, 240 - seed // 32 % 64, 240 - seed % 32))
    pen = ImageDraw.Draw(image)
    for (x1, y1, x2, y2), colour in zip(BOXES, ("red", "brown", "blue"), strict=True):
        pen.rectangle((x1 * 200, y1 * 100, x2 * 200 - 1, y2 * 100 - 1), fill=colour)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def negatives(phrase: str) -> list[Negative]:
    old = phrase.split()[1]
    made = []
    for new in ("green", EVIL):
        text = f"a {new}{phrase[2 + len(old) :]}"
        made.append(
            Negative(
                text=text, type="colour", span_start=2, span_end=2 + len(new), old=old, new=new
            )
        )
    return made


def image_row(seed: int, data: bytes | None = None) -> ImageRow:
    data = picture(seed) if data is None else data
    return ImageRow(
        image_id=hashlib.sha256(data).hexdigest()[:32],
        uri=f"https://example.org/{seed}.png?{EVIL}",
        bytes=data,
        width=200,
        height=100,
        format="PNG",
        phash="0" * 16,
    )


def write(root: Path, shards: int = 2, images: int = 3, upto: Table = Table.NEGATIVES) -> Dataset:
    """Shards of `images` images with three regions each, as far as the table `upto`."""
    dataset = Dataset(str(root))
    done = list(Table)[: list(Table).index(upto) + 1]
    for shard in range(shards):
        rows = [image_row(shard * 100 + number) for number in range(images)]
        captions = [
            CaptionRow(
                image_id=row.image_id,
                long=LONG,
                short=f"A mug, {EVIL} and a bird.",
                long_finish_reason="stop",
                short_finish_reason="stop",
                prompt_tokens=100,
                long_tokens=30,
                short_tokens=8 + shard,
                checks=[EVIL] if shard else [],
            )
            for row in rows
        ]
        regions = [
            RegionRow(
                region_id=f"{row.image_id}-{number}",
                image_id=row.image_id,
                phrase=phrase,
                span_start=LONG.index(phrase),
                span_end=LONG.index(phrase) + len(phrase),
                bbox=box,
                score=0.4 + 0.2 * number,
                margin=0.1,
                description=f"{phrase} here",
            )
            for row in rows
            for number, (phrase, box) in enumerate(zip(PHRASES, BOXES, strict=True))
        ]
        wrong = [
            NegativesRow(
                region_id=row.region_id,
                image_id=row.image_id,
                positive=row.phrase,
                negatives=negatives(row.phrase),
            )
            for row in regions
        ]
        errors = [
            ErrorRow(id=f"x{n}", stage="captions", error=EVIL, message=EVIL, attempts=2)
            for n in range(shard + 1)
        ]
        for table, content in zip(FLOW, (rows, captions, regions, wrong), strict=True):
            if table in done:
                dataset.commit(
                    table,
                    shard,
                    content,
                    lineage=lineage(str(table)),
                    rows_in=len(content) + (shard + 1) * (table is Table.CAPTIONS),
                    errors=errors if table is Table.CAPTIONS else (),
                )
    return dataset


def item(image: int, right: float, wrong: float, phrase: str = PHRASES[0]) -> ItemRow:
    """An item of the picture's first box; what is right has the score `right`."""
    return ItemRow(
        benchmark="fgovd_hard",
        task="negatives",
        image_id=f"{image}.png",
        box=BOXES[0],
        positive=phrase,
        negatives=("a blue mug", "a green mug"),
        scores=(right, wrong, 0.05),
        credit=float(right > max(wrong, 0.05)),
    )
