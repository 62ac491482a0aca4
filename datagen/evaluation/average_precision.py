"""COCO's and LVIS's average precision, by faster-coco-eval; the only place that knows it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster, mask
from numpy.typing import NDArray

IOUS = np.linspace(0.5, 0.95, 10)


@dataclass(frozen=True, slots=True)
class Detected:
    """A box that was given a class: x1, y1, x2, y2 in pixels."""

    image_id: int
    category_id: int
    box: tuple[float, float, float, float]
    score: float


class Precision:
    """What detections are worth, against annotations in COCO's or LVIS's format.

    Args:
        truth: the content of the annotations' file; it is not changed.
        detections: of the pictures `image_ids`, at most `most` a picture.
        categories: ids of the classes that count.
        image_ids: the pictures that count.
        most: detections of a picture that count.
        federated: LVIS: a class counts in the pictures that it was looked for in.
    """

    def __init__(
        self,
        truth: Mapping[str, Any],
        detections: Sequence[Detected],
        *,
        categories: Collection[int],
        image_ids: Collection[int],
        most: int,
        federated: bool,
    ) -> None:
        # Numbers of its own: to the evaluator an annotation 0 is one that nothing found.
        annotations = [
            {"area": given["bbox"][2] * given["bbox"][3], **given, "id": number}
            for number, given in enumerate(truth["annotations"], start=1)
        ]
        objects = COCO({**truth, "annotations": annotations})
        found = objects.loadRes([_record(detected) for detected in detections])
        evaluation = COCOeval_faster(
            objects, found, "bbox", extra_calc=True, lvis_style=federated, separate_eval=False
        )
        evaluation.params.catIds = self._categories = sorted(categories)
        evaluation.params.imgIds = sorted(image_ids)
        evaluation.params.maxDets = [most]
        evaluation.params.iouThrs = IOUS
        evaluation.evaluate()
        evaluation.accumulate()
        # (IoUs, recalls, classes, areas, most): the first of the areas is any
        self._precision: NDArray[np.float64] = evaluation.eval["precision"][..., 0, 0]
        self.scores = {
            given["id"]: found.anns[annotation["dt_id"]]["score"]
            for given, annotation in zip(truth["annotations"], annotations, strict=True)
            if annotation.get("dt_id") in found.anns
        }
        """Of the detection that found an object at an IoU of 0.5, by the annotation's id."""

    def average(self, categories: Collection[int] | None = None, iou: float | None = None) -> float:
        """Mean over classes, and over IoUs 0.5 to 0.95 if none is given; NaN without an object.

        Args:
            categories: ids of the classes to average over; None is all.
            iou: one of 0.5, 0.55, … 0.95.
        """
        chosen = self._precision
        if iou is not None:
            chosen = chosen[np.isclose(IOUS, iou)]
        if categories is not None:
            chosen = chosen[:, :, [c in categories for c in self._categories]]
        chosen = chosen[chosen > -1]  # -1: a class without an object
        return float(chosen.mean()) if chosen.size else float("nan")


def best_overlaps(
    objects: Sequence[Sequence[float]], boxes: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Of each object the highest IoU of any box with it, 0 without boxes.

    Args:
        objects: (n) x, y, width, height.
        boxes: (m, 4) x1, y1, x2, y2, in the same pixels.
    """
    if not objects or not len(boxes):
        return np.zeros(len(objects))
    sides = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1)
    return np.asarray(mask.iou(sides, np.array(objects), [0] * len(objects))).max(0)


def _record(detected: Detected) -> dict[str, Any]:
    x1, y1, x2, y2 = detected.box
    return {
        "image_id": detected.image_id,
        "category_id": detected.category_id,
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "score": detected.score,
        "segmentation": [],  # else a polygon is made of each box, for nothing
    }
