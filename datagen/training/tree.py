"""Texts of a batch as one tree of prefixes, so that a shared beginning is computed once.

The hidden state of a token depends on the tokens before it alone (CLIP's text attention is causal),
so texts that begin alike share the states of their common prefix; a region's negatives share most
of theirs with its phrase. The nodes lie in depth-first order without padding. A node sees its
ancestors and itself; its depth is its position.

Consecutive nodes form a block of queries. In depth-first order, the ancestors of a block's nodes
are in the block or are ancestors of its first node, so the keys of a block are few.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from datagen.training.attention import Group, Plan

BLOCK = 64  # queries of a block
_STEP = 32  # blocks whose numbers of keys differ by less are padded to one size


@dataclass(frozen=True, slots=True)
class TextTree:
    """N nodes of the prefix trees of short and long texts, T different texts.

    `ids` (N,) are token ids. `positions` (N,) index the model's position embeddings: a short text's
    as they are, a long text's after those. `ends` (E,) are the nodes of the last tokens, those of
    short texts (the first `short_ends`) before those of long ones.
    """

    ids: Tensor
    positions: Tensor
    plan: Plan
    ends: Tensor
    last_plan: Plan
    short_ends: int

    def to(self, device: torch.device) -> TextTree:
        """The same tree with its tensors on a device."""
        return TextTree(
            ids=self.ids.to(device),
            positions=self.positions.to(device),
            plan=self.plan.to(device),
            ends=self.ends.to(device),
            last_plan=self.last_plan.to(device),
            short_ends=self.short_ends,
        )


def build_tree(
    short: Sequence[Sequence[int]], long: Sequence[Sequence[int]], short_positions: int
) -> tuple[TextTree, Tensor, Tensor]:
    """The tree of texts, and for each short and each long one which of its kind's ends is its own.

    Args:
        short, long: token ids of each text, start and end included, so none is empty; either list
            may be empty, and texts may repeat.
        short_positions: number of positions of short texts, where those of long texts begin.
    """
    nodes = _Nodes()
    short_end = nodes.add(short)
    first_long = len(nodes.ids)
    long_end = nodes.add(long)
    depth = np.asarray(nodes.depths, np.int64)
    depth[first_long:] += short_positions
    ends = np.unique(np.concatenate([short_end, long_end]))
    short_ends = int((ends < first_long).sum())
    blocks = _blocks(nodes)
    tree = TextTree(
        ids=torch.tensor(nodes.ids, dtype=torch.long),
        positions=torch.from_numpy(depth),
        plan=_plan(blocks, np.arange(len(depth)), nodes),
        ends=torch.from_numpy(ends),
        last_plan=_plan(blocks, ends, nodes),
        short_ends=short_ends,
    )
    of_short = torch.from_numpy(np.searchsorted(ends, short_end))
    return tree, of_short, torch.from_numpy(np.searchsorted(ends, long_end)) - short_ends


class _Nodes:
    """Nodes in depth-first order: token, depth, and the first node after the subtree."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.depths: list[int] = []
        self.stops: list[int] = []
        self.ancestors: dict[int, list[int]] = {}
        """Of every node whose number is a multiple of `BLOCK`."""

    def add(self, texts: Sequence[Sequence[int]]) -> np.ndarray:
        """Add a tree of its own for these texts. Returns the end node of each."""
        end = np.zeros(len(texts), np.int64)
        path: list[int] = []
        before: Sequence[int] = ()
        for number in sorted(range(len(texts)), key=lambda i: tuple(texts[i])):
            text = texts[number]
            shared = _shared(before, text)
            self._close(path, shared)
            for depth in range(shared, len(text)):
                node = len(self.ids)
                if node % BLOCK == 0:
                    self.ancestors[node] = path.copy()
                self.ids.append(text[depth])
                self.depths.append(depth)
                self.stops.append(-1)
                path.append(node)
            end[number] = path[len(text) - 1]
            before = text
        self._close(path, 0)
        return end

    def _close(self, path: list[int], keep: int) -> None:
        stop = len(self.ids)
        for node in path[keep:]:
            self.stops[node] = stop
        del path[keep:]


def _shared(a: Sequence[int], b: Sequence[int]) -> int:
    """Length of the common prefix."""
    length = 0
    for x, y in zip(a, b, strict=False):
        if x != y:
            break
        length += 1
    return length


@dataclass(frozen=True, slots=True)
class _Block:
    """Nodes `first` … `stop - 1`, and the ancestors of the first."""

    first: int
    stop: int
    ancestors: list[int]


def _blocks(nodes: _Nodes) -> list[list[_Block]]:
    """Blocks in lists of similar numbers of keys."""
    found: dict[int, list[_Block]] = {}
    for first, ancestors in sorted(nodes.ancestors.items()):
        block = _Block(first, min(first + BLOCK, len(nodes.ids)), ancestors)
        found.setdefault(-(-len(ancestors) // _STEP), []).append(block)
    return [found[size] for size in sorted(found)]


def _plan(blocks: list[list[_Block]], queries: np.ndarray, nodes: _Nodes) -> Plan:
    """The plan for some of the nodes as queries, given ascending; all nodes are keys."""
    stops = np.asarray(nodes.stops)
    groups, place, before = [], np.zeros(len(queries), np.int64), 0
    for members in blocks:
        ranges = [np.searchsorted(queries, (block.first, block.stop)) for block in members]
        used = [
            (b, low, high) for b, (low, high) in zip(members, ranges, strict=True) if low < high
        ]
        if not used:
            continue
        width = max(high - low for _, low, high in used)
        most = max(len(b.ancestors) + b.stop - b.first for b, _, _ in used)
        index = np.zeros((len(used), width), np.int64)  # of queries
        keys = np.zeros((len(used), most), np.int64)
        real = np.zeros((len(used), most), bool)
        for i, (block, low, high) in enumerate(used):
            index[i, : high - low] = np.arange(low, high)
            index[i, high - low :] = low  # padding: the same query once more
            own = [*block.ancestors, *range(block.first, block.stop)]
            keys[i, : len(own)], real[i, : len(own)] = own, True
            place[low:high] = before + i * width + np.arange(high - low)
        query = queries[index][:, :, None]
        seen = keys[:, None, :]
        hidden = ~real[:, None, :] | (seen > query) | (query >= stops[seen])
        groups.append(
            Group(torch.from_numpy(index), torch.from_numpy(keys), torch.from_numpy(hidden))
        )
        before += index.size
    return Plan(tuple(groups), torch.from_numpy(place))
