"""Images a second through the detector, batched and one by one, at equal boxes.

    python benchmarks/detector.py --batch 16

Scenes of the small world in two shapes, each asked for its true phrases and as many false ones,
so texts differ in length. The rounds of the two ways take turns; the fastest of each counts. On a
CPU the clock is this process's CPU time, so that other work on the machine does not count. The
last line is JSON.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro
from PIL import Image

import datagen.demo
from datagen.demo.detection_texts import exam_questions
from datagen.demo.score_regions import fresh_scenes, picture_of
from datagen.regions.boxes import MatchedBox, iou, match_phrases
from datagen.regions.detector import TransformersDetector

TINY = Path(datagen.demo.__file__).parent / "models" / "detector"


@dataclass(frozen=True)
class Settings:
    """What to measure."""

    detector: str = str(TINY)
    device: str = "cpu"
    images: int = 96
    batch: int = 16
    rounds: int = 3
    threads: int = 1


def detect(
    detector: TransformersDetector,
    images: Sequence[Image.Image],
    phrases: Sequence[Sequence[str]],
    batch: int,
    clock: Callable[[], float],
) -> tuple[list[list[MatchedBox]], float]:
    """The boxes of every image, and the seconds that the detector took."""
    found = []
    started = clock()
    for start in range(0, len(images), batch):
        part = slice(start, start + batch)
        found += detector.detect(images[part], phrases[part])
    seconds = clock() - started
    return [match_phrases(own, names) for own, names in zip(found, phrases, strict=True)], seconds


def same(ours: Sequence[MatchedBox], theirs: Sequence[MatchedBox]) -> bool:
    """Whether both hold the same boxes, to rounding, for the same phrases."""
    return len(ours) == len(theirs) and all(
        any(
            a.phrase_index == b.phrase_index
            and iou(a.bbox, b.bbox) > 0.999
            and abs(a.score - b.score) < 1e-4
            for b in theirs
        )
        for a in ours
    )


def main(settings: Settings) -> None:
    """Measure, and print the figures as JSON."""
    torch.set_num_threads(settings.threads)
    detector = TransformersDetector(settings.detector, device=settings.device)
    scenes = fresh_scenes(settings.images)
    images = [picture_of(scene) for scene in scenes]
    images = [
        image.resize((192, 128)) if number % 2 else image for number, image in enumerate(images)
    ]
    phrases = [[question.phrase for question in exam_questions(scene)] for scene in scenes]
    clock = time.process_time if settings.device == "cpu" else time.perf_counter
    detect(detector, images, phrases, settings.batch, clock)  # the first calls are slower
    batched: list[float] = []
    single: list[float] = []
    equal = True
    for _ in range(settings.rounds):
        together, seconds = detect(detector, images, phrases, settings.batch, clock)
        batched.append(seconds)
        alone, seconds = detect(detector, images, phrases, 1, clock)
        single.append(seconds)
        equal = equal and all(map(same, together, alone))
    result = {
        "images": settings.images,
        "batch": settings.batch,
        "images_per_second_batched": round(settings.images / min(batched), 1),
        "images_per_second_single": round(settings.images / min(single), 1),
        "ratio": round(min(single) / min(batched), 2),
        "equal_boxes": equal,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
