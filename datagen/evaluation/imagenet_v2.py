"""ImageNetV2 (Recht et al. 2019): new pictures of ImageNet's classes, collected like the first.

`--images imagenetv2-matched-frequency-format-val`, with the folders 0 to 999 as published, or with
all 1,000 folders renamed to WordNet ids. Published scores are those of matched-frequency.
"""

from __future__ import annotations

from pathlib import Path

from datagen.evaluation.benchmark import Choices, Outcome, Source
from datagen.evaluation.encoder import Encoder
from datagen.evaluation.imagenet import numbered
from datagen.evaluation.imagenet_classes import CLASSES, in_folders, run_labelled
from datagen.evaluation.items import EvaluationError


def run(encoder: Encoder, source: Source, choices: Choices) -> Outcome:
    """Top-1 and top-5. See `Benchmark`."""
    if not source.images or not Path(source.images).is_dir():
        raise EvaluationError("The benchmark imagenet_v2 needs --images, a folder.")
    images = Path(source.images)
    folders = [path.name for path in images.iterdir() if path.is_dir()]
    if any(name.isdecimal() for name in folders):
        labels = {str(number): number for number in range(CLASSES)}
    else:
        labels = numbered(folders, f"{images} has folders of")
    return run_labelled(encoder, in_folders(images, labels), source, choices, name="imagenet_v2")
