"""The training loop: one process, any device, resumable, done when `output/model` is there."""

from __future__ import annotations

import json
import math
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch.optim import AdamW
from tqdm import tqdm
from transformers import PreTrainedTokenizerBase

from datagen.dataset import Dataset
from datagen.dataset.lineage import differing_fields
from datagen.errors import UserError
from datagen.training.batch import Batch, batches, make_batch
from datagen.training.checkpoint import Position, load_checkpoint, save_checkpoint
from datagen.training.config import OptimConfig, TrainConfig
from datagen.training.data import Samples
from datagen.training.model import FGCLIP
from datagen.training.objective import Losses, compute_losses
from datagen.training.texts import TextEncoder, learn_tokenizer, load_tokenizer
from datagen.training.weights import load_model, new_model, save_model


class TrainingError(UserError):
    """Training cannot go on; the message says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainResult:
    """What a run did. `steps` and `seconds` are of this call alone: 0 if it was done before."""

    model: Path
    steps: int
    seconds: float
    images_per_second: float


def train(config: TrainConfig) -> TrainResult:
    """Run a training to its end, or from its last checkpoint, or not at all if it is done.

    Raises:
        DatasetError: there is nothing to train on.
        ModelNotFoundError: `model.init` is not there.
        TrainingError: the folder belongs to another configuration, no batch can be filled, or the
            loss is not finite.
    """
    samples = Samples(Dataset(config.data), config.reader, config.seed, config.loss.uses_regions)
    output = Path(config.output)
    _claim(output, {**config.identity(), "tables": samples.fingerprints()})
    finished = output / "model"
    if finished.is_dir():
        print(f"train {output.name}: {finished} is there, nothing to do", flush=True)
        return TrainResult(model=finished, steps=0, seconds=0.0, images_per_second=0.0)
    if config.threads:
        torch.set_num_threads(config.threads)
    return _Run(config, output, samples).run()


class _Run:
    def __init__(self, config: TrainConfig, output: Path, samples: Samples) -> None:
        self.config, self.output, self.samples = config, output, samples
        torch.manual_seed(config.seed)
        self.tokenizer, self.model = _model_and_tokenizer(config, self.samples)
        self.model.to(config.device).train()
        limits = [self.model.max_tokens(long=long) for long in (False, True)]
        self.encoder = TextEncoder(self.tokenizer, *limits)
        self.optimizer = _optimizer(self.model, config.optim)
        images = samples.count()
        self.batch_size = min(config.optim.batch_size, images)
        if self.batch_size < 2:
            raise TrainingError(
                f"{config.data} has {images} captioned images: too few to train on."
            )
        self.total = images // self.batch_size * config.optim.epochs

    def run(self) -> TrainResult:
        checkpoints = self.output / "checkpoints"
        position = load_checkpoint(checkpoints, self.model, self.optimizer) or Position(0, 0, 0)
        begun, started = position.step, time.monotonic()
        with _Log(self.output, begun, self.total, self.config.show == "auto") as log:
            for epoch, number, batch in self._batches(position):
                losses, rate = self._step(batch, position.step)
                position = Position(position.step + 1, epoch, number + 1)
                if position.step % self.config.log_every == 0 or position.step == self.total:
                    log.write(position, losses, rate, self.model, len(batch.image_ids))
                log.advance()
                if position.step % self.config.checkpoint_every == 0:
                    self._save(checkpoints, position)
        seconds = time.monotonic() - started
        self._finish()
        steps = position.step - begun
        images = steps * self.batch_size
        return TrainResult(
            model=self.output / "model",
            steps=steps,
            seconds=seconds,
            images_per_second=images / max(seconds, 1e-9),
        )

    def _batches(self, start: Position) -> Iterator[tuple[int, int, Batch]]:
        """Batches after `start`. Corrupt images make an epoch shorter, never the step count."""
        step, epoch, skip = start.step, start.epoch, start.batch
        while step < self.total:
            groups = batches(self.samples.epoch(epoch, self.model.image_size), self.batch_size)
            seen = step
            for number, group in islice(enumerate(groups), skip, None):
                if step == self.total:
                    return
                yield (
                    epoch,
                    number,
                    make_batch(group, self.encoder, hard=self.config.loss.hard_weight > 0),
                )
                step += 1
            if step == seen and not skip:
                raise TrainingError(
                    f"{self.config.data}: too few of the images can be read for one batch."
                )
            epoch, skip = epoch + 1, 0

    def _step(self, batch: Batch, step: int) -> tuple[Losses, float]:
        optim = self.config.optim
        rate = optim.learning_rate * schedule(step, self.total, optim.warmup_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        device = torch.device(self.config.device)
        half = optim.precision == "bfloat16"
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            losses = compute_losses(self.model, batch.to(device), self.config.loss)
        loss = float(losses.total.detach())
        if not math.isfinite(loss):
            raise TrainingError(
                f"The loss of step {step + 1} is {loss}; its images are "
                f"{', '.join(batch.image_ids)}. Lower --optim.learning-rate."
            )
        self.optimizer.zero_grad(set_to_none=True)
        losses.total.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), optim.clip_norm)
        self.optimizer.step()
        self.model.clamp_logit_scales()
        return losses, rate

    def _save(self, folder: Path, position: Position) -> None:
        keep = self.config.keep_checkpoints
        save_checkpoint(folder, self.model, self.optimizer, position, keep)

    def _finish(self) -> None:
        partial = self.output / ".model.partial"
        shutil.rmtree(partial, ignore_errors=True)
        save_model(self.model, partial)
        self.tokenizer.save_pretrained(partial)
        partial.rename(self.output / "model")


def schedule(step: int, total: int, warmup: int) -> float:
    """Share of the learning rate: a line up to 1 over `warmup` steps, then a cosine to 0."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))


