"""What tells one model from another: its weights, and whatever else moves its answers."""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from torch import nn


def model_fingerprint(model: nn.Module, *others: Any) -> str:
    """32 characters of hex, equal for equal weights of equal names, types and shapes.

    Args:
        model: its state is read in whole, at about a gigabyte a second.
        others: what else counts, e.g. settings of a tokenizer; compared by its text.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    for other in others:
        digest.update(f"{other}\n".encode())
    return digest.hexdigest()[:32]
