"""FG-OVD (Bianchi et al. 2024) as FG-CLIP evaluates it: a box, its phrase, and up to 10 negatives.

The annotations are JSON lines, one item a line: `img_path`, `bbox` (x, y, w, h in pixels),
`pos_expression` (a list of one), `neg_expression` (a list), and `width` and `height` of the
picture, which are checked where they are given. The protocol is that of FG-CLIP's evaluator unless
the caller chooses otherwise: exact ties are correct, and nothing is dropped.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from datagen.dataset.rows import Box
from datagen.evaluation.benchmark import Choices, Outcome, Source
from datagen.evaluation.breakdown import with_controls
from datagen.evaluation.encoder import Encoder
from datagen.evaluation.item_rows import rows_of_negatives
from datagen.evaluation.items import EvaluationError, Picture, RegionItem, Skipped
from datagen.evaluation.region_negatives import PUBLISHED, score
from datagen.images.decode import ImageError, decode

NEEDED = ("img_path", "bbox", "pos_expression", "neg_expression")
_OUTSIDE = 2.0  # pixels that a box may leave the picture by: rounding, and boxes counted from 1
_LEVELS = {
    "hard": "hard",
    "medium": "medium",
    "easy": "easy",
    "trivial": "trivial",
    "1_attributes": "hard",
    "2_attributes": "medium",
    "3_attributes": "easy",
    "shuffle_negatives": "trivial",
}
"""What the names of the official files say of how hard their items are."""


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
    by_path = _lines(Path(annotations), columns or {})
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
        for line, record in records:
            where = f"line {line} of {annotations}"
            box = _box(record, where)
            if problem := _misfit(box, record, image):
                skipped.add(f"{where}: {problem}", 1, total)
                continue
            items.append(_item(path, box, record, image, where))
        if items:
            yield Picture(image_id=path, image=image, items=tuple(items))


def _lines(annotations: Path, columns: Mapping[str, str]) -> dict[str, list[tuple[int, dict]]]:
    """Records with the official names by picture, with their line numbers."""
    try:
        lines = annotations.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise EvaluationError(f"Cannot read {annotations}: {error.strerror}.") from None
    if unknown := sorted(set(columns) - {*NEEDED, "width", "height"}):
        raise EvaluationError(
            f"--columns names {unknown[0]}, which is no field of FG-OVD: {', '.join(NEEDED)}."
        )
    by_path: dict[str, list[tuple[int, dict]]] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise EvaluationError(f"Line {number} of {annotations} is no JSON: {error}.") from None
        if not isinstance(record, dict):
            raise EvaluationError(f"Line {number} of {annotations} is no JSON object.")
        present = {name: columns.get(name, name) for name in (*NEEDED, "width", "height")}
        for name in NEEDED:
            if present[name] not in record:
                raise EvaluationError(
                    f"Line {number} of {annotations} has no field {present[name]}; it has: "
                    f"{', '.join(record)}. Other names are given as --columns {name} NAME."
                )
        renamed = {name: record.get(field) for name, field in present.items()}
        by_path.setdefault(str(renamed["img_path"]), []).append((number, renamed))
    if not by_path:
        raise EvaluationError(f"{annotations} holds no items.")
    return by_path


def _box(record: Mapping[str, Any], where: str) -> Box:
    """x1, y1, x2, y2 in pixels."""
    try:
        x, y, width, height = map(float, record["bbox"])
    except (TypeError, ValueError):
        raise EvaluationError(
            f"bbox of {where} must be x, y, width, height in pixels, not {record['bbox']!r}."
        ) from None
    return x, y, x + width, y + height


def _misfit(box: Box, record: Mapping[str, Any], image: Image.Image) -> str:
    stated = (record["width"], record["height"])
    if None not in stated and stated != image.size:
        return (
            f"the image is {image.width} × {image.height}, but the annotation, whose boxes are in "
            f"pixels, was made on {stated[0]} × {stated[1]}"
        )
    x1, y1, x2, y2 = box
    if not all(map(math.isfinite, box)) or x2 <= x1 or y2 <= y1:
        return f"the box {[round(v, 1) for v in box]} is empty"
    if min(x1, y1) < -_OUTSIDE or x2 > image.width + _OUTSIDE or y2 > image.height + _OUTSIDE:
        corners = [round(v, 1) for v in box]
        return f"the box {corners} lies outside the image of {image.width} × {image.height}"
    return ""


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
