"""FG-CLIP's losses (paper, section 3.2) as pure functions of unit-length embeddings.

Scales are temperatures' inverses, already out of the logarithm. Every loss of an empty set is 0
and still belongs to the graph, so that a batch without regions is a batch like any other.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

TILE = 1024
ABSENT = -1e4
"""Cosine of a candidate that is not there: its share of any softmax is exactly 0."""


def contrastive_loss(
    images: Tensor, texts: Tensor, scale: Tensor, names: Tensor | None = None, tile: int = TILE
) -> Tensor:
    """InfoNCE in both directions, averaged (CLIP).

    Computed in tiles of rows, and again going backward, so that no N×N matrix is kept.

    Args:
        images, texts: (N, E); row i of each belong together.
        scale: factor of the cosines.
        names: (N,) a number for each different text: pairs with the same one are not each other's
            negatives. None: all others are negatives.
        tile: rows of a tile.
    """
    if not len(images):
        return (images.sum() + texts.sum()) * scale * 0
    loss: Tensor = _Contrastive.apply(images.float(), texts.float(), scale, names, tile)
    return loss


class _Contrastive(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, images: Tensor, texts: Tensor, scale: Tensor, names: Tensor | None, tile: int
    ) -> Tensor:
        by_image = torch.empty_like(images[:, 0])  # logarithms of the softmaxes' denominators
        by_text = torch.full_like(by_image, float("-inf"))
        for start in range(0, len(images), tile):
            logits = _tile(images, texts, names, start, tile).mul_(scale)
            by_image[start : start + tile] = torch.logsumexp(logits, 1)
            by_text = torch.logaddexp(by_text, torch.logsumexp(logits, 0))
        ctx.save_for_backward(images, texts, scale, names, by_image, by_text)
        ctx.tile = tile
        own = scale * (images * texts).sum(1)
        return ((by_image + by_text) / 2 - own).mean()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        images, texts, scale, names, by_image, by_text = ctx.saved_tensors
        d_images, d_texts = torch.empty_like(images), torch.zeros_like(texts)
        d_scale = torch.zeros_like(scale)
        for start in range(0, len(images), ctx.tile):
            here = slice(start, start + ctx.tile)
            logits = _tile(images, texts, names, start, ctx.tile).mul_(scale)
            shares = (logits - by_image[here, None]).exp_()
            shares.add_(logits.sub_(by_text).exp_())
            shares.diagonal(start).sub_(2)
            d_images[here] = shares @ texts
            d_texts.addmm_(shares.T, images[here])
            d_scale += (d_images[here] * images[here]).sum()
        factor = grad / (2 * len(images))
        return d_images * (factor * scale), d_texts * (factor * scale), d_scale * factor, None, None


def _tile(images: Tensor, texts: Tensor, names: Tensor | None, start: int, size: int) -> Tensor:
    """Cosines of some images with all texts; -inf where the text is true of the image as well."""
    here = slice(start, start + size)
    cosines = images[here] @ texts.T
    if names is not None:
        same = names[here, None] == names
        same.diagonal(start).fill_(False)
        cosines.masked_fill_(same, float("-inf"))
    return cosines


def hard_negative_loss(cosines: Tensor, scale: Tensor) -> Tensor:
    """Cross entropies of regions' own phrases against their negatives, summed.

    Args:
        cosines: (H, 1 + N) of each region with its phrase, then with its negatives; `ABSENT` where
            there are fewer.
        scale: factor of the cosines.
    """
    target = torch.zeros(len(cosines), dtype=torch.long, device=cosines.device)
    return functional.cross_entropy(scale * cosines.float(), target, reduction="sum")
