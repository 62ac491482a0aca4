"""FG-OVD (Bianchi et al. 2024) as FG-CLIP evaluates it: a box, its phrase, and up to 10 negatives.

`--annotations 1_attributes.json --images coco`, as its authors publish it, or the JSON lines that
FG-CLIP's evaluator reads; see `fgovd_files`. The protocol is that of FG-CLIP's evaluator unless
the caller chooses otherwise: exact ties are correct, and nothing is dropped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from datagen.dataset.rows import Box
from datagen.evaluation.benchmark import Choices, Outcome, Source
from datagen.evaluation.breakdown import with_controls
from datagen.evaluation.encoder import Encoder
from datagen.evaluation.fgovd_files import read_records
from datagen.evaluation.item_rows import rows_of_negatives
from datagen.evaluation.items import EvaluationError, Picture, RegionItem, Skipped
from datagen.evaluation.misfit import misfit
from datagen.evaluation.region_negatives import PUBLISHED, score
from datagen.images.decode import ImageError, decode

_LEVELS = {
    "hard": "hard",
    "medium": "medium",
    "easy": "easy",
    "trivial": "trivial",
    "1_attributes": "hard",
    "2_attributes": "medium",
    "3_attributes": "easy",
    "shuffle_negatives": "trivial",
    "color": "color",
    "material": "material",
    "pattern": "pattern",
    "transparency": "transparency",
}
"""What the names of the official files say of their items: how hard, or which attribute."""


def run(encoder: Encoder, source: Source, choices: Choices) -> Outcome:
    """Top-1 with its controls. See `Benchmark`."""
    if not source.annotations or not source.images:
        raise EvaluationError("The benchmark fgovd needs --annotations and --images.")
    name = Path(source.annotations).name
    level = next((found for part, found in _LEVELS.items() if part in name), "")
    skipped = Skipped(limit=source.max_skipped)
    pictures = read_fgovd(
        source.annotations, source.images, columns=source.columns, skipped=skipped
    )
    protocol = choices.protocol(PUBLISHED)
    scored = score(encoder, pictures, protocol)
    title = f"fgovd_{level}" if level else "fgovd"
    results = with_controls(scored, protocol, title, controls=choices.controls)
    items = rows_of_negatives(title, scored.items)
    return Outcome(results=results, items=items, skipped=skipped.reasons)


def read_fgovd(
    annotations: str | Path,
    images: str | Path,
    *,
    columns: Mapping[str, str] | None = None,
    skipped: Skipped | None = None,
) -> Iterator[Picture]:
    """Stream the items by picture, in the order in which the pictures first occur.

    Args:
        columns: other names of the fields, by the official ones.
        skipped: gathers pictures that are missing or not readable and boxes outside theirs.

    Raises:
        EvaluationError: the file is missing, a line is no item, or too many items are skipped.
    """
    skipped = skipped if skipped is not None else Skipped()
    by_path = read_records(Path(annotations), columns or {})
    total = sum(map(len, by_path.values()))
    found = {path: Path(images) / path.lstrip("/") for path in by_path}
    for path, file in found.items():  # before anything is encoded
        if not file.is_file():
            skipped.add(f"there is no image {file}", len(by_path[path]), total)
    for path, records in by_path.items():
        if not found[path].is_file():
            continue
        try:
            image = decode(found[path].read_bytes())
        except (OSError, ImageError) as error:
            reason = f"cannot read the image {found[path]}: {error}"
            skipped.add(reason, len(records), total)
            continue
        items = []
        for where, record in records:
            box = _box(record, where)
            if problem := misfit(box, (record["width"], record["height"]), image.size):
                skipped.add(f"{where}: {problem}", 1, total)
                continue
            item = _item(path, box, record, image, where)
            if not all(text.strip() for text in item.negatives):
                skipped.add(f"{where}: one of its negatives is empty", 1, total)
                continue
            items.append(item)
        if items:
            yield Picture(image_id=path, image=image, items=tuple(items))


def _box(record: Mapping[str, Any], where: str) -> Box:
    """x1, y1, x2, y2 in pixels."""
    try:
        x, y, width, height = map(float, record["bbox"])
    except (TypeError, ValueError):
        raise EvaluationError(
            f"bbox of {where} must be x, y, width, height in pixels, not {record['bbox']!r}."
        ) from None
    return x, y, x + width, y + height


def _item(
    path: str, box: Box, record: Mapping[str, Any], image: Image.Image, where: str
) -> RegionItem:
    positive, negatives = record["pos_expression"], record["neg_expression"]
    if isinstance(positive, list) and len(positive) == 1:
        positive = positive[0]
    if not isinstance(positive, str) or not positive.strip():
        raise EvaluationError(f"pos_expression of {where} must be one phrase, not {positive!r}.")
    if not isinstance(negatives, list) or not all(isinstance(text, str) for text in negatives):
        raise EvaluationError(f"neg_expression of {where} must be a list of phrases.")
    x1, y1, x2, y2 = box
    return RegionItem(
        image_id=path,
        box=(x1 / image.width, y1 / image.height, x2 / image.width, y2 / image.height),
        positive=positive,
        negatives=tuple(negatives),
        area=(x2 - x1) * (y2 - y1),
    )
