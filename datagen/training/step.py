"""The gradients of one step: of a batch at once, or piece by piece with cached features."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from datagen.training.batch import Batch
from datagen.training.losses import ABSENT
from datagen.training.objective import Features, LossConfig, Losses, compute_losses


def forward_backward(
    encoder: nn.Module, pieces: Sequence[Batch], config: LossConfig, *, half: bool = False
) -> Losses:
    """Add the gradients of the losses of a batch to the parameters.

    More than one piece: all are encoded without a graph, the losses of all features together give
    the gradients of these, and each piece is encoded once more to carry its own to the parameters
    (GradCache, Gao et al. 2021). Exact, for the model has no randomness.

    Args:
        encoder: an `Encoder`, or DistributedDataParallel around one.
        pieces: at least one.
        half: compute in bfloat16 what autocast allows.
    """
    names = torch.cat([piece.names for piece in pieces])
    if len(pieces) == 1:
        losses = compute_losses(_encode(encoder, pieces[0], half), names, config)
        losses.total.backward()
        return losses
    with torch.no_grad():
        bare = encoder.module if isinstance(encoder, DistributedDataParallel) else encoder
        parts = [_encode(bare, piece, half) for piece in pieces]
    leaves = Features(*(tensor.requires_grad_() for tensor in _joined(parts)))
    losses = compute_losses(leaves, names, config)
    grads = torch.autograd.grad(losses.total, leaves, allow_unused=True)
    found = [torch.zeros_like(x) if g is None else g for x, g in zip(leaves, grads, strict=True)]
    gradients = _split(Features(*found), parts)
    for number, (piece, part) in enumerate(zip(pieces, gradients, strict=True)):
        last = number == len(pieces) - 1
        if not last:  # the scales are the same in all pieces: once is enough
            part = part._replace(scales=torch.zeros_like(part.scales))
        syncs = last or not isinstance(encoder, DistributedDataParallel)
        with nullcontext() if syncs else encoder.no_sync():  # type: ignore[operator]
            torch.autograd.backward(_encode(encoder, piece, half), part)
    return losses


def _encode(encoder: nn.Module, piece: Batch, half: bool) -> Features:
    with torch.autocast(piece.pixels.device.type, torch.bfloat16, enabled=half):
        features: Features = encoder(piece)
    return features


def _joined(parts: Sequence[Features]) -> Features:
    width = max(part.hard.shape[1] for part in parts)
    hard = [_widened(part.hard, width) for part in parts]
    joined = [torch.cat(tensors) for tensors in list(zip(*parts, strict=True))[:5]]
    return Features._make([*joined, torch.cat(hard), parts[0].scales.clone()])


def _widened(hard: Tensor, width: int) -> Tensor:
    return functional.pad(hard, (0, width - hard.shape[1]), value=ABSENT)


def _split(whole: Features, like: Sequence[Features]) -> list[Features]:
    """Cut what `_joined` joined, or its gradients, into the parts again."""
    columns = [tensor.split([len(part[i]) for part in like]) for i, tensor in enumerate(whole[:6])]
    rows = list(zip(*columns, strict=True))
    return [
        Features._make([*row[:5], row[5][:, : part.hard.shape[1]], whole.scales])
        for row, part in zip(rows, like, strict=True)
    ]
