"""bfloat16 for trainings on a CPU, where the CPU can multiply it; elsewhere it is slower."""

from __future__ import annotations

import torch


def autocast() -> torch.autocast:
    """A context: bfloat16 on CPUs with instructions for it (AVX-512, AMX), else float32."""
    able = torch.cpu.get_capabilities()
    enabled = bool(able.get("avx512_bf16") or able.get("amx_bf16"))
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled)
