"""Examine the small world's detector: ``python -m datagen.demo.quality``.

Prints as JSON how good boxes and grounding are on scenes that nothing was trained on; with
``--plot FILE`` it also draws precision and recall against the threshold.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import tyro

from datagen.demo.score_grounding import GroundingExam, examine_grounding
from datagen.demo.score_regions import (
    BoxExam,
    CurvePoint,
    ask_exam,
    curve,
    examine_boxes,
    fresh_scenes,
)
from datagen.regions.detector import TransformersDetector
from datagen.regions.phrases import PhraseChunker

DETECTOR = Path(__file__).parent / "models" / "detector"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is examined, and how long."""

    detector: Path = DETECTOR
    """Folder of a detector of the small world."""
    scenes: int = 500
    threshold: float = 0.4
    threads: int = 1
    plot: Path | None = None
    """SVG file to write."""


@dataclass(frozen=True, kw_only=True)
class Quality:
    """The results of both exams; with a plot, precision and recall at each threshold."""

    boxes: BoxExam
    grounding: GroundingExam
    thresholds: list[CurvePoint]


def examine(settings: Settings) -> Quality:
    """Hold both exams on the first scenes that are kept for them.

    Raises:
        ModelNotFoundError: there is no detector in the folder.
    """
    import torch

    torch.set_num_threads(settings.threads)
    detector = TransformersDetector(str(settings.detector), device="cpu")
    scenes = fresh_scenes(settings.scenes)
    answers = ask_exam(detector, scenes)
    return Quality(
        boxes=examine_boxes(detector, answers, settings.threshold),
        grounding=examine_grounding(detector, PhraseChunker(), scenes, settings.threshold),
        thresholds=curve(answers) if settings.plot else [],
    )


def draw_curve(points: Sequence[CurvePoint], path: Path) -> None:
    """Precision and recall against the threshold, as an SVG file."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    drawn = [point for point in points if point.boxes]
    thresholds = [point.threshold for point in drawn]
    # Text stays text, and the same figures give the same file.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "quality", "font.size": 9}):
        figure = Figure(figsize=(5.2, 3.0), layout="constrained")
        axes = figure.add_subplot()
        axes.plot(thresholds, [p.precision for p in drawn], "o-", ms=3, label="precision")
        axes.plot(thresholds, [p.recall for p in drawn], "s--", ms=3, label="recall")
        axes.axvline(0.4, color="gray", lw=0.8, ls=":")
        axes.set(xlabel="threshold of the score", ylabel="share", xlim=(0, 1), ylim=(0.5, 1.005))
        axes.grid(alpha=0.3)
        axes.legend(loc="lower left", frameon=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format="svg", metadata={"Date": None})


def main(settings: Settings) -> None:
    """Command line."""
    quality = examine(settings)
    if settings.plot:
        draw_curve(quality.thresholds, settings.plot)
    json.dump(asdict(quality), sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
