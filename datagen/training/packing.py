"""Texts of a batch, each different one encoded once and in a bucket of similar length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from datagen.training.model import FGCLIP

_SLACK = 1.25  # a bucket's longest text is at most this much longer than its shortest


class TextTable:
    """Numbers the different texts of a batch in the order in which they appear."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._numbers: dict[str, int] = {}

    def add(self, text: str) -> int:
        """The number of a text, a new one if it has none yet."""
        number = self._numbers.setdefault(text, len(self.texts))
        if number == len(self.texts):
            self.texts.append(text)
        return number


@dataclass(frozen=True, slots=True)
class Bucket:
    """Texts of similar length: `ids` (n, S) padded on the right, `last` (n,) index of the end."""

    ids: Tensor
    last: Tensor


@dataclass(frozen=True, slots=True)
class PackedTexts:
    """Buckets, and for each text its row in the concatenation of their features."""

    buckets: list[Bucket]
    row: Tensor

    def to(self, device: torch.device) -> PackedTexts:
        """The same texts with their tensors on a device."""
        buckets = [Bucket(b.ids.to(device), b.last.to(device)) for b in self.buckets]
        return PackedTexts(buckets, self.row.to(device))

    def encode(self, model: FGCLIP, *, long: bool) -> Tensor:
        """(T, E) features in the order of the texts that were packed; T may be 0."""
        if not self.buckets:
            return torch.zeros(0, model.embedding, device=self.row.device)
        parts = [model.encode_texts(bucket.ids, bucket.last, long=long) for bucket in self.buckets]
        return torch.cat(parts)[self.row]


def pack(token_ids: Sequence[Sequence[int]], max_rows: int = 4096) -> PackedTexts:
    """Sort texts by length and cut them into buckets that hold little padding.

    Args:
        token_ids: of each text, start and end included, so none is empty.
        max_rows: the most texts of a bucket.
    """
    order = sorted(range(len(token_ids)), key=lambda i: len(token_ids[i]))
    groups: list[list[int]] = []
    for i in order:
        group = groups[-1] if groups else []
        limit = _SLACK * len(token_ids[group[0]]) if group else 0
        if not group or len(group) == max_rows or len(token_ids[i]) > limit:
            groups.append([i])
        else:
            group.append(i)
    row = torch.empty(len(token_ids), dtype=torch.long)
    row[torch.tensor(order, dtype=torch.long)] = torch.arange(len(token_ids))
    return PackedTexts([_bucket([token_ids[i] for i in group]) for group in groups], row)


def _bucket(texts: list[Sequence[int]]) -> Bucket:
    ids = torch.zeros(len(texts), max(map(len, texts)), dtype=torch.long)
    for line, text in zip(ids, texts, strict=True):
        line[: len(text)] = torch.tensor(text)
    return Bucket(ids, torch.tensor([len(text) - 1 for text in texts]))
