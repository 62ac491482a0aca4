"""RoIAlign with one output cell, written as a weighted mean of patch features.

RoIAlign 1×1 (Mask R-CNN, `aligned=True`, adaptive sampling) averages bilinear samples on a regular
grid inside the box. Both the samples and the interpolation are separable, so the weight of a patch
is the product of a weight for its row and one for its column.
"""

from __future__ import annotations

import torch
from torch import Tensor


def axis_weights(low: Tensor, high: Tensor, size: int) -> Tensor:
    """Weights of the cells of one axis for intervals on it.

    Args:
        low, high: (R,) ends of the intervals, in 0..1 of the axis.
        size: number of cells.

    Returns:
        (R, size) weights; a row sums to 1 where the interval lies inside 0..1, and is all zeros
        where it is empty.
    """
    start = low * size - 0.5  # cell j is centred at j
    extent = (high * size - 0.5) - start  # rounds as RoIAlign does, which decides the samples
    samples = extent.ceil().clamp(min=0)  # adaptive sampling: about one sample a cell
    most = max(1, int(samples.max())) if len(samples) else 1
    index = torch.arange(most, device=low.device, dtype=low.dtype)
    step = extent / samples.clamp(min=1)
    points = start[:, None] + (index + 0.5) * step[:, None]  # (R, most)
    used = (index < samples[:, None]) & (points >= -1) & (points <= size)
    points = points.clamp(0, size - 1)
    cells = torch.arange(size, device=low.device, dtype=low.dtype)
    hat = (1 - (points[..., None] - cells).abs()).clamp(min=0)  # linear interpolation
    return (hat * used[..., None]).sum(1) / samples.clamp(min=1)[:, None]


def roi_weights(boxes: Tensor, rows: int, columns: int) -> Tensor:
    """Weights of the patches for boxes.

    Args:
        boxes: (R, 4) x1, y1, x2, y2, in 0..1 of the picture.
        rows, columns: the patch grid.

    Returns:
        (R, rows * columns) weights, row by row of the grid.
    """
    x1, y1, x2, y2 = boxes.unbind(-1)
    down = axis_weights(y1, y2, rows)
    across = axis_weights(x1, x2, columns)
    return (down[:, :, None] * across[:, None, :]).flatten(1)


def touched_patches(weights: Tensor, image_of_box: Tensor, images: int) -> Tensor:
    """The patches that some box has a weight on.

    Args:
        weights: (R, P), see `roi_weights`.
        image_of_box: (R,) index of each box's image.
        images: number of images B.

    Returns:
        (M,) ascending indices into the B * P patches of all images.
    """
    touched = torch.zeros(images, weights.shape[1], device=weights.device)
    touched.index_add_(0, image_of_box, (weights > 0).to(touched.dtype))
    return touched.flatten().nonzero().flatten()


def roi_means(
    patches: Tensor, touched: Tensor, weights: Tensor, image_of_box: Tensor, images: int
) -> Tensor:
    """RoIAlign 1×1 of many boxes.

    Args:
        patches: (M, D) features of the patches that boxes touch.
        touched: (M,) which those are, see `touched_patches`.
        weights: (R, P), see `roi_weights`; R may be 0.
        image_of_box: (R,) index of each box's image.
        images: number of images B.

    Returns:
        (R, D) in the type of `patches`.
    """
    boxes, count = weights.shape
    if not boxes:
        return patches.new_zeros(0, patches.shape[1])
    grid = patches.new_zeros(images * count, patches.shape[1]).index_copy(0, touched, patches)
    # One padded product an image, instead of a copy of all patches for every box.
    order = torch.argsort(image_of_box, stable=True)
    counts = torch.bincount(image_of_box, minlength=images)
    first = torch.cumsum(counts, 0) - counts
    slot = torch.empty_like(image_of_box)
    slot[order] = torch.arange(boxes, device=weights.device) - first[image_of_box[order]]
    padded = patches.new_zeros(images, int(counts.max()), count)
    padded[image_of_box, slot] = weights.to(patches.dtype)
    return torch.bmm(padded, grid.view(images, count, -1))[image_of_box, slot]
