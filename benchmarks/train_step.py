"""What one training step costs: forward and backward of FG-CLIP's losses on a given batch.

The batch is trained on as the published code does it: regions with equal texts are each other's
negatives. Nothing else runs in the process; the optimizer is left out.

Example:
    python -m benchmarks.train_step --weights weights.pt --batch batch.pt

prints one line of JSON: `loss` and its terms, `grad_norm`, `cpu_s` and `user_s` (seconds of the
process, the least of the steps after a warm-up), `peak_mb` (largest resident memory during the
steps) and `base_mb` (before the first), `padded_tokens` (text positions that the published code
computes for this batch) and `encoded_tokens` (those computed here).
"""

from __future__ import annotations

import gc
import json
import resource
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from datagen.command import command
from datagen.training.batch import collate
from datagen.training.data import Region, Sample
from datagen.training.objective import Encoder, LossConfig
from datagen.training.step import forward_backward
from datagen.training.texts import TextEncoder, clip_tokenizer
from datagen.training.weights import model_from_state

SHORT, LONG = 77, 248


@dataclass(frozen=True, kw_only=True)
class Config:
    """Arguments of the benchmark."""

    weights: str
    """State dict of the published model, written by torch.save."""
    batch: str
    """{"rows": [{"long", "short", "regions": [{"bbox", "text", "phrase", "negatives"}]}],
    "pixels": float (B, 3, H, W)}, written by torch.save."""
    precision: Literal["float32", "bfloat16"] = "float32"
    steps: int = 3
    """After one that warms up."""
    threads: int = 1


def read_batch(path: str) -> tuple[Tensor, list[Sample]]:
    """The pixels, and the rows as samples without pixels."""
    content = torch.load(path, weights_only=True)
    nothing = np.empty((0, 0, 3), np.uint8)
    samples = [
        Sample(str(i), nothing, row["long"], row["short"], _regions(row["regions"]))
        for i, row in enumerate(content["rows"])
    ]
    return content["pixels"], samples


def _regions(found: Sequence[dict[str, Any]]) -> tuple[Region, ...]:
    return tuple(
        Region(
            tuple(map(float, region["bbox"][:4])),  # type: ignore[arg-type]
            region["phrase"],
            region["text"],
            tuple(region["negatives"] or ()),
        )
        for region in found
    )


def main(config: Config) -> None:
    """Measure and print."""
    torch.set_num_threads(config.threads)
    model = model_from_state(torch.load(config.weights, weights_only=True)).train()
    pixels, samples = read_batch(config.batch)
    texts = TextEncoder(clip_tokenizer(), SHORT, LONG)
    encoder, loss = Encoder(model), LossConfig(same_text_is_negative=True, local_regions=True)
    gc.collect()
    base = _memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
    costs = []
    for _ in range(1 + config.steps):
        encoder.zero_grad(set_to_none=True)
        before = resource.getrusage(resource.RUSAGE_SELF)
        batch = collate(pixels, samples, [sample.regions for sample in samples], texts)
        losses = forward_backward(encoder, [batch], loss, half=config.precision == "bfloat16")
        after = resource.getrusage(resource.RUSAGE_SELF)
        user = after.ru_utime - before.ru_utime
        costs.append((user + after.ru_stime - before.ru_stime, user))
    peak = _memory("VmHWM")
    # In double precision: single errs by 1e-5 over so many numbers.
    gradients = [p.grad.double() for p in model.parameters() if p.grad is not None]
    result = {
        "loss": losses.total.item(),
        "terms": losses.values(),
        "grad_norm": torch.stack([g.norm() for g in gradients]).norm().item(),
        "cpu_s": round(min(cost for cost, _ in costs[1:]), 3),
        "user_s": round(min(user for _, user in costs[1:]), 3),
        "peak_mb": round(peak),
        "base_mb": round(base),
        "padded_tokens": sum(_padded(sample) for sample in samples),
        "encoded_tokens": len(batch.tree.ids),
    }
    print(json.dumps(result))


def _padded(sample: Sample) -> int:
    """Both captions, at least 4 region texts, and a phrase with its negatives, all padded."""
    hard = sum(1 + len(region.negatives) for region in sample.regions if region.negatives)
    return LONG + SHORT * (1 + max(4, len(sample.regions)) + hard)


def _memory(what: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(what)) / 1024


if __name__ == "__main__":
    command(Config, main, __doc__)
