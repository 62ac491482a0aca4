"""Box classification: a ground-truth box's feature against all classes, top-1 and top-5.

A class is the mean of its 80 prompts' embeddings. Annotations are those of COCO's format. As in the
published evaluator every annotation counts, crowds too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from datagen.dataset.rows import Box
from datagen.evaluation.annotation_files import parsed, read_json
from datagen.evaluation.benchmark import Choices, Outcome, Source
from datagen.evaluation.encoder import Embeddings, Encoder
from datagen.evaluation.items import EvaluationError, Skipped
from datagen.evaluation.result import Result
from datagen.evaluation.statistics import bootstrap_interval
from datagen.evaluation.templates import TEMPLATES
from datagen.images.decode import ImageError, decode

BATCH = 64
_Opened = tuple[Image.Image, list[Box], list[int], str]


def class_embeddings(encoder: Encoder, names: Sequence[str], *, long: bool = False) -> Embeddings:
    """(classes, E): of each class the mean over all prompts, with unit length."""
    texts = [template.format(name) for name in names for template in TEMPLATES]
    found = encoder.encode_texts(texts, long=long).reshape(len(names), len(TEMPLATES), -1).mean(1)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def run_boxes(encoder: Encoder, source: Source, choices: Choices, name: str) -> Outcome:
    """Top-1 and top-5 of all boxes of a file.

    Raises:
        EvaluationError: the file is not of COCO's format, or too many boxes are not usable.
    """
    content: dict[str, Any] = parsed(source, name, _read)
    numbers = {category["id"]: i for i, category in enumerate(content["categories"])}
    names = [category["name"].replace("_", " ") for category in content["categories"]]
    classes = class_embeddings(encoder, names, long=bool(choices.long_text))
    skipped = Skipped(limit=source.max_skipped)
    ranks: list[NDArray[np.integer]] = []
    images: list[str] = []
    group: list[_Opened] = []
    for opened in _opened(content, Path(source.images), numbers, skipped):
        group.append(opened)
        if len(group) == BATCH:
            ranks.append(_ranks(encoder, classes, group))
            group = []
        images += [opened[3]] * len(opened[1])
    if group:
        ranks.append(_ranks(encoder, classes, group))
    if not images:
        raise EvaluationError(f"{source.annotations} has no boxes to classify.")
    rank = np.concatenate(ranks)
    results = []
    for k in (1, 5):
        hits = (rank < k).astype(float)
        low, high = bootstrap_interval(hits, images)
        results.append(
            Result(
                benchmark=name,
                metric=f"top{k}",
                value=float(hits.mean()),
                low=low,
                high=high,
                n=len(hits),
                chance=min(1.0, k / len(names)),
                settings={"prompts": len(TEMPLATES), "ties": "wrong"},
            )
        )
    return Outcome(results=results, skipped=skipped.reasons)


def _read(source: Source) -> dict[str, Any]:
    content = read_json(source.annotations)
    boxes: dict[int, list[dict]] = defaultdict(list)
    known = {category["id"] for category in content["categories"]}
    for annotation in content["annotations"]:
        if annotation["category_id"] not in known:
            raise KeyError(f"category {annotation['category_id']}")
        boxes[annotation["image_id"]].append(annotation)
    return {"images": content["images"], "categories": content["categories"], "boxes": boxes}


def _opened(
    content: dict[str, Any], folder: Path, numbers: dict[int, int], skipped: Skipped
) -> Iterator[_Opened]:
    total = sum(map(len, content["boxes"].values()))
    for image in content["images"]:
        found = content["boxes"].get(image["id"], [])
        if not found:
            continue
        path = folder / (image.get("file_name") or "/".join(image["coco_url"].split("/")[-2:]))
        try:
            picture = decode(path.read_bytes())
        except (OSError, ImageError) as error:
            skipped.add(f"cannot read the image {path}: {error}", len(found), total)
            continue
        boxes, labels = [], []
        for annotation in found:
            x, y, w, h = annotation["bbox"]
            if w <= 0 or h <= 0:
                skipped.add(f"annotation {annotation['id']} has an empty box", 1, total)
                continue
            width, height = picture.size
            boxes.append((x / width, y / height, (x + w) / width, (y + h) / height))
            labels.append(numbers[annotation["category_id"]])
        yield picture, boxes, labels, str(path)


def _ranks(encoder: Encoder, classes: Embeddings, group: list[_Opened]) -> NDArray[np.integer]:
    """How many other classes score at least as high as the true one, of each box."""
    regions = encoder.encode_images([found[0] for found in group], [found[1] for found in group])[1]
    scores = np.concatenate(regions) @ classes.T
    labels = np.concatenate([np.array(found[2], dtype=int) for found in group])
    own = np.take_along_axis(scores, labels[:, None], 1)
    return (scores >= own).sum(1) - 1
