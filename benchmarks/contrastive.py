"""The contrastive loss in tiles against the whole matrix: memory and seconds, forward and backward.

Example:
    python -m benchmarks.contrastive --pairs 16384

prints one line of JSON: for each form `peak_mb` above what was there before it, `cpu_s`, and the
relative difference of loss and gradients.
"""

from __future__ import annotations

import json
import multiprocessing
import resource
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from datagen.command import command
from datagen.training.losses import contrastive_loss


@dataclass(frozen=True, kw_only=True)
class Config:
    """Arguments of the benchmark."""

    pairs: int = 16_384
    width: int = 512
    threads: int = 1


@dataclass(frozen=True, slots=True)
class _Cost:
    peak_mb: float
    cpu_s: float
    loss: float
    gradient: list[float]
    """Norms for images, texts and scale."""


def whole(images: Tensor, texts: Tensor, scale: Tensor) -> Tensor:
    """The loss as it is usually written."""
    by_image, by_text = scale * images @ texts.T, scale * texts @ images.T
    target = torch.arange(len(images))
    return (
        functional.cross_entropy(by_image, target) + functional.cross_entropy(by_text, target)
    ) / 2


def _measure(tiled: bool, config: Config) -> _Cost:
    torch.set_num_threads(config.threads)
    torch.manual_seed(0)
    pairs = [torch.randn(config.pairs, config.width) for _ in range(2)]
    leaves = [functional.normalize(rows, dim=1).requires_grad_() for rows in pairs]
    leaves.append(torch.tensor(20.0, requires_grad=True))
    base = _memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    before = resource.getrusage(resource.RUSAGE_SELF)
    loss = (contrastive_loss if tiled else whole)(*leaves)
    loss.backward()
    after = resource.getrusage(resource.RUSAGE_SELF)
    return _Cost(
        peak_mb=round(_memory("VmHWM") - base),
        cpu_s=round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 2),
        loss=loss.item(),
        gradient=[leaf.grad.double().norm().item() for leaf in leaves if leaf.grad is not None],
    )


def main(config: Config) -> None:
    """Measure each form in a process of its own and print."""
    context = multiprocessing.get_context("spawn")
    costs = {}
    for name in ("tiles", "whole"):
        with ProcessPoolExecutor(1, context) as pool:
            costs[name] = pool.submit(_measure, name == "tiles", config).result()
    tiles, matrix = costs["tiles"], costs["whole"]
    pairs = zip([tiles.loss, *tiles.gradient], [matrix.loss, *matrix.gradient], strict=True)
    result = {
        "pairs": config.pairs,
        **{f"{name}_peak_mb": cost.peak_mb for name, cost in costs.items()},
        **{f"{name}_cpu_s": cost.cpu_s for name, cost in costs.items()},
        "memory_ratio": round(tiles.peak_mb / matrix.peak_mb, 3),
        "difference": max(abs(one - other) / abs(other) for one, other in pairs),
    }
    print(json.dumps(result))


def _memory(what: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(what)) / 1024


if __name__ == "__main__":
    command(Config, main, __doc__)
