"""Open-vocabulary detection on COCO, with OV-COCO's base and novel classes apart. See `detection`.

`--annotations instances_val2017.json --images val2017 --proposals boxes.json`. AP among all classes
of the file; then, among the 48 base and 17 novel classes alone, AP at an IoU of 0.5 of each and of
both, on the pictures that show one of them, as OV-COCO has it.
"""

from __future__ import annotations

from datagen.evaluation.annotation_files import parsed
from datagen.evaluation.benchmark import Choices, Outcome, Source
from datagen.evaluation.coco_files import CocoFile, read_sized
from datagen.evaluation.coco_split import BASE, NOVEL
from datagen.evaluation.detection import Vocabulary, run_detection
from datagen.evaluation.encoder import Encoder

MOST = 100


def run(encoder: Encoder, source: Source, choices: Choices) -> Outcome:
    """AP, AP50 and AP75, and AP50 of base and novel classes. See `Benchmark`."""
    content = parsed(source, "coco_detection", read_sized)
    return run_detection(
        encoder,
        source,
        choices,
        _vocabularies(content),
        content,
        name="coco_detection",
        most=MOST,
        federated=False,
    )


def _vocabularies(content: CocoFile) -> list[Vocabulary]:
    every = [kind["id"] for kind in content.categories]
    base = [kind["id"] for kind in content.categories if kind["name"] in BASE]
    novel = [kind["id"] for kind in content.categories if kind["name"] in NOVEL]
    metrics = {"ap": (every, None), "ap50": (every, 0.5), "ap75": (every, 0.75)}
    found = [Vocabulary(name="all", classes=every, metrics=metrics)]
    if base and novel:
        parts = {
            "open_ap50": (base + novel, 0.5),
            "base_ap50": (base, 0.5),
            "novel_ap50": (novel, 0.5),
        }
        found.append(
            Vocabulary(name="open", classes=base + novel, metrics=parts, only_with_objects=True)
        )
    return found
