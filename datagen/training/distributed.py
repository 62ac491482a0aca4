"""Many processes, one loss: every rank computes the loss of the joined batch.

A rank has the gradient of its own features at hand, so the backward pass needs no communication of
features. DistributedDataParallel averages the parameters' gradients over ranks, where the joined
batch has their sum: `gather` and `total` multiply what they pass back by the number of ranks.
Without a process group all of this does nothing.
"""

from __future__ import annotations

import os
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def world_size() -> int:
    """Number of processes that train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Number of this process among them."""
    return dist.get_rank() if dist.is_initialized() else 0


def device_of(name: str) -> torch.device:
    """The device of this process: of several GPUs on a machine, its own."""
    if name == "cuda" and world_size() > 1:
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device(name)


def group_device() -> torch.device:
    """Where tensors must be that the process group sends."""
    nccl = dist.get_backend() == "nccl"
    return torch.device("cuda", torch.cuda.current_device()) if nccl else torch.device("cpu")


def gather(rows: Tensor) -> Tensor:
    """The rows of all ranks, in the order of ranks; their numbers may differ."""
    return rows if world_size() == 1 else _Gather.apply(rows)


def total(value: Tensor) -> Tensor:
    """Sum over ranks."""
    return value if world_size() == 1 else _Total.apply(value)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        own = torch.tensor([len(rows)], device=rows.device)
        sizes = [torch.zeros_like(own) for _ in range(world_size())]
        dist.all_gather(sizes, own)
        counts = [int(size) for size in sizes]
        padded = rows.new_zeros(max(counts), *rows.shape[1:])
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in counts]
        dist.all_gather(parts, padded)
        ctx.first, ctx.count = sum(counts[: rank()]), len(rows)
        return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad[ctx.first : ctx.first + ctx.count] * world_size()


class _Total(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        value = value.clone()
        dist.all_reduce(value)
        return value

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad * world_size()
