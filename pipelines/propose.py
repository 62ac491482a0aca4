"""COCO's or LVIS's pictures → region proposals of a detector, for open-vocabulary detection.

The detector is asked for every class of the annotations, or for the phrases that are given; of the
boxes that nearly agree the best is kept, whatever it was asked for. The file has the form of COCO's
results, which evaluate.py reads as `--proposals`.

Example:
    python pipelines/propose.py --detector IDEA-Research/grounding-dino-base \\
        --annotations instances_val2017.json --images val2017 --output proposals.json
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import cv2
import tyro
from PIL import Image

from datagen.command import command
from datagen.evaluation.annotation_files import parsed
from datagen.evaluation.benchmark import Source
from datagen.evaluation.coco_files import file_name, read_sized
from datagen.evaluation.items import Skipped
from datagen.evaluation.result import write_whole
from datagen.images.decode import ImageError, decode
from datagen.regions.backends import TRANSFORMERS, open_detector
from datagen.regions.boxes import Detection
from datagen.regions.groundingdino import GroundingDinoSettings


@dataclass(frozen=True, kw_only=True)
class Config:
    """Arguments of propose.py."""

    detector: str
    """Grounding DINO in transformers' format, or what the backend takes instead; see regions.py."""
    annotations: str
    """COCO's or LVIS's file of instances; of its objects nothing is looked at."""
    images: str
    """Folder of its pictures."""
    output: str
    """JSON file for the proposals."""
    backend: str = TRANSFORMERS
    """"transformers", "groundingdino", or "package.module:Class" of a detector of yours."""
    revision: str | None = None
    groundingdino: Annotated[GroundingDinoSettings, tyro.conf.Suppress] = field(
        default_factory=GroundingDinoSettings
    )
    """Of the backend "groundingdino"; in recipes only."""
    phrases: tuple[str, ...] = ()
    """What the detector is asked for; without it all class names of the annotations."""
    threshold: float = 0.05
    """Lowest score, 0..1, of a box that is kept."""
    nms_iou: float = 0.7
    """Of two boxes that overlap by more, 0..1, the better is kept."""
    most: int = 300
    """Boxes of a picture."""
    max_skipped: float = 0.01
    """Share of the pictures that may be missing or broken."""
    device: str | None = None
    """"cpu", "cuda", …; by itself a GPU where there is one."""
    batch: int = 8
    """Images that the detector takes at once."""


def proposals(
    detections: Sequence[Detection], size: tuple[int, int], config: Config
) -> list[tuple[tuple[float, ...], float]]:
    """The best boxes of a picture whatever they show, best first.

    Args:
        detections: of the picture.
        size: its width and height in pixels.
        config: its thresholds.

    Returns:
        Of each box x, y, width, height in pixels, inside the picture, and its score 0..1.
    """
    width, height = size
    boxes, scores = [], []
    for found in detections:
        x1, y1, x2, y2 = (min(max(value, 0.0), 1.0) for value in found.bbox)
        if x2 > x1 and y2 > y1 and found.score >= config.threshold:
            boxes.append((x1 * width, y1 * height, (x2 - x1) * width, (y2 - y1) * height))
            scores.append(float(found.score))
    kept = cv2.dnn.NMSBoxes(boxes, scores, 0.0, config.nms_iou) if boxes else ()
    return [(boxes[i], scores[i]) for i in list(kept)[: config.most]]


def propose(config: Config) -> tuple[list[dict[str, Any]], list[str]]:
    """Proposals of all pictures in the form of COCO's results, and what had to be left out.

    Raises:
        EvaluationError: the annotations are no such file, or too many pictures are not usable.
        ModelNotFoundError: there is no such detector.
    """
    source = Source(annotations=config.annotations, images=config.images)
    content = parsed(source, "propose", read_sized)
    phrases = list(config.phrases or dict.fromkeys(content.class_names().values()))
    skipped = Skipped(limit=config.max_skipped)
    detector = open_detector(
        config.backend, config.detector, config.revision, config.device, config.groundingdino
    )
    pictures = _opened(content.images, Path(config.images), skipped)
    rows: list[dict[str, Any]] = []
    while group := list(islice(pictures, config.batch)):
        answers = detector.detect([picture for _, picture in group], [phrases] * len(group))
        for (image, _), detections in zip(group, answers, strict=True):
            size = (image["width"], image["height"])
            rows += [
                {
                    "image_id": image["id"],
                    "bbox": [round(value, 2) for value in box],
                    "score": round(score, 5),
                }
                for box, score in proposals(detections, size, config)
            ]
    return rows, skipped.reasons


def _opened(
    images: Sequence[dict[str, Any]], folder: Path, skipped: Skipped
) -> Iterator[tuple[dict[str, Any], Image.Image]]:
    missing = set()
    for image in images:  # before anything is asked of the detector
        if not (folder / file_name(image)).is_file():
            skipped.add(f"there is no image {folder / file_name(image)}", 1, len(images))
            missing.add(image["id"])
    for image in images:
        if image["id"] in missing:
            continue
        path = folder / file_name(image)
        try:
            yield image, decode(path.read_bytes())
        except (OSError, ImageError) as error:
            skipped.add(f"cannot read the image {path}: {error}", 1, len(images))


def main(config: Config) -> None:
    """Ask the detector, and write the file."""
    rows, skipped = propose(config)
    write_whole(config.output, json.dumps(rows) + "\n")
    if skipped:
        print(f"propose: left out {len(skipped):,}: " + "; ".join(skipped[:10]))
    print(f"propose: {len(rows):,} proposals in {config.output}")


if __name__ == "__main__":
    command(Config, main, __doc__)
