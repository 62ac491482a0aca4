"""A transformer block of CLIP on rows without padding, kept small in the memory of a step.

What a linear layer needs of a cheap step before it (a layer norm, an activation) is computed again
in the backward pass. A block then keeps its input, queries, keys, values, their mixture, the
middle, and the hidden layer before its activation: half of what autograd keeps by itself.

Shapes: N rows, D width of the tower.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import repeat
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from datagen.training.attention import Dense, Plan, attend

Prepare = Callable[..., Tensor]


def block(layer: Any, rows: Tensor, plan: Plan | Dense) -> Tensor:
    """One layer of transformers' `CLIPEncoder` on (N, D) rows."""
    attention = layer.self_attn
    projections = [attention.q_proj, attention.k_proj, attention.v_proj]
    queries, keys, values = norm_linear(rows, layer.layer_norm1, projections)
    mixed = attend(queries, keys, values, attention.num_heads, plan)
    return mlp(layer, rows + attention.out_proj(mixed))


def last_block(layer: Any, rows: Tensor, read: Tensor, plan: Plan | Dense) -> tuple[Tensor, Tensor]:
    """The attention of a last layer, computed only where somebody reads; `mlp` comes after it.

    Args:
        read: (Q,) the rows that are read; the queries of the plan.

    Returns:
        the rows after attention (Q, D), and the values of all (N, D).
    """
    attention = layer.self_attn
    (queries,) = norm_linear(rows[read], layer.layer_norm1, [attention.q_proj])
    keys, values = norm_linear(rows, layer.layer_norm1, [attention.k_proj, attention.v_proj])
    mixed = attend(queries, keys, values, attention.num_heads, plan)
    return rows[read] + attention.out_proj(mixed), values


def mlp(layer: Any, rows: Tensor) -> Tensor:
    """The second half of a layer: its MLP with the residual."""
    (hidden,) = norm_linear(rows, layer.layer_norm2, [layer.mlp.fc1])
    activation = _ACTIVATIONS.get(layer.mlp.config.hidden_act, layer.mlp.activation_fn)
    return rows + _prepared_linear(activation, hidden, [], [layer.mlp.fc2])[0]


def norm_linear(rows: Tensor, norm: nn.LayerNorm, linears: Sequence[nn.Module]) -> Sequence[Tensor]:
    """Linear layers on normalised rows: (N, D) → (N, its width) of each."""

    def prepare(rows: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return functional.layer_norm(rows, norm.normalized_shape, weight, bias, norm.eps)

    return _prepared_linear(prepare, rows, [norm.weight, norm.bias], linears)


def quick_gelu(hidden: Tensor) -> Tensor:
    """x σ(1.702 x), CLIP's."""
    out: Tensor = _QuickGELU.apply(hidden)
    return out


class _QuickGELU(torch.autograd.Function):
    """Through the SiLU, which torch has as one kernel: silu(1.702 x) / 1.702."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor) -> Tensor:
        scaled = hidden * 1.702
        ctx.save_for_backward(scaled)
        return functional.silu(scaled).mul_(1 / 1.702)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return torch.ops.aten.silu_backward(grad, ctx.saved_tensors[0])


_ACTIVATIONS: dict[str, Prepare] = {"quick_gelu": quick_gelu}


def _prepared_linear(
    prepare: Prepare, rows: Tensor, parameters: list[Tensor], linears: Sequence[nn.Module]
) -> Sequence[Tensor]:
    if any(type(linear) is not nn.Linear for linear in linears):  # an adapter, such as LoRA's
        prepared = prepare(rows, *parameters)
        return [linear(prepared) for linear in linears]
    device = rows.device.type
    half = torch.is_autocast_enabled(device)
    dtype = torch.get_autocast_dtype(device) if half else rows.dtype
    weights = [part for linear in linears for part in (linear.weight, linear.bias)]
    out: tuple[Tensor, ...] = _PreparedLinear.apply(
        prepare, dtype, len(parameters), rows, *parameters, *weights
    )
    return out


class _PreparedLinear(torch.autograd.Function):
    """`prepare(rows)` through each of some linear layers; prepared again going backward."""

    @staticmethod
    def forward(
        ctx: Any, prepare: Prepare, dtype: torch.dtype, split: int, rows: Tensor, *tensors: Tensor
    ) -> tuple[Tensor, ...]:
        linears = [tensor.to(dtype) for tensor in tensors[split:]]
        prepared = prepare(rows, *tensors[:split]).to(dtype)
        ctx.save_for_backward(rows, *tensors[:split], *linears[::2])
        ctx.prepare, ctx.dtype, ctx.split = prepare, dtype, split
        return tuple(map(functional.linear, repeat(prepared), linears[::2], linears[1::2]))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        split = ctx.split
        saved = ctx.saved_tensors  # once: checkpointing does not allow it twice
        inputs = [tensor.detach().requires_grad_() for tensor in saved[: 1 + split]]
        weights = saved[1 + split :]
        with torch.enable_grad():
            prepared = ctx.prepare(*inputs)
        features = prepared.detach().to(ctx.dtype)
        found: list[Tensor | None] = []
        for i, grad in enumerate(grads):
            needed = ctx.needs_input_grad[4 + split + 2 * i]
            found.append((grad.T @ features).float() if needed else None)
            found.append(grad.sum(0, dtype=torch.float32) if needed else None)
        d_prepared = grads[0] @ weights[0]
        for grad, weight in zip(grads[1:], weights[1:], strict=True):
            d_prepared.addmm_(grad, weight)
        first = torch.autograd.grad(prepared, inputs, d_prepared.to(prepared.dtype))
        return None, None, None, *first, *found
