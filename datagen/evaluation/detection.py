"""Open-vocabulary detection: boxes of any detector are classified by the model, then scored by AP.

A proposal's feature is compared with the mean embedding of each class's 80 prompts; a softmax over
100 times the cosines is the probability p of each class. With the proposal's own score s the
score of the box as that class is the weighted geometric mean s^(1 - w) p^w, as in RegionCLIP (Zhong
et al. 2022) with w = 1/2; w = 1 trusts the model alone. Boxes of one class that overlap are
suppressed, and the best 100 (COCO) or 300 (LVIS) of a picture count.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from datagen.dataset.rows import Box
from datagen.evaluation.average_precision import Detected, Precision, best_overlaps
from datagen.evaluation.benchmark import Choices, Outcome, Source
from datagen.evaluation.classification import class_embeddings
from datagen.evaluation.coco_files import CocoFile, file_name, without_misfits
from datagen.evaluation.detection_choices import DetectionChoices
from datagen.evaluation.encoder import Embeddings, Encoder
from datagen.evaluation.item_rows import ItemRow
from datagen.evaluation.items import EvaluationError, Skipped
from datagen.evaluation.proposals import Proposals, read_proposals
from datagen.evaluation.result import Result
from datagen.evaluation.statistics import bootstrap_interval
from datagen.evaluation.templates import TEMPLATES
from datagen.images.decode import ImageError, decode

BATCH = 16


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """Classes that a box is classified among, and what is told of which of them."""

    name: str
    classes: Sequence[int]
    """Ids of categories."""
    metrics: Mapping[str, tuple[Sequence[int], float | None]]
    """Of each metric the categories that are averaged over, and the IoU (None: 0.5 to 0.95)."""
    only_with_objects: bool = False
    """Only pictures that show one of the classes count."""


@dataclass(frozen=True, slots=True)
class _Opened:
    image_id: int
    picture: Image.Image
    size: tuple[int, int]
    """Width and height that the annotations state, in whose pixels boxes are."""
    proposals: Proposals


def run_detection(
    encoder: Encoder,
    source: Source,
    choices: Choices,
    vocabularies: Sequence[Vocabulary],
    content: CocoFile,
    *,
    name: str,
    most: int,
    federated: bool,
) -> Outcome:
    """AP of each vocabulary; the items are the objects of the first.

    Raises:
        EvaluationError: the proposals are not usable, or too many images are missing.
    """
    if not source.proposals:
        raise EvaluationError(
            f"The benchmark {name} needs --proposals, a JSON file of boxes; "
            "pipelines/propose.py makes one with a detector."
        )
    chosen = choices.detection
    misfits = Skipped(limit=source.max_skipped)
    content = without_misfits(content, misfits)
    sizes = {image["id"]: (image["width"], image["height"]) for image in content.images}
    proposals, outside = read_proposals(source.proposals, sizes, chosen.proposals_an_image)
    skipped = Skipped(limit=source.max_skipped)
    missing = _missing(content, Path(source.images), skipped)
    names = content.class_names()
    classes = [
        class_embeddings(encoder, [names[c] for c in v.classes], long=bool(choices.long_text))
        for v in vocabularies
    ]
    found: list[list[Detected]] = [[] for _ in vocabularies]
    covered: set[int] = set()
    if not content.objects:
        raise EvaluationError(f"{source.annotations} has no objects to detect.")
    opened = _opened(content, Path(source.images), proposals, missing, skipped)
    while group := list(islice(opened, BATCH)):
        boxes = [_shares(one.proposals.boxes, one.size) for one in group]
        features = encoder.encode_images([one.picture for one in group], boxes)[1]
        for one, regions in zip(group, features, strict=True):
            covered |= _covered(content.objects_of(one.image_id), one.proposals)
            for place, vocabulary in enumerate(vocabularies):
                kept = detections(one, regions, classes[place], vocabulary.classes, chosen, most)
                looked_for = content.looked_for(one.image_id) if federated else None
                found[place] += [
                    d for d in kept if looked_for is None or d.category_id in looked_for
                ]
    image_ids = [image["id"] for image in content.images if image["id"] not in missing]
    settings = {
        "prompts": len(TEMPLATES),
        "text_positions": "long" if choices.long_text else "short",
        **asdict(chosen),
        "proposals": Path(source.proposals).name,
        "detections_an_image": most,
    }
    results: list[Result] = []
    rows: list[ItemRow] = []
    for vocabulary, detected in zip(vocabularies, found, strict=True):
        counted = set(image_ids)
        if vocabulary.only_with_objects:
            counted &= content.with_objects(vocabulary.classes)
        precision = Precision(
            content.truth,
            detected,
            categories=vocabulary.classes,
            image_ids=counted,
            most=most,
            federated=federated,
        )
        results += [
            Result(
                benchmark=name,
                metric=metric,
                value=precision.average(categories, iou),
                n=content.count_objects(categories, counted),
                settings={**settings, "vocabulary": len(vocabulary.classes)},
                details={"images": float(len(counted)), "proposals_outside": float(outside)},
            )
            for metric, (categories, iou) in vocabulary.metrics.items()
            if content.count_objects(categories, counted)
        ]
        rows = rows or _rows(name, content, counted, set(vocabulary.classes), precision.scores)
    results.append(_recall(name, content, set(image_ids), covered, settings))
    return Outcome(results=results, items=rows, skipped=misfits.reasons + skipped.reasons)


def detections(
    one: _Opened,
    regions: Embeddings,
    classes: Embeddings,
    categories: Sequence[int],
    choices: DetectionChoices,
    most: int,
) -> list[Detected]:
    """The best boxes of a picture with their classes, best first.

    Args:
        one: the picture with its proposals.
        regions: (n, E) of the proposals.
        classes: (C, E).
        categories: (C,) their ids.
        choices: how scores are made.
        most: of the picture.
    """
    if not len(regions):
        return []
    logits = choices.class_scale * (regions @ classes.T).astype(np.float64)
    chances = np.exp(logits - logits.max(1, keepdims=True))
    chances /= chances.sum(1, keepdims=True)
    weight = choices.class_weight
    scores = one.proposals.scores[:, None] ** (1 - weight) * chances**weight
    # Suppression leaves enough of ten times as many; all pairs would be a million in LVIS.
    best = np.argsort(-scores, axis=None, kind="stable")[: 10 * most]
    rows, columns = np.unravel_index(best, scores.shape)
    corners = one.proposals.boxes[rows]
    sides = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], 1)
    values = scores[rows, columns]
    kept = cv2.dnn.NMSBoxesBatched(
        sides.tolist(), values.tolist(), columns.tolist(), 0.0, choices.nms_iou
    )
    x1, y1, x2, y2 = corners.T.tolist()
    return [
        Detected(
            one.image_id, categories[columns[i]], (x1[i], y1[i], x2[i], y2[i]), float(values[i])
        )
        for i in kept[:most]
    ]


def _covered(objects: Sequence[Mapping[str, Any]], proposals: Proposals) -> set[int]:
    """Ids of the objects that a proposal overlaps at an IoU of 0.5: no model finds the others."""
    overlaps = best_overlaps([found["bbox"] for found in objects], proposals.boxes)
    return {found["id"] for found, iou in zip(objects, overlaps, strict=True) if iou >= 0.5}


def _recall(
    name: str,
    content: CocoFile,
    image_ids: set[int],
    covered: set[int],
    settings: Mapping[str, str | int | float],
) -> Result:
    objects = [found for found in content.objects if found["image_id"] in image_ids]
    hits = np.array([found["id"] in covered for found in objects], dtype=float)
    low, high = bootstrap_interval(hits, [str(found["image_id"]) for found in objects])
    return Result(
        benchmark=name,
        metric="proposal_recall50",
        value=float(hits.mean()),
        low=low,
        high=high,
        n=len(objects),
        settings={key: settings[key] for key in ("proposals", "proposals_an_image")},
    )


def _missing(content: CocoFile, folder: Path, skipped: Skipped) -> set[int]:
    missing = set()
    for image in content.images:  # before anything is encoded
        if not (folder / file_name(image)).is_file():
            skipped.add(f"there is no image {folder / file_name(image)}", 1, len(content.images))
            missing.add(image["id"])
    return missing


def _opened(
    content: CocoFile,
    folder: Path,
    proposals: Mapping[int, Proposals],
    missing: set[int],
    skipped: Skipped,
) -> Iterator[_Opened]:
    """The pictures with proposals; those that cannot be read are added to the missing ones."""
    for image in content.images:
        found = proposals.get(image["id"])
        if image["id"] in missing or found is None:
            continue
        path = folder / file_name(image)
        try:
            picture = decode(path.read_bytes())
        except (OSError, ImageError) as error:
            skipped.add(f"cannot read the image {path}: {error}", 1, len(content.images))
            missing.add(image["id"])
            continue
        yield _Opened(image["id"], picture, (image["width"], image["height"]), found)


def _shares(boxes: NDArray[np.float64], size: tuple[int, int]) -> list[Box]:
    width, height = size
    x1, y1, x2, y2 = (boxes / (width, height, width, height)).T.tolist()
    return list(zip(x1, y1, x2, y2, strict=True))


def _rows(
    name: str,
    content: CocoFile,
    image_ids: set[int],
    categories: set[int],
    scores: Mapping[int, float],
) -> list[ItemRow]:
    """Of each object whether a detection of its class found it, at an IoU of 0.5."""
    names, images = content.class_names(), {image["id"]: image for image in content.images}
    rows = []
    for annotation in content.objects:
        image = images[annotation["image_id"]]
        if image["id"] not in image_ids or annotation["category_id"] not in categories:
            continue
        x, y, width, height = annotation["bbox"]
        corners = np.array([[x, y, x + width, y + height]], dtype=np.float64)
        score = scores.get(annotation["id"])
        rows.append(
            ItemRow(
                benchmark=name,
                task="objects",
                image_id=file_name(image),
                box=_shares(corners, (image["width"], image["height"]))[0],
                positive=names[annotation["category_id"]],
                negatives=(),
                scores=[score or 0.0],
                credit=float(score is not None),
            )
        )
    return rows
