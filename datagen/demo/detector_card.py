"""The model card of the tiny detector: what it is, how it was trained, what it scored."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from datagen.demo.detector_exam import ATTRIBUTES, DetectorExam
from datagen.demo.detector_model import SIZE
from datagen.demo.world import KINDS

CARD = """---
license: apache-2.0
library_name: transformers
pipeline_tag: zero-shot-object-detection
---
# The small world's detector

An MM Grounding DINO (`MMGroundingDinoForObjectDetection` of transformers) with {parameters:.1f}
million parameters, trained from random weights on **synthetic** pictures: the scenes of
`datagen/demo/world.py` at {size} pixels. It knows {kinds} kinds of drawn things and nothing of
photos; its use is to run and to test the real code without a GPU or a download.

## Training
{training}

Each text holds the phrases that are true and about as many that are not, mostly with one
attribute swapped. Neither pictures nor texts ever show the pairs of `datagen/demo/held_out.py`.

## Scores
On {scenes} scenes of "tiny-test", never trained on, asked for the phrases of all objects and
for as many absent ones (threshold {threshold:g}, IoU 0.5); and the phrases with one attribute
swapped that get no box, asked without the true one, by the attribute. `python -m
datagen.demo.examine` measures the same.

| phrases | objects | recall | precision | mean IoU | {attributes} |
|---|---|---|---|---|---|---|---|---|
{rows}
"""


def write_card(
    folder: Path, training: str, exam: DetectorExam, scenes: int, parameters: int
) -> None:
    """Write README.md, the model card, and scores.json into ``folder``.

    ``training`` is the paragraph on how it was trained, ``scenes`` how many the exam had.
    """
    rows = []
    for name, part in (
        ("all", exam.all), ("pairs seen in training", exam.shown), ("held-out pairs", exam.held_out)
    ):  # fmt: skip
        boxes = part.boxes
        shares = [boxes.recall, boxes.precision, boxes.mean_iou]
        shares += [part.rejected[attribute] for attribute in ATTRIBUTES]
        cells = [name, str(boxes.truths), *(f"{share:.3f}" for share in shares)]
        rows.append(f"| {' | '.join(cells)} |")
    card = CARD.format(
        training=training,
        parameters=parameters / 1e6,
        size=SIZE,
        kinds=len(KINDS),
        scenes=scenes,
        threshold=exam.threshold,
        attributes=" | ".join(f"{attribute} swapped" for attribute in ATTRIBUTES),
        rows="\n".join(rows),
    )
    (folder / "README.md").write_text(card, encoding="utf-8")
    scores = json.dumps(asdict(exam), indent=1)
    (folder / "scores.json").write_text(scores + "\n", encoding="utf-8")
