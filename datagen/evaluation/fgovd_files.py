"""The two forms of FG-OVD's files.

- JSON lines, as FG-CLIP's evaluator reads them, one item a line: `img_path`, `bbox` (x, y, w, h in
  pixels), `pos_expression` (a list of one), `neg_expression` (a list), and `width` and `height` of
  the picture, which are checked where they are given.
- one JSON object, as FG-OVD's authors publish it: COCO's format with a phrase a category, where an
  annotation has the `category_id` of its phrase and the `neg_category_ids` of the false ones.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datagen.evaluation.items import EvaluationError

NEEDED = ("img_path", "bbox", "pos_expression", "neg_expression")
FIELDS = (*NEEDED, "width", "height")
Records = dict[str, list[tuple[str, dict[str, Any]]]]
"""By picture, where each item stands in the file, and its fields by the names of the JSON lines."""


def read_records(annotations: Path, columns: Mapping[str, str]) -> Records:
    """The items of either form, by picture, in the order of the file.

    Args:
        annotations: the file.
        columns: other names of the JSON lines' fields, by the usual ones.

    Raises:
        EvaluationError: the file is missing, or what it holds are no items.
    """
    try:
        lines = annotations.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise EvaluationError(f"Cannot read {annotations}: {error.strerror}.") from None
    if unknown := sorted(set(columns) - set(FIELDS)):
        raise EvaluationError(
            f"--columns names {unknown[0]}, which is no field of FG-OVD: {', '.join(NEEDED)}."
        )
    found: Records = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise EvaluationError(f"Line {number} of {annotations} is no JSON: {error}.") from None
        if not isinstance(record, dict):
            raise EvaluationError(f"Line {number} of {annotations} is no JSON object.")
        if {"images", "annotations", "categories"} <= record.keys():
            return _of_coco(record, annotations)
        present = {name: columns.get(name, name) for name in FIELDS}
        for name in NEEDED:
            if present[name] not in record:
                raise EvaluationError(
                    f"Line {number} of {annotations} has no field {present[name]}; it has: "
                    f"{', '.join(record)}. Other names are given as --columns {name} NAME."
                )
        renamed = {name: record.get(field) for name, field in present.items()}
        where = f"line {number} of {annotations}"
        found.setdefault(str(renamed["img_path"]), []).append((where, renamed))
    if not found:
        raise EvaluationError(f"{annotations} holds no items.")
    return found


def _of_coco(content: Mapping[str, Any], annotations: Path) -> Records:
    found: Records = {}
    try:
        phrases = {category["id"]: category["name"] for category in content["categories"]}
        images = {image["id"]: image for image in content["images"]}
        for annotation in content["annotations"]:
            image = images[annotation["image_id"]]
            record = {
                "img_path": image["file_name"],
                "bbox": annotation["bbox"],
                "pos_expression": [phrases[annotation["category_id"]]],
                "neg_expression": [phrases[c] for c in annotation["neg_category_ids"]],
                "width": image.get("width"),
                "height": image.get("height"),
            }
            where = f"annotation {annotation.get('id')} of {annotations}"
            found.setdefault(image["file_name"], []).append((where, record))
    except (KeyError, TypeError) as error:
        raise EvaluationError(f"{annotations} is not in the layout of FG-OVD: {error!r}.") from None
    if not found:
        raise EvaluationError(f"{annotations} holds no items.")
    return found
