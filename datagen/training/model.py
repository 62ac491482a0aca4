"""FG-CLIP's model: CLIP's two towers, long texts, and features of regions.

Parameters carry the names of the published FG-CLIP checkpoints, which extend those of
transformers' `CLIPModel`. Sources: CLIP (Radford et al. 2021); Long-CLIP (Zhang et al. 2024) for
the stretched positions; FG-CLIP (Xie et al. 2025), section 3, for the rest.

Shapes: B images, P patches, R regions, D width of a tower, E of the embedding.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from transformers import CLIPConfig
from transformers.models.clip.modeling_clip import CLIPTextModel, CLIPVisionModel

from datagen.training.attention import Dense, Plan
from datagen.training.blocks import block, last_block, mlp
from datagen.training.roi import roi_means, roi_weights, touched_patches
from datagen.training.tree import TextTree

KEPT_POSITIONS = 20  # the first positions of a text, which stretching leaves as they are
STRETCH = 4
MAX_LOGIT_SCALE = math.log(100)


class FGCLIP(nn.Module):
    """CLIP with long texts and regions. All embeddings come out with unit length.

    Args:
        config: sizes, as transformers describes CLIP. `text_config.max_position_embeddings` is
            the length of short texts, above 20; long texts may have `long_positions` of it.
    """

    logit_scale: nn.Parameter
    logit_scale_finegraind: nn.Parameter
    logit_scale_hardneg: nn.Parameter

    def __init__(self, config: CLIPConfig) -> None:
        super().__init__()
        text: Any = config.text_config
        vision: Any = config.vision_config
        self.config = config
        self.checkpointing = False
        """Compute blocks again in the backward pass instead of keeping what they need for it."""
        self.compiled = False
        """Run blocks compiled by torch.compile."""
        self.image_size: int = vision.image_size
        self.patch_size: int = vision.patch_size
        self.embedding: int = config.projection_dim or 0
        self.short_tokens: int = text.max_position_embeddings
        # transformers' towers are untyped inside
        self.text_model: Any = CLIPTextModel(text)
        self.vision_model: Any = CLIPVisionModel(vision)
        embeddings = self.text_model.embeddings
        for name in ("position_embedding_ori", "position_embedding_res"):
            length = long_positions(self.short_tokens)
            setattr(embeddings, name, nn.Embedding(length, text.hidden_size))
        self.visual_projection = nn.Linear(vision.hidden_size, self.embedding, bias=False)
        self.text_projection = nn.Linear(text.hidden_size, self.embedding, bias=False)
        self.text_filip_projection = nn.Linear(text.hidden_size, self.embedding, bias=False)
        for name in ("logit_scale", "logit_scale_finegraind", "logit_scale_hardneg"):
            setattr(self, name, nn.Parameter(torch.tensor(config.logit_scale_init_value)))
        for projection in (self.visual_projection, self.text_projection):
            nn.init.normal_(projection.weight, std=projection.in_features**-0.5)
        self.start_from_clip()

    @torch.no_grad()
    def start_from_clip(self) -> None:
        """Give what FG-CLIP adds its first values, from CLIP's parameters."""
        embeddings = self.text_model.embeddings
        stretched = stretch_positions(embeddings.position_embedding.weight)
        embeddings.position_embedding_ori.weight.copy_(stretched)
        embeddings.position_embedding_res.weight.copy_(stretched)
        self.text_filip_projection.weight.copy_(self.text_projection.weight)
        self.logit_scale_finegraind.copy_(self.logit_scale)
        self.logit_scale_hardneg.copy_(self.logit_scale)

    def encode_images(
        self, pixels: Tensor, boxes: Tensor, image_of_box: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Embed images and regions in one pass.

        The last block is computed where it is read: with attention at the class tokens, and
        without (values only, FG-CLIP's dense features) at the patches that boxes touch. The
        projection has no bias, so it commutes with RoIAlign's mean and is taken after it.

        Args:
            pixels: (B, 3, H, W), normalised as CLIP's are.
            boxes: (R, 4) x1, y1, x2, y2, in 0..1 of the picture; R may be 0.
            image_of_box: (R,) index into B of each box.

        Returns:
            images (B, E) and regions (R, E).
        """
        tower = self.vision_model
        hidden = tower.pre_layrnorm(tower.embeddings(pixels))
        count, length, _ = hidden.shape
        *layers, last = tower.encoder.layers
        rows = self._blocks(layers, hidden.flatten(0, 1), Dense(count))
        grid = (pixels.shape[2] // self.patch_size, pixels.shape[3] // self.patch_size)
        weights = roi_weights(boxes.float(), *grid)
        touched = touched_patches(weights, image_of_box, count)
        image, patch = touched // (length - 1), touched % (length - 1)
        read = image * length + 1 + patch
        classes = torch.arange(count, device=rows.device) * length
        attended, values = last_block(last, rows, classes, Dense(count))
        patches = rows[read] + last.self_attn.out_proj(values[read])
        out = tower.post_layernorm(mlp(last, torch.cat([attended, patches])))
        means = roi_means(out[count:], touched, weights, image_of_box, count)
        projected = self.visual_projection(torch.cat([out[:count], means]))
        images, regions = functional.normalize(projected.float(), dim=-1).split([count, len(boxes)])
        return images, regions

    def encode_texts(self, tree: TextTree) -> tuple[Tensor, Tensor]:
        """Embed the texts of a tree.

        Returns:
            short texts and long texts, (its ends, E) each.
        """
        tower = self.text_model
        hidden = tower.embeddings.token_embedding(tree.ids)
        rows = hidden + functional.embedding(tree.positions, self._positions())
        *layers, last = tower.encoder.layers
        rows = self._blocks(layers, rows, tree.plan)
        attended, _ = last_block(last, rows, tree.ends, tree.last_plan)
        pooled = tower.final_layer_norm(mlp(last, attended))
        short = self.text_projection(pooled[: tree.short_ends])
        long = self.text_filip_projection(pooled[tree.short_ends :])
        return functional.normalize(short.float(), dim=-1), functional.normalize(
            long.float(), dim=-1
        )

    def _blocks(self, layers: Iterable[Any], rows: Tensor, plan: Plan | Dense) -> Tensor:
        run = torch.compile(block, dynamic=True) if self.compiled else block
        for layer in layers:
            if self.checkpointing and torch.is_grad_enabled():
                rows = checkpoint(run, layer, rows, plan, use_reentrant=False)
            else:
                rows = run(layer, rows, plan)
        return rows

    def _positions(self) -> Tensor:
        """Of short texts, then of long ones: the first 20 of the one table, the others' of two."""
        embeddings = self.text_model.embeddings
        kept = embeddings.position_embedding_ori.weight[:KEPT_POSITIONS]
        later = embeddings.position_embedding_res.weight[KEPT_POSITIONS:]
        return torch.cat([embeddings.position_embedding.weight, kept, later])

    def max_tokens(self, *, long: bool) -> int:
        """The most tokens a text may have, start and end included."""
        return long_positions(self.short_tokens) if long else self.short_tokens

    @torch.no_grad()
    def clamp_logit_scales(self) -> None:
        """Keep the temperatures from running away: at most 100, as in CLIP."""
        for scale in (self.logit_scale, self.logit_scale_finegraind, self.logit_scale_hardneg):
            scale.clamp_(max=MAX_LOGIT_SCALE)


def long_positions(short: int) -> int:
    """Length of the stretched positions: 77 → 248.

    Raises:
        ValueError: `short` is not above the 20 positions that are kept.
    """
    if short <= KEPT_POSITIONS:
        raise ValueError(f"max_position_embeddings must be above {KEPT_POSITIONS}, not {short}.")
    return STRETCH * (short - KEPT_POSITIONS) + KEPT_POSITIONS


def stretch_positions(short: Tensor) -> Tensor:
    """Long-CLIP's positions: the first 20 kept, each later one followed by three between.

    Args:
        short: (L, D) positions of short texts.

    Returns:
        (4 (L - 20) + 20, D). After the last position the line is drawn on.
    """
    kept, later = short[:KEPT_POSITIONS], short[KEPT_POSITIONS:]
    after = torch.cat([later[1:], (2 * short[-1] - short[-2])[None]])
    share = torch.arange(STRETCH, device=short.device, dtype=short.dtype)[:, None] / STRETCH
    between = later[:, None] * (1 - share) + after[:, None] * share  # (L - 20, 4, D)
    return torch.cat([kept, between.flatten(0, 1)])
