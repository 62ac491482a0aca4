"""Attention in blocks of queries, each against the keys that it may see.

Tokens of many sequences lie one after the other, without padding, as rows of a matrix. A plan says
which rows are queries together, which rows are their keys, and which query sees which key. So one
function serves pictures (every patch sees every other) and trees of texts (a token sees its
ancestors).

Shapes: N rows, D width, n blocks, q queries and k keys of a block, H heads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, slots=True)
class Group:
    """Blocks of the same size, padded where they have less.

    `queries` (n, q) and `keys` (n, k) are row numbers; `hidden` (n, q, k) is true where a query
    does not see a key, or None where all see all. A query that is padding sees some key, so that
    nothing divides by 0.
    """

    queries: Tensor
    keys: Tensor
    hidden: Tensor | None


@dataclass(frozen=True, slots=True)
class Plan:
    """`place` (Q,) says where each query row stands among the groups' queries, one after another.

    Queries and keys may be numbered in different matrices: those of a last layer are only the
    rows that somebody reads.
    """

    groups: tuple[Group, ...]
    place: Tensor

    def to(self, device: torch.device) -> Plan:
        """The same plan with its tensors on a device."""
        groups = tuple(
            Group(
                group.queries.to(device),
                group.keys.to(device),
                None if group.hidden is None else group.hidden.to(device),
            )
            for group in self.groups
        )
        return Plan(groups, self.place.to(device))


@dataclass(frozen=True, slots=True)
class Dense:
    """The plan of n sequences, one after the other: all rows of one see each other.

    Queries may be fewer than keys, but as many for each sequence.
    """

    sequences: int


@torch.compiler.disable  # else compiled again for every number of groups
def attend(queries: Tensor, keys: Tensor, values: Tensor, heads: int, plan: Plan | Dense) -> Tensor:
    """Multi-head attention of rows.

    On a CPU, plain products, which are faster there and keep the probabilities; elsewhere torch's
    fused kernel, which computes them again going backward, gets the blocks and their masks.

    Args:
        queries: (Q, D).
        keys, values: (N, D).

    Returns:
        (Q, D), in the order of the queries.
    """
    if queries.device.type == "cpu":
        out: Tensor = _Attention.apply(queries, keys, values, heads, plan)
        return out
    return fused_attention(queries, keys, values, heads, plan)


def fused_attention(
    queries: Tensor, keys: Tensor, values: Tensor, heads: int, plan: Plan | Dense
) -> Tensor:
    """As `attend`, by torch's `scaled_dot_product_attention` with a mask for each block."""
    query, key, value = (_split(rows, heads) for rows in (queries, keys, values))
    parts = []
    for index in _parts(plan):
        found = functional.scaled_dot_product_attention(
            _take(query, index.queries).transpose(0, 1),
            _take(key, index.keys).transpose(0, 1),
            _take(value, index.keys).transpose(0, 1),
            attn_mask=None if index.hidden is None else ~index.hidden[:, None],
        )
        parts.append(_rows(found.transpose(0, 1)))
    return _placed(parts, plan)


@dataclass(frozen=True, slots=True)
class _Part:
    """A group, or all of a dense plan: then the indices are numbers of sequences."""

    queries: Tensor | int
    keys: Tensor | int
    hidden: Tensor | None


def _parts(plan: Plan | Dense) -> list[_Part]:
    if isinstance(plan, Dense):
        return [_Part(plan.sequences, plan.sequences, None)]
    return [_Part(group.queries, group.keys, group.hidden) for group in plan.groups]


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, queries: Tensor, keys: Tensor, values: Tensor, heads: int, plan: Plan | Dense
    ) -> Tensor:
        query, key, value = (_split(rows, heads) for rows in (queries, keys, values))
        parts, kept = [], []
        for part in _parts(plan):
            shares = _shares(_take(query, part.queries), _take(key, part.keys), part.hidden)
            parts.append(_rows(shares @ _take(value, part.keys)))
            kept.append(shares)
        ctx.save_for_backward(query, key, value, *kept)
        ctx.plan = plan
        return _placed(parts, plan)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, *kept = ctx.saved_tensors  # (H, rows, D / H), and shares
        plan, heads, width = ctx.plan, len(query), query.shape[-1]
        if isinstance(plan, Plan):  # the gradient of padding is 0
            slots = sum(group.queries.numel() for group in plan.groups)
            grad = grad.new_zeros(slots, grad.shape[1]).index_copy_(0, plan.place, grad)
        own = _split(grad, heads)
        d_queries, d_keys, d_values = [], [], []
        start = 0
        for part, shares in zip(_parts(plan), kept, strict=True):
            q, k, v = _take(query, part.queries), _take(key, part.keys), _take(value, part.keys)
            count = q.shape[1] * q.shape[2]
            d_out = own[:, start : start + count].reshape(q.shape)
            start += count
            d_values.append(_rows(shares.transpose(-1, -2) @ d_out))
            d_shares = d_out @ v.transpose(-1, -2)
            d_scores = torch._softmax_backward_data(d_shares, shares, -1, shares.dtype)
            d_scores.mul_(width**-0.5)
            d_queries.append(_rows(d_scores @ k))
            d_keys.append(_rows(d_scores.transpose(-1, -2) @ q))
        rows = key.shape[1]
        d_rows = _added(d_keys, plan, rows), _added(d_values, plan, rows)
        return _placed(d_queries, plan), *d_rows, None, None


def _shares(query: Tensor, key: Tensor, hidden: Tensor | None) -> Tensor:
    """(H, n, q, k) probabilities."""
    scores = query @ key.transpose(-1, -2)
    scores.mul_(query.shape[-1] ** -0.5)
    if hidden is not None:
        scores.masked_fill_(hidden, float("-inf"))
    return torch.softmax(scores, -1)


def _split(rows: Tensor, heads: int) -> Tensor:
    """(N, D) → (H, N, D / H)."""
    return rows.unflatten(1, (heads, -1)).transpose(0, 1).contiguous()


def _take(split: Tensor, index: Tensor | int) -> Tensor:
    """(H, N, d) → (H, n, q, d): rows by number, or all of them in n sequences."""
    if isinstance(index, int):
        return split.unflatten(1, (index, -1))
    return split.index_select(1, index.flatten()).unflatten(1, index.shape)


def _rows(blocks: Tensor) -> Tensor:
    """(H, n, q, d) → (n q, D)."""
    return blocks.flatten(1, 2).transpose(0, 1).flatten(1)


def _placed(parts: list[Tensor], plan: Plan | Dense) -> Tensor:
    return parts[0] if isinstance(plan, Dense) else torch.cat(parts)[plan.place]


def _added(parts: list[Tensor], plan: Plan | Dense, rows: int) -> Tensor:
    """Gradients of blocks' keys, added up to those of the rows."""
    if isinstance(plan, Dense):
        return parts[0]
    out = parts[0].new_zeros(rows, parts[0].shape[1])
    for part, group in zip(parts, plan.groups, strict=True):
        out.index_add_(0, group.keys.flatten(), part)
    return out
