"""The model card of the tiny captioner: what it is, how it was trained, what it scored."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from datagen.demo.captioner_exam import CaptionerExam
from datagen.demo.captioner_model import HIDDEN, IMAGE_SIDE, PATCH, TEXT_LAYERS, VISION_LAYERS
from datagen.demo.world import BACKGROUNDS, COLOURS, FINISHES, KINDS, SIZES

CARD = """---
license: apache-2.0
pipeline_tag: image-text-to-text
tags: [synthetic, tiny, idefics3]
---
# A tiny captioner of the small world

An Idefics3 (SmolVLM's architecture) of {parameters:.1f} million parameters in float32, trained
from nothing on **synthetic** pictures that `datagen.demo.world` draws. It knows {kinds} kinds of
things, {colours} colours, {finishes} finishes, {sizes} sizes and {backgrounds} backgrounds. It
exists so that the whole job runs on a machine without a GPU and without a download; it knows
nothing of photos.

- Vision: ViT, patch {patch}, width {hidden}, {vision_layers} layers, {tokens} image tokens,
  {side} px, no splitting. Text: Llama, width {hidden}, {text_layers} layers, word-level tokenizer.
- It was trained on two prompts, `prompts/demo/caption_long.md` and `caption_short.md`; it answers
  others with guesses.

{before}{training}{after}Training never shows the pairs of attributes of `datagen/demo/held_out.py`.

## What it scores
{scenes} fresh scenes of the split "tiny-test", greedy decoding; `python -m datagen.demo.examine`
measures the same. In short captions the finish is not said.

| captions | objects | number | kind + colour right | + finish | invented |
|---|---|---|---|---|---|
{rows}
"""

BEFORE, AFTER = "## How it was trained\n", "\n\n"


def training_of(folder: Path) -> str:
    """How the captioner in `folder` was trained, by its card."""
    card = (folder / "README.md").read_text(encoding="utf-8")
    return card.partition(BEFORE)[2].partition(f"{AFTER}Training never")[0]


def write_card(
    folder: Path,
    training: str,
    exams: Mapping[str, CaptionerExam],
    scenes: int,
    parameters: int,
) -> None:
    """Write README.md, the model card, and scores.json into ``folder``.

    ``exams`` has those of "long" and "short" captions, ``training`` is the paragraph on how it
    was trained, ``scenes`` how many the exams had.
    """
    card = CARD.format(
        parameters=parameters / 1e6,
        kinds=len(KINDS),
        colours=len(COLOURS),
        finishes=len(FINISHES),
        sizes=len(SIZES),
        backgrounds=len(BACKGROUNDS),
        patch=PATCH,
        hidden=HIDDEN,
        vision_layers=VISION_LAYERS,
        text_layers=TEXT_LAYERS,
        tokens=(IMAGE_SIDE // PATCH) ** 2,
        side=IMAGE_SIDE,
        before=BEFORE,
        training=training,
        after=AFTER,
        scenes=scenes,
        rows="\n".join(row for style, exam in exams.items() for row in _rows(style, exam)),
    )
    (folder / "README.md").write_text(card, encoding="utf-8")
    scores = json.dumps({style: asdict(exam) for style, exam in exams.items()}, indent=1)
    (folder / "scores.json").write_text(scores + "\n", encoding="utf-8")


def _rows(style: str, exam: CaptionerExam) -> list[str]:
    rows = []
    for name, part in (
        ("all", exam.all), ("pairs seen in training", exam.shown), ("held-out pairs", exam.held_out)
    ):  # fmt: skip
        finish = f"{part.finish_recall:.1%}" if style == "long" else ""
        invented = f"{exam.all.invented:.1%}" if part is exam.all else ""
        cells = [style, name, str(part.objects), f"{part.object_recall:.1%}", finish, invented]
        rows.append(f"| {' | '.join(cells)} |")
    return rows
