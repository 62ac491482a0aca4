"""Train the tiny captioner from nothing: ``python -m datagen.demo.tiny_captioner --output FOLDER``.

Three stages on one thread: the vision tower learns from cell labels alone; then the language
model learns to tell what a frozen tower sees, which are cheap steps; then everything learns to
caption, with one cosine to the end. The output folder is rewritten every 300 steps of the last
stage. The pairs of attributes of ``held_out`` are never shown. With ``--start`` there is the last
stage alone, on what an earlier training wrote.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import nn
from transformers import Idefics3ForConditionalGeneration

from datagen.demo.captioner_card import training_of, write_card
from datagen.demo.captioner_data import Batch, TrainingScenes, render_cache
from datagen.demo.captioner_exam import examine_captions
from datagen.demo.captioner_model import HIDDEN, build_model, build_processor, export, load_model
from datagen.demo.captioner_training import (
    CellHead,
    Stage,
    read_prompt,
    stage_loss,
    train_step,
    trained_prompt,
)
from datagen.demo.muon import Muon
from datagen.demo.run_captioner import caption_pictures
from datagen.demo.world import COLOURS, FINISHES, KINDS, make_scene

PROMPTS = Path(__file__).parents[2] / "prompts" / "demo"
LONG_SHARE = 2 / 3
WARM_UP = 60
TRAINING = """`python -m datagen.demo.tiny_captioner --output datagen/demo/models/captioner`, on one
CPU thread: {scenes:,} scenes, each also seen in a mirror, some in blotches or shapes without
names.
{vision_steps} steps of {vision_batch} scenes for the vision tower with a linear head that tells
for every patch which object lies there (dropped afterwards), {words_steps} steps of {batch} for the
language model alone, then {joint_steps} steps of everything with the caption's loss + 0.3 times
the head's. Muon for the layers' matrices, AdamW (rate {rate:g}) for the rest, one cosine to the
end of the last stage."""
GONE_ON = """

`--start` with what came of that: {joint_steps} more steps of everything in the same way, with
shapes without names too, rate {rate:g} and a cosine of their own."""


def log(text: str) -> None:
    """One line with the time of day."""
    print(time.strftime("%H:%M:%S"), text, flush=True)


def make_optimizers(modules: list[nn.Module], rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the layers, AdamW for the rest.

    After 80 steps of the vision stage the loss was 1.21, with AdamW alone 1.32.
    """
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for module in modules:
        for name, parameter in module.named_parameters():
            layer = "layers." in name and parameter.ndim == 2
            (matrices if layer else others).append(parameter)
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(others, lr=rate, betas=(0.9, 0.98), weight_decay=0.05, fused=True),
        Muon(matrices, lr=3 * rate),
    ]
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
    return optimizers


def set_rate(optimizers: list[torch.optim.Optimizer], share: float) -> None:
    """Every learning rate becomes this share of its peak."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * share


def batches(
    scenes: TrainingScenes, size: int, rng: np.random.Generator
) -> Iterator[tuple[Batch, str]]:
    """Endless batches in random order, of scenes with captions of like length.

    Raises ``ValueError`` when there are fewer scenes than 16 batches take.
    """
    pool = 16 * size
    if scenes.count < pool:
        raise ValueError(f"{scenes.count} scenes are too few: batches of {size} need {pool}")
    while True:
        order = rng.permutation(scenes.count)
        for start in range(0, scenes.count - pool + 1, pool):
            some = order[start : start + pool]
            some = some[np.argsort(scenes.objects[some], kind="stable")]
            for place in rng.permutation(pool // size):
                indices = some[place * size : (place + 1) * size]
                kind = "long" if rng.random() < LONG_SHARE else "short"
                yield scenes.batch(indices, kind, rng), kind


def learning_modules(
    stage: Stage, model: Idefics3ForConditionalGeneration, head: CellHead
) -> list[nn.Module]:
    """What the stage trains; the language model's head is its embedding, so it is not named."""
    inner = model.model
    vision = [inner.vision_model, inner.connector, head] if stage.learns_vision else []
    return [*vision, *([inner.text_model] if stage.learns_words else [])]


