"""Train the small world's detector: ``python -m datagen.demo.tiny_detector --output FOLDER``."""

from __future__ import annotations

import logging
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import tyro

from datagen.demo.detector_card import write_card
from datagen.demo.detector_data import Batches, load_pictures
from datagen.demo.detector_exam import examine_detector
from datagen.demo.detector_model import make_model, make_processor
from datagen.demo.detector_training import (
    AttributeHeads,
    backbone_loss,
    detector_loss,
    keep_memory,
    run_steps,
)
from datagen.demo.world import make_scene

log = logging.getLogger(__name__)

TRAINING = """`python -m datagen.demo.tiny_detector --output datagen/demo/models/detector`:
{scenes:,} scenes, each also seen in a mirror; {backbone_steps} steps of the backbone alone
(attributes of the object under a cell), then {steps} steps of the whole detector, batches of
{batch}, AdamW, one cosine from {learning_rate:g}, on one CPU core."""


@dataclass(frozen=True)
class Settings:
    """How long to train and where to write."""

    output: Path
    """Folder for the weights, the configuration, the processor and the card."""
    cache: Path = Path("runs/cache/tiny-detector")
    """Folder for the rendered pictures."""
    scenes: int = 24_000
    backbone_steps: int = 1000
    steps: int = 2600
    batch: int = 16
    learning_rate: float = 1e-3
    seed: int = 0
    threads: int = 1
    test_scenes: int = 500
    save_every: int = 400


def main(settings: Settings) -> None:
    """Train, examine and save the detector; the folder is rewritten every ``save_every`` steps."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(settings.threads)
    torch.manual_seed(settings.seed)
    keep_memory()
    start = time.monotonic()
    processor = make_processor(settings.output)
    model = make_model(len(processor.tokenizer)).train()
    log.info("%.2f million parameters", sum(p.numel() for p in model.parameters()) / 1e6)
    pictures, scenes = load_pictures(settings.cache, settings.scenes)
    batches = Batches(pictures, scenes, processor, settings.batch, settings.seed)

    heads = AttributeHeads(model.config.d_model)
    vision = [*model.model.backbone.parameters(), *model.model.input_proj_vision.parameters()]
    run_steps(
        "backbone", settings.backbone_steps, [*vision, *heads.parameters()],
        2 * settings.learning_rate, lambda: backbone_loss(model, heads, batches.next()),
    )  # fmt: skip

    def save(step: int) -> None:
        if step % settings.save_every and step != settings.steps:
            return
        count = settings.test_scenes if step == settings.steps else min(100, settings.test_scenes)
        exam = examine_detector(
            model, processor, [make_scene("tiny-test", i) for i in range(count)]
        )
        log.info("step %d: %s", step, exam)
        model.save_pretrained(settings.output)
        write_card(
            settings.output,
            TRAINING.format(**asdict(settings)),
            exam,
            count,
            model.num_parameters(),
        )

    run_steps(
        "detector", settings.steps, [*model.parameters(), *heads.parameters()],
        settings.learning_rate, lambda: detector_loss(model, heads, batches.next()), save,
    )  # fmt: skip
    log.info("done in %.0f minutes", (time.monotonic() - start) / 60)


if __name__ == "__main__":
    main(tyro.cli(Settings))
