"""FG-CLIP's losses (paper, section 3.2) as pure functions of unit-length embeddings.

Scales are temperatures' inverses, already out of the logarithm. Every loss of an empty set is 0
and still belongs to the graph, so that a batch without regions is a batch like any other.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def contrastive_loss(
    images: Tensor, texts: Tensor, scale: Tensor, same: Tensor | None = None
) -> Tensor:
    """InfoNCE in both directions, averaged (CLIP).

    Args:
        images, texts: (N, E); row i of each belong together.
        scale: factor of the cosines.
        same: (N, N), true where text j is also true of image i: such pairs are left out of the
            negatives. The diagonal does not matter.
    """
    if not len(images):
        return (images.sum() + texts.sum()) * scale * 0
    logits = scale * images @ texts.T
    if same is not None:
        own = torch.eye(len(images), dtype=torch.bool, device=images.device)
        logits = logits.masked_fill(same & ~own, float("-inf"))
    target = torch.arange(len(images), device=images.device)
    return (
        functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target)
    ) / 2


def region_loss(
    regions: Tensor, texts: Tensor, scale: Tensor, text_of_region: Tensor | None
) -> Tensor:
    """InfoNCE over the regions of all images.

    Args:
        regions, texts: (R, E).
        scale: factor of the cosines.
        text_of_region: (R,) a number for each different text: regions that share one are not each
            other's negatives. None: they are, as in the published code.
    """
    same = None if text_of_region is None else text_of_region[:, None] == text_of_region[None, :]
    return contrastive_loss(regions, texts, scale, same)


def hard_negative_loss(regions: Tensor, candidates: Tensor, valid: Tensor, scale: Tensor) -> Tensor:
    """Cross entropy of a region's own phrase against its negatives.

    Args:
        regions: (H, E) the regions that have negatives.
        candidates: (H, 1 + N, E); column 0 is the true phrase; rows may be padded.
        valid: (H, 1 + N), false at the padding.
        scale: factor of the cosines.
    """
    if not len(regions):
        return (regions.sum() + candidates.sum()) * scale * 0
    logits = scale * torch.einsum("he,hne->hn", regions, candidates)
    target = torch.zeros(len(regions), dtype=torch.long, device=regions.device)
    return functional.cross_entropy(logits.masked_fill(~valid, float("-inf")), target)
