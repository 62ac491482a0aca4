"""Checkpoints that appear whole: tensors as safetensors, the rest as JSON, never pickle."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.optim import Optimizer

from datagen.training.model import FGCLIP


@dataclass(frozen=True, slots=True)
class Position:
    """Where a run stands: steps done, and where the next batch is found in the data."""

    step: int
    epoch: int
    batch: int


def save_checkpoint(
    folder: Path, model: FGCLIP, optimizer: Optimizer, position: Position, keep: int
) -> None:
    """Write `folder/step-…`, under another name first, and remove all but the last `keep`."""
    target = folder / f"step-{position.step:08d}"
    partial = folder / f".{target.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    save_file(model.state_dict(), partial / "model.safetensors")
    save_file(_optimizer_tensors(model, optimizer), partial / "optimizer.safetensors")
    (partial / "position.json").write_text(json.dumps(asdict(position)), encoding="utf-8")
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)
    for old in sorted(folder.glob("step-*"))[:-keep]:
        shutil.rmtree(old)


def load_checkpoint(folder: Path, model: FGCLIP, optimizer: Optimizer) -> Position | None:
    """Restore the newest checkpoint, or None if there is none."""
    newest = max(folder.glob("step-*"), default=None)
    if newest is None:
        return None
    model.load_state_dict(load_file(newest / "model.safetensors"))
    tensors = load_file(newest / "optimizer.safetensors")
    parameters = dict(model.named_parameters())
    for key, value in tensors.items():
        name, _, what = key.rpartition("/")
        optimizer.state[parameters[name]][what] = (
            value.to(parameters[name].device) if what != "step" else value
        )
    return Position(**json.loads((newest / "position.json").read_text(encoding="utf-8")))


def _optimizer_tensors(model: FGCLIP, optimizer: Optimizer) -> dict[str, Tensor]:
    return {
        f"{name}/{what}": value
        for name, parameter in model.named_parameters()
        for what, value in optimizer.state.get(parameter, {}).items()
    }
