"""Examine the tiny models on fresh scenes: ``python -m datagen.demo.examine`` prints JSON.

The scenes are the first of the split "tiny-test", which no training sees. Pairs of attributes
that were held out of training (``held_out``) are reported apart.
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch
import tyro
from transformers import GroundingDinoProcessor, MMGroundingDinoForObjectDetection

from datagen.demo.captioner_exam import CaptionerExam, examine_captions
from datagen.demo.detector_exam import DetectorExam, examine_detector
from datagen.demo.run_captioner import caption_pictures
from datagen.demo.world import Scene, make_scene

MODELS = Path(__file__).parent / "models"


@dataclass(frozen=True)
class Settings:
    """What to examine, and on how many scenes."""

    which: Literal["captioner", "detector", "both"] = "both"
    captioner: Path = MODELS / "captioner"
    detector: Path = MODELS / "detector"
    scenes: int = 500


@dataclass(frozen=True)
class Exams:
    """The exams taken (None: not asked for), on how many scenes."""

    scenes: int
    captioner_long: CaptionerExam | None = None
    captioner_short: CaptionerExam | None = None
    detector: DetectorExam | None = None


def load_detector(
    folder: Path,
) -> tuple[MMGroundingDinoForObjectDetection, GroundingDinoProcessor]:
    """The model in float32, and its processor."""
    processor = GroundingDinoProcessor.from_pretrained(folder)
    return MMGroundingDinoForObjectDetection.from_pretrained(folder).eval(), processor


def examine(settings: Settings) -> Exams:
    """Examine the models that the settings name."""
    scenes: list[Scene] = [make_scene("tiny-test", i) for i in range(settings.scenes)]
    long = short = detector = None
    if settings.which != "detector":
        long, short = (
            examine_captions(scenes, caption_pictures(settings.captioner, scenes, kind))
            for kind in ("long", "short")
        )
    if settings.which != "captioner":
        detector = examine_detector(*load_detector(settings.detector), scenes)
    return Exams(settings.scenes, long, short, detector)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    torch.set_num_threads(1)
    print(json.dumps(asdict(examine(tyro.cli(Settings))), indent=1))
