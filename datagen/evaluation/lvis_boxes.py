"""Box classification on LVIS: ground-truth boxes against its 1,203 classes. See `box_classes`.

`--annotations lvis_v1_val.json --images coco`
"""

from __future__ import annotations

from datagen.evaluation.benchmark import Choices, Outcome, Source
from datagen.evaluation.box_classes import run_boxes
from datagen.evaluation.encoder import Encoder


def run(encoder: Encoder, source: Source, choices: Choices) -> Outcome:
    """Top-1 and top-5. See `Benchmark`."""
    return run_boxes(encoder, source, choices, "lvis_boxes")