def _model_and_tokenizer(
    config: TrainConfig, samples: Samples
) -> tuple[PreTrainedTokenizerBase, FGCLIP]:
    if config.model.init:
        return load_tokenizer(config.model.init), load_model(config.model.init)
    tokenizer = learn_tokenizer(samples.texts(), config.model.vocab_size)
    start, end = tokenizer.bos_token_id, tokenizer.eos_token_id
    return tokenizer, new_model(config.model, len(tokenizer), start, end)


def _optimizer(model: FGCLIP, config: OptimConfig) -> AdamW:
    """Biases, norms and temperatures are not decayed."""
    decayed = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    return AdamW(
        [
            {"params": decayed, "weight_decay": config.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ],
        lr=config.learning_rate,
        betas=(config.beta1, config.beta2),
    )


def _claim(output: Path, settings: dict[str, Any]) -> None:
    """Write the configuration beside the run, or check it against the one that is there."""
    output.mkdir(parents=True, exist_ok=True)
    path = output / "train.json"
    identity = json.loads(json.dumps(settings))
    if path.is_file():
        found = json.loads(path.read_text(encoding="utf-8"))
        if found != identity:
            fields = "; ".join(differing_fields(found, identity))
            raise TrainingError(
                f"{output} belongs to another configuration ({fields}). "
                "Use the same configuration, or another output folder."
            )
    else:
        path.write_text(json.dumps(identity, indent=2), encoding="utf-8")


class _Log:
    """metrics.jsonl, and a bar on a terminal or a line now and then elsewhere."""

    def __init__(self, output: Path, step: int, total: int, bar: bool) -> None:
        self._file = (output / "metrics.jsonl").open("a", encoding="utf-8")
        self._name = f"train {output.name}"
        self._total, self._step = total, step
        self._said = self._since = time.monotonic()
        self._since_step = step
        self._bar = (
            tqdm(desc=self._name, total=total, initial=step, unit=" steps", dynamic_ncols=True)
            if bar and sys.stderr.isatty()
            else None
        )

    def __enter__(self) -> _Log:
        if self._bar is None:
            print(f"{self._name}: started at step {self._step} of {self._total}", flush=True)
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.close()
        self._file.close()

    def advance(self) -> None:
        self._step += 1
        if self._bar is not None:
            self._bar.update()

    def write(
        self, position: Position, losses: Losses, rate: float, model: FGCLIP, batch_size: int
    ) -> None:
        now = time.monotonic()
        steps = position.step - self._since_step
        speed = steps * batch_size / max(now - self._since, 1e-9)
        self._since, self._since_step = now, position.step
        values = {name: round(value, 5) for name, value in losses.values().items()}
        line = {
            "step": position.step,
            "epoch": position.epoch,
            **values,
            "learning_rate": rate,
            "images_per_second": round(speed, 2),
            "logit_scale": round(model.logit_scale.exp().item(), 4),
            "logit_scale_region": round(model.logit_scale_finegraind.exp().item(), 4),
            "logit_scale_hard": round(model.logit_scale_hardneg.exp().item(), 4),
        }
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        terms = ", ".join(f"{name} {value:.3f}" for name, value in values.items())
        if self._bar is not None:
            self._bar.set_postfix_str(terms)
        elif now - self._said > 10 or position.step == self._total:
            self._said = now
            of = f"{position.step}/{self._total} steps"
            print(f"{self._name}: {of}, {speed:.1f} images/s, {terms}", flush=True)
