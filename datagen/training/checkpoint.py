"""Checkpoints that appear whole: tensors as safetensors, the rest as JSON, never pickle."""

from __future__ import annotations

import json
import os
import random
import shutil
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.optim import Optimizer

from datagen.training.model import FGCLIP


def save_checkpoint(
    folder: Path, model: FGCLIP, optimizer: Optimizer, step: int, keep: int
) -> None:
    """Write `folder/step-…`, under another name first, and remove all but the last `keep`.

    The number of steps done says where the run stands in the data and in the schedule. The states
    of the random generators are those of this process.
    """
    target = folder / f"step-{step:08d}"
    if target.is_dir():  # it appeared whole
        return
    partial = folder / f".{target.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    save_file(_contiguous(model.state_dict()), partial / "model.safetensors")
    save_file(_optimizer_tensors(model, optimizer), partial / "optimizer.safetensors")
    save_file(_random_tensors(), partial / "random.safetensors")
    state = {"step": step, "python": random.getstate(), "numpy": _numpy_state()}
    (partial / "state.json").write_text(json.dumps(state), encoding="utf-8")
    for file in partial.iterdir():
        with file.open("rb") as written:
            os.fsync(written.fileno())
    partial.rename(target)
    for old in sorted(folder.glob("step-*"))[:-keep]:
        shutil.rmtree(old)


def load_checkpoint(folder: Path, model: FGCLIP, optimizer: Optimizer) -> int:
    """Restore the newest checkpoint. Returns the number of steps done: 0 if there is none."""
    newest = max(folder.glob("step-*"), default=None)
    if newest is None:
        return 0
    model.load_state_dict(load_file(newest / "model.safetensors"))
    tensors = load_file(newest / "optimizer.safetensors")
    parameters = dict(model.named_parameters())
    for key, value in tensors.items():
        name, _, what = key.rpartition("/")
        optimizer.state[parameters[name]][what] = (
            value.to(parameters[name].device) if what != "step" else value
        )
    state = json.loads((newest / "state.json").read_text(encoding="utf-8"))
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers), gauss))
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, np.asarray(keys, np.uint32), *rest))
    for name, value in load_file(newest / "random.safetensors").items():
        if name == "cpu":
            torch.set_rng_state(value)
        elif torch.cuda.is_available():
            torch.cuda.set_rng_state(value)
    return int(state["step"])


def _random_tensors() -> dict[str, Tensor]:
    tensors = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        tensors["cuda"] = torch.cuda.get_rng_state()
    return tensors


def _numpy_state() -> list:
    kind, keys, *rest = np.random.get_state()
    return [kind, np.asarray(keys).tolist(), *rest]


def _optimizer_tensors(model: FGCLIP, optimizer: Optimizer) -> dict[str, Tensor]:
    return {
        f"{name}/{what}": value.contiguous()
        for name, parameter in model.named_parameters()
        for what, value in optimizer.state.get(parameter, {}).items()
    }


def _contiguous(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.contiguous() for name, tensor in state.items()}
