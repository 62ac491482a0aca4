"""The training objective: what the model's losses on a batch are, and their weighted sum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from datagen.training.batch import Batch, normalised
from datagen.training.distributed import gather, total
from datagen.training.losses import ABSENT, contrastive_loss, hard_negative_loss
from datagen.training.model import FGCLIP


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """Weights of the terms, the paper's by default. A term of weight 0 is not computed."""

    long_weight: float = 1.0
    short_weight: float = 1.0
    region_weight: float = 0.1
    hard_weight: float = 0.5
    same_text_is_negative: bool = False
    """Regions with the same text are each other's negatives, as in the published code."""
    local_regions: bool = False
    """The region loss of each rank over its own regions alone, as in the published code."""

    @property
    def uses_regions(self) -> bool:
        """Whether any term looks at regions."""
        return self.region_weight > 0 or self.hard_weight > 0


class Features(NamedTuple):
    """All that the losses need of a batch: B images, R regions, H of them with N negatives."""

    images: Tensor
    """(B, E)"""
    long: Tensor
    """(B, E)"""
    short: Tensor
    """(B, E)"""
    regions: Tensor
    """(R, E)"""
    region_texts: Tensor
    """(R, E)"""
    hard: Tensor
    """(H, 1 + N) cosines of a region with its phrase, then with its negatives"""
    scales: Tensor
    """(3,) factors of the cosines: global, region, hard"""


@dataclass(frozen=True, slots=True)
class Losses:
    """Terms before weighting, scalars, and their weighted sum."""

    total: Tensor
    long: Tensor
    short: Tensor
    region: Tensor
    hard: Tensor

    def values(self) -> dict[str, float]:
        """Plain numbers by name, for the log."""
        return {name: float(getattr(self, name).detach()) for name in self.__slots__}


class Encoder(nn.Module):
    """A model from batch to features; what DistributedDataParallel wraps."""

    def __init__(self, model: FGCLIP) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch) -> Features:
        """Encode each image and each different text once."""
        model = self.model
        images, regions = model.encode_images(
            normalised(batch.pixels), batch.boxes, batch.image_of_box
        )
        short, long = model.encode_texts(batch.tree)
        candidates = short[batch.candidates]
        hard = torch.einsum("he,hne->hn", regions[batch.hard], candidates)
        scales: list[Tensor] = [
            model.logit_scale,
            model.logit_scale_finegraind,
            model.logit_scale_hardneg,
        ]
        return Features(
            images=images,
            long=long[batch.long],
            short=short[batch.short],
            regions=regions,
            region_texts=short[batch.text_of_region],
            hard=hard.masked_fill(~batch.valid, ABSENT),
            scales=torch.stack(scales).exp(),
        )


def compute_losses(features: Features, names: Tensor, config: LossConfig) -> Losses:
    """FG-CLIP's losses: global, region and hard negatives (paper, section 3.2), over all ranks.

    Args:
        names: (R,) the numbers of the regions' texts, see `Batch.names`.
    """
    scales = features.scales
    zero = scales.new_zeros(())
    long = short = region = hard = zero
    images = gather(features.images)
    if config.long_weight > 0:
        long = contrastive_loss(images, gather(features.long), scales[0])
    if config.short_weight > 0:
        short = contrastive_loss(images, gather(features.short), scales[0])
    if config.region_weight > 0:
        region = _region_loss(features, names, config)
    if config.hard_weight > 0:
        count = total(zero + len(features.hard)).clamp(min=1)
        hard = total(hard_negative_loss(features.hard, scales[2])) / count
    terms = torch.stack([long, short, region, hard])
    weights = terms.new_tensor(
        [config.long_weight, config.short_weight, config.region_weight, config.hard_weight]
    )
    return Losses((terms * weights).sum(), long, short, region, hard)


def _region_loss(features: Features, names: Tensor, config: LossConfig) -> Tensor:
    regions, texts, scale = features.regions, features.region_texts, features.scales[1]
    if not config.local_regions:
        regions, texts, names = gather(regions), gather(texts), gather(names)
    return contrastive_loss(regions, texts, scale, None if config.same_text_is_negative else names)
