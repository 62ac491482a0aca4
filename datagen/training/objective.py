"""The training objective: what the model's losses on a batch are, and their weighted sum."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from datagen.training.batch import Batch, normalised
from datagen.training.losses import contrastive_loss, hard_negative_loss, region_loss
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

    @property
    def uses_regions(self) -> bool:
        """Whether any term looks at regions."""
        return self.region_weight > 0 or self.hard_weight > 0


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


def compute_losses(model: FGCLIP, batch: Batch, config: LossConfig) -> Losses:
    """FG-CLIP's losses of a batch: global, region and hard negatives (paper, section 3.2)."""
    kept = len(batch.boxes) if config.uses_regions else 0
    images, regions = model.encode_images(
        normalised(batch.pixels), batch.boxes[:kept], batch.image_of_box[:kept]
    )
    short_texts = batch.short_texts.encode(model, long=False)
    zero = images.new_zeros(())
    long = short = region = hard = zero
    if config.long_weight > 0:
        texts = batch.long_texts.encode(model, long=True)[batch.long]
        long = contrastive_loss(images, texts, model.logit_scale.exp())
    if config.short_weight > 0:
        short = contrastive_loss(images, short_texts[batch.short], model.logit_scale.exp())
    if config.region_weight > 0:
        names = None if config.same_text_is_negative else batch.text_of_region
        texts = short_texts[batch.text_of_region]
        region = region_loss(regions, texts, model.logit_scale_finegraind.exp(), names)
    if config.hard_weight > 0:
        scale = model.logit_scale_hardneg.exp()
        candidates = short_texts[batch.candidates]
        hard = hard_negative_loss(regions[batch.hard], candidates, batch.valid, scale)
    terms = torch.stack([long, short, region, hard])
    weights = terms.new_tensor(
        [config.long_weight, config.short_weight, config.region_weight, config.hard_weight]
    )
    return Losses((terms * weights).sum(), long, short, region, hard)