def main() -> None:
    """Train, export, score."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("runs/tiny-captioner"))
    parser.add_argument(
        "--start", type=Path, help="a captioner to go on from: the joint stage only"
    )
    parser.add_argument("--scenes", type=int, default=60_000)
    parser.add_argument("--vision-steps", type=int, default=800)
    parser.add_argument("--words-steps", type=int, default=150)
    parser.add_argument("--joint-steps", type=int, default=1700)
    parser.add_argument("--batch", type=int, default=32, help="of words; vision takes twice that")
    parser.add_argument("--rate", type=float, default=8e-4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--validation", type=int, default=100, help="scenes scored on the way")
    parser.add_argument("--test-scenes", type=int, default=500, help="scenes scored at the end")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    cache = args.work / "painted-anew"
    render_cache(cache, args.scenes, log)
    processor = build_processor()
    tokenizer = processor.tokenizer
    end, pad = tokenizer.eos_token_id, tokenizer.pad_token_id
    kinds, colours, finishes = (
        tokenizer.convert_tokens_to_ids([f" {value}" for value in values])
        for values in (KINDS, COLOURS, FINISHES)
    )
    scenes = TrainingScenes(
        cache,
        lambda texts: [[*ids, end] for ids in tokenizer(texts)["input_ids"]],
        kinds,
        colours,
        finishes,
        pad,
    )
    log(f"{scenes.count} scenes")
    prompts = {
        kind: trained_prompt(processor, read_prompt(PROMPTS / f"caption_{kind}.md"))
        for kind in ("long", "short")
    }
    model = load_model(args.start) if args.start else build_model(tokenizer)
    only_joint = args.start is not None
    head = CellHead(HIDDEN)
    rng = np.random.default_rng(args.seed)
    for stage in (
        Stage(
            "vision",
            0 if only_joint else args.vision_steps,
            2 * args.batch,
            1.25 * args.rate,
            True,
            False,
        ),
        Stage("words", 0 if only_joint else args.words_steps, args.batch, args.rate, False, True),
        Stage("joint", args.joint_steps, args.batch, args.rate, True, True),
    ):
        stream = batches(scenes, stage.batch, rng)
        optimizers = make_optimizers(learning_modules(stage, model, head), stage.rate)
        sums, began = {"caption": 0.0, "cells": 0.0}, time.monotonic()
        for step in range(1, stage.steps + 1):
            share = min(1.0, step / WARM_UP)
            if stage.name == "joint":
                share *= 0.5 + 0.5 * math.cos(math.pi * step / stage.steps)
            set_rate(optimizers, share)
            batch, kind = next(stream)
            loss, parts = stage_loss(model, head, batch, prompts[kind], stage, pad)
            train_step(loss, optimizers)
            sums = {name: sums[name] + value for name, value in asdict(parts).items()}
            if step % 20 == 0:
                means = ", ".join(f"{name} {value / 20:.3f}" for name, value in sums.items())
                pace = (time.monotonic() - began) / step
                log(f"{stage.name} {step}/{stage.steps}: {means} ({pace:.2f} s/step)")
                sums = dict.fromkeys(sums, 0.0)
            if stage.name == "joint" and (step % 300 == 0 or step == stage.steps):
                export(model, processor, args.output)
                fresh = [make_scene("tiny-train", args.scenes + i) for i in range(args.validation)]
                said = caption_pictures(args.output, fresh, "long")
                log(f"fresh scenes: {examine_captions(fresh, said)}")
    test = [make_scene("tiny-test", index) for index in range(args.test_scenes)]
    exams = {
        kind: examine_captions(test, caption_pictures(args.output, test, kind)) for kind in prompts
    }
    log(f"test scenes: {exams}")
    training = TRAINING.format(**vars(args), vision_batch=2 * args.batch)
    if only_joint:
        training = training_of(args.start) + GONE_ON.format(**vars(args))
    write_card(args.output, training, exams, args.test_scenes, model.num_parameters())


if __name__ == "__main__":
    main()
