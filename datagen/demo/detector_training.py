"""The two parts of the tiny detector's training, and the loop that runs each of them.

First the backbone alone learns to name kind, colour, finish and size of the object under each
cell (cheap steps, labels that the world gives away), then the whole detector learns to find the
phrases of a text. The heads of the first part stay out of the saved model.
"""

from __future__ import annotations

import ctypes
import logging
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import MMGroundingDinoForObjectDetection

from datagen.demo.autocast import autocast
from datagen.demo.detection_texts import VALUES
from datagen.demo.detector_data import UNTOLD, Batch
from datagen.demo.detector_loss import boxes_to_objects, cells_to_objects, corners, stage_loss

log = logging.getLogger(__name__)

EMPTY_WEIGHT = 0.2  # cells of the background outnumber those of objects fifteen to one
ATTRIBUTES_WEIGHT = 0.3  # of the heads' loss beside the detector's
MIN_LOGIT = -50.0  # padded tokens have -inf


def keep_memory() -> None:
    """Ask glibc to keep freed memory: returning it after each step costs a third of the time."""
    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD
        libc.mallopt(-3, 2**25)  # M_MMAP_THRESHOLD, its largest value
    except (OSError, AttributeError):
        log.info("no glibc here: training works, a little slower")


class AttributeHeads(nn.Module):
    """Linear heads that name the size, colour, finish and kind of the object under a cell."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.heads = nn.ModuleList(nn.Linear(channels, len(group) + 1) for group in VALUES)

    def forward(self, features: Tensor, owner: Tensor, attributes: Tensor) -> Tensor:
        """Summed cross entropy; ``features`` (B, S, C), ``owner`` (B, S), -1 for background."""
        index = owner.clamp(min=0)[..., None].expand(-1, -1, len(VALUES))
        labels = (attributes.gather(1, index) + 1).masked_fill(owner[..., None] < 0, 0)
        losses = []
        for position, head in enumerate(self.heads):
            logits = head(features).flatten(0, 1)
            weight = torch.ones(logits.shape[-1])
            weight[0] = EMPTY_WEIGHT
            wanted = labels[..., position].flatten()
            losses.append(cross_entropy(logits, wanted, weight, ignore_index=UNTOLD + 1))
        return torch.stack(losses).sum()


def backbone_loss(
    model: MMGroundingDinoForObjectDetection, heads: AttributeHeads, batch: Batch
) -> dict[str, Tensor]:
    """Loss of the first part: the attributes of each cell's object."""
    mask = torch.ones(batch.pixels.shape[0], *batch.pixels.shape[-2:], dtype=torch.long)
    with autocast():
        maps, _ = model.model.backbone(batch.pixels, mask)
        features = model.model.input_proj_vision[0](maps[0][0])
    return {"attributes": _attribute_loss(heads, features, batch)}


def detector_loss(
    model: MMGroundingDinoForObjectDetection, heads: AttributeHeads, batch: Batch
) -> dict[str, Tensor]:
    """Losses of the attributes, of the proposals and of every decoder layer, by name."""
    targets = batch.targets
    features: list[Tensor] = []
    hook = model.model.input_proj_vision[0].register_forward_hook(
        lambda _module, _inputs, output: features.append(output)
    )
    with autocast():
        out = model(
            pixel_values=batch.pixels, input_ids=batch.ids, attention_mask=targets.text.long()
        )
    hook.remove()
    length = batch.ids.shape[1]
    losses = {"attributes": ATTRIBUTES_WEIGHT * _attribute_loss(heads, features[0], batch)}
    boxes = corners(out.enc_outputs_coord_logits.float().sigmoid())
    owner = cells_to_objects(_cell_centres(*features[0].shape[-2:]), targets)
    logits = out.enc_outputs_class[..., :length].float().clamp(min=MIN_LOGIT)
    losses["class_0"], losses["box_0"] = stage_loss(logits, boxes, owner, None, targets)
    reference = out.init_reference_points
    for layer in range(model.config.decoder_layers):
        hidden = out.intermediate_hidden_states[:, layer]
        # In float32: a box's last refinement is smaller than bfloat16's steps.
        logits = model.class_embed[layer](
            hidden.float(), out.encoder_last_hidden_state_text.float(), targets.text
        )[..., :length].clamp(min=MIN_LOGIT)
        delta = model.bbox_embed[layer](hidden.float())
        boxes = corners((delta + torch.special.logit(reference.float(), eps=1e-5)).sigmoid())
        owner, doubt = boxes_to_objects(boxes.detach(), targets)
        name = str(layer + 1)
        losses[f"class_{name}"], losses[f"box_{name}"] = stage_loss(
            logits, boxes, owner, doubt, targets
        )
        reference = out.intermediate_reference_points[:, layer]
    return losses


def run_steps(
    name: str,
    steps: int,
    parameters: list[nn.Parameter],
    learning_rate: float,
    losses_of: Callable[[], dict[str, Tensor]],
    after: Callable[[int], None] = lambda step: None,
) -> None:
    """AdamW with a warm-up and one cosine; logs the mean of every loss each 100 steps.

    ``losses_of`` gives the losses of a fresh batch, ``after`` is called with every step's number.
    """
    optimizer = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=0.02, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, learning_rate, total_steps=steps, pct_start=min(0.1, 200 / steps),
        cycle_momentum=False, div_factor=20, final_div_factor=100,
    )  # fmt: skip
    sums: dict[str, float] = {}
    start = time.monotonic()
    for step in range(1, steps + 1):
        losses = losses_of()
        total = torch.stack(list(losses.values())).sum()
        optimizer.zero_grad(set_to_none=True)
        total.backward()
        nn.utils.clip_grad_norm_(parameters, 5.0)
        optimizer.step()
        schedule.step()
        for key, value in losses.items():
            sums[key] = sums.get(key, 0.0) + float(value.detach())
        if step % 100 == 0 or step == steps:
            rate = (time.monotonic() - start) / step
            done = step % 100 or 100
            means = "  ".join(f"{key} {value / done:.3f}" for key, value in sums.items())
            log.info("%s %d/%d  %.2f s/step  %s", name, step, steps, rate, means)
            sums = {}
        after(step)


def _attribute_loss(heads: AttributeHeads, features: Tensor, batch: Batch) -> Tensor:
    """The heads' loss on a feature map (B, C, H, W)."""
    flat = features.float().flatten(2).transpose(1, 2)
    owner = cells_to_objects(_cell_centres(*features.shape[-2:]), batch.targets)
    return heads(flat, owner, batch.attributes)


def _cell_centres(height: int, width: int) -> Tensor:
    """Centres (height * width, 2) of the cells of a feature map, as x, y in 0..1."""
    y, x = torch.meshgrid(
        (torch.arange(height) + 0.5) / height, (torch.arange(width) + 0.5) / width, indexing="ij"
    )
    return torch.stack((x, y), -1).flatten(0, 1)
