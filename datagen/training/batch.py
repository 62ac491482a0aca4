"""A batch: images, the different texts of all of them, and which text belongs where."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from datagen.training.data import Sample
from datagen.training.packing import PackedTexts, TextTable, pack
from datagen.training.texts import TextEncoder

# CLIP's, per channel, of values in 0..1
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """B images, R regions, H regions among them that have negatives, N of those at most.

    Texts are numbered: `long` numbers index `long_texts`, all others `short_texts`.
    """

    image_ids: list[str]
    pixels: Tensor
    """(B, 3, H, W) uint8"""
    long_texts: PackedTexts
    short_texts: PackedTexts
    long: Tensor
    """(B,)"""
    short: Tensor
    """(B,)"""
    boxes: Tensor
    """(R, 4) x1, y1, x2, y2 in 0..1"""
    image_of_box: Tensor
    """(R,)"""
    text_of_region: Tensor
    """(R,)"""
    hard: Tensor
    """(H,) index into R"""
    candidates: Tensor
    """(H, 1 + N) the phrase, then its negatives; 0 where there are fewer"""
    valid: Tensor
    """(H, 1 + N) false where there are fewer"""

    def to(self, device: torch.device) -> Batch:
        """The same batch with its tensors on a device."""
        if device.type == "cpu":
            return self
        moved: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            moved[field.name] = value if isinstance(value, list) else value.to(device)
        return Batch(**moved)


def make_batch(samples: Sequence[Sample], encoder: TextEncoder, *, hard: bool) -> Batch:
    """Collate samples.

    Args:
        samples: at least one.
        hard: take the negatives too; without them their texts are not even encoded.
    """
    long_texts, short_texts = TextTable(), TextTable()
    long = [long_texts.add(sample.long) for sample in samples]
    short = [short_texts.add(sample.short) for sample in samples]
    pairs = [(i, region) for i, sample in enumerate(samples) for region in sample.regions]
    text_of_region = [short_texts.add(region.text) for _, region in pairs]
    with_negatives = [r for r, (_, region) in enumerate(pairs) if hard and region.negatives]
    rows = []
    for r in with_negatives:
        region = pairs[r][1]
        rows.append([short_texts.add(text) for text in (region.phrase, *region.negatives)])
    width = max(map(len, rows), default=1)
    return Batch(
        image_ids=[sample.image_id for sample in samples],
        pixels=torch.from_numpy(np.stack([s.pixels for s in samples])).permute(0, 3, 1, 2),
        long_texts=pack(encoder.ids(long_texts.texts, long=True)),
        short_texts=pack(encoder.ids(short_texts.texts, long=False)),
        long=torch.tensor(long),
        short=torch.tensor(short),
        boxes=torch.tensor([region.box for _, region in pairs]).reshape(-1, 4),
        image_of_box=torch.tensor([i for i, _ in pairs], dtype=torch.long),
        text_of_region=torch.tensor(text_of_region, dtype=torch.long),
        hard=torch.tensor(with_negatives, dtype=torch.long),
        candidates=torch.tensor([row + [0] * (width - len(row)) for row in rows], dtype=torch.long)
        .reshape(-1, width),
        valid=torch.tensor([[i < len(row) for i in range(width)] for row in rows], dtype=torch.bool)
        .reshape(-1, width),
    )  # fmt: skip


def batches(samples: Iterable[Sample], size: int) -> Iterator[list[Sample]]:
    """Lists of `size` samples; what is left at the end is dropped, so that losses compare."""
    group: list[Sample] = []
    for sample in samples:
        group.append(sample)
        if len(group) == size:
            yield group
            group = []


def normalised(pixels: Tensor) -> Tensor:
    """(B, 3, H, W) uint8 → float with CLIP's mean and deviation."""
    mean = torch.tensor(MEAN, device=pixels.device).view(3, 1, 1)
    std = torch.tensor(STD, device=pixels.device).view(3, 1, 1)
    return (pixels.float() / 255 - mean) / std
