"""The loss of the small world's detector.

transformers' own loss gives the first stage (the proposals) no gradient and mixes up labels when
the texts of a batch differ. Here both stages learn from many positives for each object: the first
from the cells around an object's centre (FCOS, https://arxiv.org/abs/1904.01355), the decoder from
every query whose box fits (DETA, https://arxiv.org/abs/2212.06137). Duplicates are left to NMS.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

CELLS_PER_OBJECT = 5
POSITIVE_IOU, NEGATIVE_IOU = 0.6, 0.4


@dataclass(frozen=True)
class Targets:
    """The truth of a batch: B pictures, up to O objects, T text tokens.

    ``boxes`` (B, O, 4) as x1, y1, x2, y2 in 0..1; ``valid`` (B, O) whether there is an object;
    ``tokens`` (B, O, T) whether a token belongs to a phrase that is true of the object;
    ``text`` (B, T) whether a token is real (no padding).
    """

    boxes: Tensor
    valid: Tensor
    tokens: Tensor
    text: Tensor


def corners(boxes: Tensor) -> Tensor:
    """Boxes (..., 4) from centre, width, height to x1, y1, x2, y2."""
    centre, half = boxes[..., :2], boxes[..., 2:] / 2
    return torch.cat((centre - half, centre + half), -1)


def pairwise_iou(a: Tensor, b: Tensor) -> Tensor:
    """IoU (B, N, M) of the boxes a (B, N, 4) with b (B, M, 4), both x1, y1, x2, y2."""
    low = torch.maximum(a[:, :, None, :2], b[:, None, :, :2])
    high = torch.minimum(a[:, :, None, 2:], b[:, None, :, 2:])
    shared = (high - low).clamp(min=0).prod(-1)
    area_a, area_b = (a[..., 2:] - a[..., :2]).prod(-1), (b[..., 2:] - b[..., :2]).prod(-1)
    return shared / (area_a[:, :, None] + area_b[:, None] - shared + 1e-7)


def box_loss(predicted: Tensor, true: Tensor) -> Tensor:
    """5 L1 + 2 (1 - GIoU) of pairs of boxes (N, 4) in corners: the weights of DETR."""
    low, high = torch.maximum(predicted, true), torch.minimum(predicted, true)
    shared = (high[:, 2:] - low[:, :2]).clamp(min=0).prod(-1)
    area = (predicted[:, 2:] - predicted[:, :2]).prod(-1) + (true[:, 2:] - true[:, :2]).prod(-1)
    union = area - shared + 1e-7
    around = (high[:, :2].minimum(low[:, :2]), low[:, 2:].maximum(high[:, 2:]))
    hull = (around[1] - around[0]).prod(-1) + 1e-7
    giou = shared / union - (hull - union) / hull
    return 5 * (predicted - true).abs().sum(-1) + 2 * (1 - giou)


def focal_loss(logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Sum of the sigmoid focal loss (alpha 0.4, gamma 2) over the places of weight 1."""
    chance = logits.sigmoid()
    missed = torch.where(targets > 0, 1 - chance, chance)
    alpha = torch.where(targets > 0, 0.4, 0.6)
    cross_entropy = binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return (alpha * missed**2 * cross_entropy * weights).sum()


def cells_to_objects(centres: Tensor, targets: Targets) -> Tensor:
    """For every cell (S, 2 centres in 0..1) its object (B, S), or -1: the cells nearest to the
    centre of an object, inside its box, go to it."""
    boxes = targets.boxes
    middle = (boxes[..., :2] + boxes[..., 2:]) / 2
    distance = (centres[None, None] - middle[:, :, None]).square().sum(-1)  # B, O, S
    inside = (
        (centres[None, None] > boxes[:, :, None, :2])
        & (centres[None, None] < boxes[:, :, None, 2:])
    ).all(-1) & targets.valid[..., None]
    distance = distance.masked_fill(~inside, float("inf"))
    limit = distance.topk(CELLS_PER_OBJECT, dim=-1, largest=False).values[..., -1:]
    distance = distance.masked_fill(distance > limit, float("inf"))
    nearest, owner = distance.min(1)
    return owner.masked_fill(nearest.isinf(), -1)


def boxes_to_objects(boxes: Tensor, targets: Targets) -> tuple[Tensor, Tensor]:
    """For every query's box (B, Q, 4) its object or -1, and whether it is in doubt (B, Q).

    A query belongs to the object that it overlaps most with IoU >= 0.6; every object gets at
    least the query that fits it best. Between 0.4 and 0.6 a query is in doubt.
    """
    overlap = pairwise_iou(boxes, targets.boxes).masked_fill(~targets.valid[:, None], -1)
    best, owner = overlap.max(-1)
    doubt = (best >= NEGATIVE_IOU) & (best < POSITIVE_IOU)
    owner = owner.masked_fill(best < POSITIVE_IOU, -1)
    forced = overlap.argmax(1)  # B, O
    picture, which = targets.valid.nonzero(as_tuple=True)
    owner[picture, forced[picture, which]] = which
    doubt[picture, forced[picture, which]] = False
    return owner, doubt


def stage_loss(
    logits: Tensor, boxes: Tensor, owner: Tensor, doubt: Tensor | None, targets: Targets
) -> tuple[Tensor, Tensor]:
    """Class and box loss of one stage, each for one positive.

    ``logits`` (B, N, T), ``boxes`` (B, N, 4) in corners, ``owner`` (B, N) from the assignment.
    """
    positive = owner >= 0
    index = owner.clamp(min=0)[..., None]
    width = targets.tokens.shape[-1]
    wanted = targets.tokens.gather(1, index.expand(-1, -1, width)) * positive[..., None]
    weights = targets.text[:, None].expand_as(wanted).float()
    if doubt is not None:
        weights = weights * ~doubt[..., None]
    count = positive.sum().clamp(min=1)
    classes = focal_loss(logits, wanted, weights) / count
    true = targets.boxes.gather(1, index.expand(-1, -1, 4))
    return classes, box_loss(boxes[positive], true[positive]).sum() / count
