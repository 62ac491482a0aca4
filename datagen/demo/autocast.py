"""bfloat16 for the trainings of tiny models, where the CPU can multiply it."""

from __future__ import annotations

import torch

from datagen.precision import has_bfloat16


def autocast() -> torch.autocast:
    """A context: bfloat16, or float32 on CPUs without instructions for it."""
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=has_bfloat16("cpu"))
