"""Whether bfloat16 pays: on processors without instructions for it, it is many times slower."""

from __future__ import annotations


def has_bfloat16(device: str) -> bool:
    """Whether the device multiplies in bfloat16: GPUs do, CPUs with AVX-512's or AMX's bf16.

    Args:
        device: a type of torch's devices, such as "cpu".
    """
    import torch

    if device != "cpu":
        return True
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))
