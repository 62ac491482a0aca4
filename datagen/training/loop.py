"""The training loop of a process, alone or one of many: resumable, done when `model/` is there."""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import AdamW
from transformers import PreTrainedTokenizerBase

from datagen.dataset import Dataset
from datagen.dataset.lineage import differing_fields
from datagen.errors import UserError
from datagen.precision import has_bfloat16
from datagen.training.batch import Batch
from datagen.training.checkpoint import load_checkpoint, save_checkpoint
from datagen.training.config import OptimConfig, TrainConfig
from datagen.training.distributed import device_of, rank, world_size
from datagen.training.encoder import ModelEncoder
from datagen.training.loader import RawBatches, load_batches
from datagen.training.log import Log
from datagen.training.model import FGCLIP
from datagen.training.objective import Encoder, Losses
from datagen.training.order import Order
from datagen.training.reading import Reader
from datagen.training.signals import StopSignal
from datagen.training.step import forward_backward
from datagen.training.texts import TextEncoder, learn_tokenizer, load_tokenizer
from datagen.training.towers import merge_adapters, prepare
from datagen.training.weights import load_model, new_model, save_model

Evaluate = Callable[[ModelEncoder], dict[str, float]]


class TrainingError(UserError):
    """Training cannot go on; the message says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainResult:
    """What a run did. `steps` and `seconds` are of this call alone: 0 if it was done before."""

    model: Path
    steps: int
    seconds: float
    images_per_second: float


def train(config: TrainConfig, evaluate: Evaluate | None = None) -> TrainResult:
    """Run a training to its end, or from its last checkpoint, or not at all if it is done.

    Where a process group is initialised, its processes train together: each calls this with the
    same configuration.

    Args:
        evaluate: scores of the model by name, called every `config.evaluate_every` steps.

    Raises:
        DatasetError: there is nothing to train on.
        ModelNotFoundError: `model.init` is not there.
        TrainingError: the folder belongs to another configuration, no batch can be filled, the
            loss is not finite, or the process was told to stop.
    """
    lanes = config.reader.lanes or 16
    reader = Reader(Dataset(config.data), config.loss.uses_regions, shards_at_once=lanes)
    output = Path(config.output)
    if rank() == 0:
        _claim(output, {**config.identity(), "tables": reader.fingerprints()})
    finished = output / "model"
    if finished.is_dir():
        print(f"train {output.name}: {finished} is there, nothing to do", flush=True)
        return TrainResult(model=finished, steps=0, seconds=0.0, images_per_second=0.0)
    if config.threads:
        torch.set_num_threads(config.threads)
    return _Run(config, output, reader, evaluate).run()


class _Run:
    def __init__(
        self, config: TrainConfig, output: Path, reader: Reader, evaluate: Evaluate | None
    ) -> None:
        self.config, self.output, self.reader, self.evaluate = config, output, reader, evaluate
        self.device = device_of(config.device)
        torch.manual_seed(config.seed)
        self.tokenizer, self.model = _model_and_tokenizer(config, reader)
        prepare(self.model, config.model)
        self.model.checkpointing = config.optim.checkpointing
        self.model.compiled = config.optim.compile
        self.model.to(self.device).train()
        limits = [self.model.max_tokens(long=long) for long in (False, True)]
        self.texts = TextEncoder(self.tokenizer, *limits)
        self.optimizer = _optimizer(self.model, config.optim)
        self.order = self._order()
        self.total = self.order.batches * config.optim.epochs

    def _order(self) -> Order:
        config, rows = self.config, self.reader.rows
        batch = min(config.optim.batch_size, sum(rows))
        if batch < 2:
            raise TrainingError(
                f"{config.data} has {sum(rows)} captioned images: too few to train on."
            )
        reader = config.reader
        try:
            order = Order(
                self.reader.shards, rows, batch=batch, buffer=reader.shuffle_buffer,
                seed=config.seed, lanes=reader.lanes,
            )  # fmt: skip
        except ValueError as error:
            raise TrainingError(f"{error} Change --lanes or --batch-size.") from None
        if order.lanes % world_size():
            raise TrainingError(
                f"The {order.lanes} lanes of a batch of {batch} cannot be dealt to "
                f"{world_size()} processes: set --lanes to a multiple that divides the batch."
            )
        return order

    def run(self) -> TrainResult:
        checkpoints = self.output / "checkpoints"
        begun = step = load_checkpoint(checkpoints, self.model, self.optimizer)
        encoder = self._encoder()
        started, images = time.monotonic(), 0
        log = self._log(step) if rank() == 0 else None
        try:
            with StopSignal() as stop:
                for pieces in self._batches(step):
                    losses, rate = self._step(encoder, pieces, step)
                    step += 1
                    images += sum(len(piece.image_ids) for piece in pieces)
                    if log is not None:
                        log.advance(sum(len(p.image_ids) for p in pieces) * world_size())
                        self._report(log, step, losses, rate)
                    if stop.wanted() and step < self.total:
                        self._save(checkpoints, step)
                        raise TrainingError(
                            f"Stopped at step {step} of {self.total}, as a signal asked; the "
                            "checkpoint is written. Run the same command again to go on."
                        )
                    if step % self.config.checkpoint_every == 0:
                        self._save(checkpoints, step)
        finally:
            if log is not None:
                log.close()
        seconds = time.monotonic() - started
        if rank() == 0:
            self._finish()
        if world_size() > 1:
            dist.barrier()
        return TrainResult(
            model=self.output / "model",
            steps=step - begun,
            seconds=seconds,
            images_per_second=images * world_size() / max(seconds, 1e-9),
        )

    def _encoder(self) -> nn.Module:
        encoder = Encoder(self.model)
        if world_size() == 1:
            return encoder
        weights = self.config.loss
        # A tower's positions and projection of texts that no loss looks at get no gradient.
        unused = not (weights.long_weight and weights.short_weight)
        devices = [self.device] if self.device.type == "cuda" else None
        return DistributedDataParallel(
            encoder, device_ids=devices, broadcast_buffers=False, find_unused_parameters=unused
        )

    def _batches(self, step: int) -> Iterator[list[Batch]]:
        raw = RawBatches(self.reader, self.order, step, self.total, rank(), world_size())
        config = self.config
        for pieces in load_batches(
            raw, config.reader, self.texts, seed=config.seed, size=self.model.image_size,
            parts=config.optim.accumulate, regions=config.loss.uses_regions,
            hard=config.loss.hard_weight > 0,
        ):  # fmt: skip
            if not pieces:
                raise TrainingError(f"{config.data}: none of the images of a batch can be read.")
            yield pieces

    def _step(self, encoder: nn.Module, pieces: list[Batch], step: int) -> tuple[Losses, float]:
        optim = self.config.optim
        rate = optim.learning_rate * schedule(step, self.total, optim.warmup_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        half = optim.precision == "bfloat16" or (
            optim.precision == "auto" and has_bfloat16(self.device.type)
        )
        moved = [piece.to(self.device) for piece in pieces]
        losses = forward_backward(encoder, moved, self.config.loss, half=half)
        loss = float(losses.total.detach())
        norm = float(torch.nn.utils.clip_grad_norm_(self.model.parameters(), optim.clip_norm))
        for what, value in (("loss", loss), ("norm of the gradient", norm)):
            if not math.isfinite(value):
                ids = ", ".join(image_id for piece in pieces for image_id in piece.image_ids)
                raise TrainingError(
                    f"The {what} of step {step + 1} is {value}; its images are {ids}. "
                    "Lower --learning-rate."
                )
        self.optimizer.step()
        self.model.clamp_logit_scales()
        return losses, rate

    def _log(self, step: int) -> Log:
        return Log(
            self.output, step, self.total, bar=self.config.show == "auto",
            wandb_project=self.config.wandb_project,
        )  # fmt: skip

    def _report(self, log: Log, step: int, losses: Losses, rate: float) -> None:
        if step % self.config.log_every == 0 or step == self.total:
            epoch = (step - 1) // self.order.batches
            log.write(losses.values(), rate, epoch, self.model)
        if self.evaluate and (step % self.config.evaluate_every == 0 or step == self.total):
            log.write_scores(
                self.evaluate(ModelEncoder(self.model, self.tokenizer, str(self.device)))
            )
            self.model.train()

    def _save(self, folder: Path, step: int) -> None:
        if rank() == 0:
            keep = self.config.keep_checkpoints
            save_checkpoint(folder, self.model, self.optimizer, step, keep)

    def _finish(self) -> None:
        merge_adapters(self.model)
        if self.config.clip_model:
            self._write("clip-model", plain=True)
        self._write("model", plain=False)

    def _write(self, name: str, *, plain: bool) -> None:
        partial = self.output / f".{name}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        save_model(self.model, partial, plain=plain)
        self.tokenizer.save_pretrained(partial)
        shutil.rmtree(self.output / name, ignore_errors=True)  # of a run killed before its end
        partial.rename(self.output / name)


def schedule(step: int, total: int, warmup: int) -> float:
    """Share of the learning rate: a line up to 1 over `warmup` steps, then a cosine to 0."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))


def _model_and_tokenizer(
    config: TrainConfig, reader: Reader
) -> tuple[PreTrainedTokenizerBase, FGCLIP]:
    if config.model.init:
        return load_tokenizer(config.model.init), load_model(config.model.init)
    tokenizer = learn_tokenizer(reader.texts(), config.model.vocab_size)
    start, end = tokenizer.bos_token_id, tokenizer.eos_token_id
    return tokenizer, new_model(config.model, len(tokenizer), start, end)


def _optimizer(model: FGCLIP, config: OptimConfig) -> AdamW:
    """Biases, norms and temperatures are not decayed."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return AdamW(
        [
            {"params": [p for p in trained if p.ndim > 1], "weight_decay": config.weight_decay},
            {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
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
