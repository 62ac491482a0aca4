"""A batch: images, the tree of all their texts, and which text belongs where."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from datagen.training.data import Region, Sample
from datagen.training.texts import TextEncoder
from datagen.training.tree import TextTree, build_tree

# CLIP's, per channel, of values in 0..1
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """B images, R regions, H regions among them that have negatives, N of those at most.

    Numbers of texts index the tree's: `long` its long ones, all others its short ones.
    """

    image_ids: list[str]
    pixels: Tensor
    """(B, 3, H, W) uint8, or float and normalised"""
    tree: TextTree
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
    names: Tensor
    """(R,) the same number for the same text, in every batch and process"""
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


def make_batch(
    samples: Sequence[Sample], encoder: TextEncoder, *, regions: bool = True, hard: bool = True
) -> Batch:
    """Collate samples.

    Args:
        samples: at least one.
        regions: take the regions too; without them their texts are not even encoded.
        hard: take the negatives too, likewise.
    """
    pixels = torch.from_numpy(np.stack([sample.pixels for sample in samples])).permute(0, 3, 1, 2)
    return collate(
        pixels,
        samples,
        [sample.regions if regions else () for sample in samples],
        encoder,
        hard=hard,
    )


def collate(
    pixels: Tensor,
    samples: Sequence[Sample],
    regions: Sequence[Sequence[Region]],
    encoder: TextEncoder,
    *,
    hard: bool = True,
) -> Batch:
    """A batch of pixels that are there already (B, 3, H, W), with regions of each sample."""
    pairs = [(i, region) for i, found in enumerate(regions) for region in found]
    with_negatives = [r for r, (_, region) in enumerate(pairs) if hard and region.negatives]
    rows = [[pairs[r][1].phrase, *pairs[r][1].negatives] for r in with_negatives]
    width = max(map(len, rows), default=1)
    padded = [row + row[:1] * (width - len(row)) for row in rows]
    texts = [sample.short for sample in samples] + [region.text for _, region in pairs]
    tree, short, long = build_tree(
        encoder.ids([*texts, *(text for row in padded for text in row)], long=False),
        encoder.ids([sample.long for sample in samples], long=True),
        encoder.short_tokens,
    )
    counts = torch.tensor([len(row) for row in rows], dtype=torch.long)
    of_image, of_region, of_candidate = short.split([len(samples), len(pairs), len(rows) * width])
    return Batch(
        image_ids=[sample.image_id for sample in samples],
        pixels=pixels,
        tree=tree,
        long=long,
        short=of_image,
        boxes=torch.tensor([region.box for _, region in pairs]).reshape(-1, 4),
        image_of_box=torch.tensor([i for i, _ in pairs], dtype=torch.long),
        text_of_region=of_region,
        names=torch.tensor([_name(region.text) for _, region in pairs], dtype=torch.long),
        hard=torch.tensor(with_negatives, dtype=torch.long),
        candidates=of_candidate.view(len(rows), width),
        valid=torch.arange(width) < counts[:, None],
    )


def _name(text: str) -> int:
    """63 bits that all processes agree on."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def batches(samples: Iterable[Sample], size: int) -> Iterator[list[Sample]]:
    """Lists of `size` samples; what is left at the end is dropped, so that losses compare."""
    group: list[Sample] = []
    for sample in samples:
        group.append(sample)
        if len(group) == size:
            yield group
            group = []


def normalised(pixels: Tensor) -> Tensor:
    """(B, 3, H, W) uint8 → float with CLIP's mean and deviation; float as it is."""
    if pixels.is_floating_point():
        return pixels
    mean = torch.tensor(MEAN, device=pixels.device).view(3, 1, 1)
    std = torch.tensor(STD, device=pixels.device).view(3, 1, 1)
    return (pixels.float() / 255 - mean) / std
