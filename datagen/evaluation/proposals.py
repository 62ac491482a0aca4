"""Region proposals from a file in the form of COCO's results: boxes with scores, of any detector.

`[{"image_id": 1, "bbox": [x, y, width, height], "score": 0.9}, …]`, in pixels of the picture as the
annotations state its size. Other fields, such as a `category_id`, are not read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datagen.evaluation.annotation_files import read_json
from datagen.evaluation.items import EvaluationError

SMALLEST = 1.0
"""Pixels; boxes with a shorter side inside the picture are left out."""


@dataclass(frozen=True, slots=True)
class Proposals:
    """Of one picture: (n, 4) x1, y1, x2, y2 in pixels, inside the picture, and (n,) scores 0..1."""

    boxes: NDArray[np.float64]
    scores: NDArray[np.float64]


def read_proposals(
    path: str | Path, sizes: Mapping[int, tuple[int, int]], most: int
) -> tuple[dict[int, Proposals], int]:
    """The proposals of each picture, and how many lie outside theirs.

    Args:
        path: of the JSON file.
        sizes: width and height of the pictures, by their numbers.
        most: of a picture, the best scores.

    Raises:
        EvaluationError: it is no such file, or it is of other pictures.
    """
    content = read_json(path)
    if not isinstance(content, list) or not content:
        raise EvaluationError(f"{path} must be a JSON array of proposals, with one or more.")
    rows: dict[int, list[tuple[float, ...]]] = {}
    for place, record in enumerate(content):
        image_id, values = _checked(record, f"proposal {place} of {path}")
        if image_id in sizes:
            rows.setdefault(image_id, []).append(values)
    if not rows:
        raise EvaluationError(f"{path} has proposals, but none of a picture of the annotations.")
    found, outside = {}, 0
    for image_id, given in rows.items():
        table = np.array(sorted(given, key=lambda row: -row[4]), dtype=np.float64)
        width, height = sizes[image_id]
        corners = np.concatenate([table[:, :2], table[:, :2] + table[:, 2:4]], 1)
        corners = corners.clip(0, (width, height, width, height))
        inside = (corners[:, 2:] - corners[:, :2]).min(1) >= SMALLEST
        outside += int((~inside).sum())
        found[image_id] = Proposals(corners[inside][:most], table[inside, 4][:most])
    return found, outside


def _checked(record: Any, where: str) -> tuple[int, tuple[float, ...]]:
    try:
        image_id = int(record["image_id"])
        x, y, width, height = map(float, record["bbox"])
        score = float(record["score"])
    except (KeyError, TypeError, ValueError):
        raise EvaluationError(
            f"{where} must have image_id, bbox (x, y, width, height) and score, not {record!r}."
        ) from None
    if not all(map(math.isfinite, (x, y, width, height))) or not 0 <= score <= 1:
        raise EvaluationError(f"{where} has a box that is no box or a score outside 0..1.")
    return image_id, (x, y, width, height, score)
