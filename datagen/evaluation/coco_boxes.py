"""Box classification on COCO: ground-truth boxes against its 80 classes. See `box_classes`.

`--annotations instances_val2017.json --images val2017`
"""

from __future__ import annotations

from datagen.evaluation.benchmark import Choices, Outcome, Source
from datagen.evaluation.box_classes import run_boxes
from datagen.evaluation.encoder import Encoder


def run(encoder: Encoder, source: Source, choices: Choices) -> Outcome:
    """Top-1 and top-5. See `Benchmark`."""
    return run_boxes(encoder, source, choices, "coco_boxes")
