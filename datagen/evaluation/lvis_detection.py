"""Open-vocabulary detection on LVIS, whose rare classes are the novel ones. See `detection`.

`--annotations lvis_v1_val.json --images coco --proposals boxes.json`. A class counts in the
pictures in which LVIS's annotators looked for it.
"""

from __future__ import annotations

from datagen.evaluation.annotation_files import parsed
from datagen.evaluation.benchmark import Choices, Outcome, Source
from datagen.evaluation.coco_files import CocoFile, read_sized
from datagen.evaluation.detection import Vocabulary, run_detection
from datagen.evaluation.encoder import Encoder

MOST = 300


def run(encoder: Encoder, source: Source, choices: Choices) -> Outcome:
    """AP, AP50 and AP75, and AP of rare, common and frequent classes. See `Benchmark`."""
    content = parsed(source, "lvis_detection", _read)
    return run_detection(
        encoder,
        source,
        choices,
        [_vocabulary(content)],
        content,
        name="lvis_detection",
        most=MOST,
        federated=True,
    )


def _read(source: Source) -> CocoFile:
    content = read_sized(source)
    for kind in content.categories:
        if kind["frequency"] not in ("r", "c", "f"):
            raise KeyError(f"frequency {kind['frequency']}")
    return content


def _vocabulary(content: CocoFile) -> Vocabulary:
    of = {kind["id"]: kind["frequency"] for kind in content.categories}
    every = list(of)
    return Vocabulary(
        name="all",
        classes=every,
        metrics={
            "ap": (every, None),
            "ap50": (every, 0.5),
            "ap75": (every, 0.75),
            "novel_ap": ([c for c in every if of[c] == "r"], None),
            "base_ap": ([c for c in every if of[c] != "r"], None),
            "common_ap": ([c for c in every if of[c] == "c"], None),
            "frequent_ap": ([c for c in every if of[c] == "f"], None),
        },
    )
