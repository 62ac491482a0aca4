"""Box classification: a ground-truth box's feature against all classes, top-1 and top-5.

Annotations are those of COCO's format. As in the published evaluator every annotation counts,
crowds too. See `classification`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from datagen.dataset.rows import Box
from datagen.evaluation.annotation_files import parsed
from datagen.evaluation.benchmark import Choices, Outcome, Source
from datagen.evaluation.classification import class_embeddings, rows_of_classes, top_k_results
from datagen.evaluation.coco_files import CocoFile, file_name, read_coco
from datagen.evaluation.encoder import Encoder
from datagen.evaluation.item_rows import ItemRow
from datagen.evaluation.items import EvaluationError, Skipped
from datagen.evaluation.misfit import misfit
from datagen.images.decode import ImageError, decode

BATCH = 64


@dataclass(frozen=True, slots=True)
class _Opened:
    """A picture with its boxes, the numbers of their classes, and its name below the folder."""

    picture: Image.Image
    boxes: list[Box]
    labels: list[int]
    name: str


def run_boxes(encoder: Encoder, source: Source, choices: Choices, name: str) -> Outcome:
    """Top-1 and top-5 of all boxes of a file.

    Raises:
        EvaluationError: the file is not of COCO's format, or too many boxes are not usable.
    """
    content = parsed(source, name, read_coco)
    numbers = {category["id"]: i for i, category in enumerate(content.categories)}
    names = list(content.class_names().values())
    long = bool(choices.long_text)
    classes = class_embeddings(encoder, names, long=long)
    skipped = Skipped(limit=source.max_skipped)
    rows: list[ItemRow] = []
    opened = _opened(content, Path(source.images), numbers, skipped)
    while group := list(islice(opened, BATCH)):
        boxes = [found.boxes for found in group]
        regions = encoder.encode_images([found.picture for found in group], boxes)[1]
        rows += rows_of_classes(
            name,
            np.concatenate(regions),
            classes,
            names,
            [label for found in group for label in found.labels],
            [found.name for found in group for _ in found.labels],
            [box for found in group for box in found.boxes],
        )
    if not rows:
        raise EvaluationError(f"{source.annotations} has no boxes to classify.")
    results = top_k_results(rows, len(names), long=long)
    return Outcome(results=results, items=rows, skipped=skipped.reasons)


def _opened(
    content: CocoFile, folder: Path, numbers: dict[int, int], skipped: Skipped
) -> Iterator[_Opened]:
    by_image: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for annotation in content.truth["annotations"]:
        by_image[annotation["image_id"]].append(annotation)
    total = len(content.truth["annotations"])
    images = [image for image in content.images if by_image[image["id"]]]
    for image in images:  # before anything is encoded
        path = folder / file_name(image)
        if not path.is_file():
            skipped.add(f"there is no image {path}", len(by_image[image["id"]]), total)
    for image in images:
        path = folder / file_name(image)
        if not path.is_file():
            continue
        try:
            picture = decode(path.read_bytes())
        except (OSError, ImageError) as error:
            count = len(by_image[image["id"]])
            skipped.add(f"cannot read the image {path}: {error}", count, total)
            continue
        boxes, labels = [], []
        for annotation in by_image[image["id"]]:
            x, y, w, h = annotation["bbox"]
            corners = (x, y, x + w, y + h)
            if problem := misfit(corners, (image.get("width"), image.get("height")), picture.size):
                skipped.add(f"annotation {annotation['id']}: {problem}", 1, total)
                continue
            width, height = picture.size
            boxes.append((x / width, y / height, (x + w) / width, (y + h) / height))
            labels.append(numbers[annotation["category_id"]])
        yield _Opened(picture, boxes, labels, file_name(image))
