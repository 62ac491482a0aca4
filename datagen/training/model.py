"""FG-CLIP's model: CLIP's two towers, long texts, and features of regions.

Parameters carry the names of the published FG-CLIP checkpoints, which extend those of
transformers' `CLIPModel`. Sources: CLIP (Radford et al. 2021); Long-CLIP (Zhang et al. 2024) for
the stretched positions; FG-CLIP (Xie et al. 2025), section 3, for the rest.

Shapes: B images, P patches, R regions, T texts, S tokens, D width of a tower, E of the embedding.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPConfig
from transformers.models.clip.modeling_clip import CLIPEncoder, CLIPTextModel, CLIPVisionModel

from datagen.training.roi import roi_means

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
        text._attn_implementation = vision._attn_implementation = "eager"
        self.config = config
        self.image_size: int = vision.image_size
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

        Args:
            pixels: (B, 3, H, W), normalised as CLIP's are.
            boxes: (R, 4) x1, y1, x2, y2, in 0..1 of the picture; R may be 0.
            image_of_box: (R,) index into B of each box.

        Returns:
            images (B, E) and regions (R, E).
        """
        tower = self.vision_model
        hidden = tower.pre_layrnorm(tower.embeddings(pixels))
        *blocks, last = tower.encoder.layers
        for block in blocks:
            hidden = block(hidden, None)
        # Only the class token of the last block is read.
        pooled = tower.post_layernorm(last(hidden, None)[:, 0])
        images = functional.normalize(self.visual_projection(pooled), dim=-1)
        if not len(boxes):
            return images, images.new_zeros(0, images.shape[1])
        return images, self._regions(hidden[:, 1:], boxes, image_of_box)

    def _regions(self, patches: Tensor, boxes: Tensor, image_of_box: Tensor) -> Tensor:
        """The last block without its attention (values only), then RoIAlign.

        The projection has no bias, so it commutes with the mean and is taken after it.
        """
        last = self.vision_model.encoder.layers[-1]
        values = last.self_attn.v_proj(last.layer_norm1(patches))
        patches = patches + last.self_attn.out_proj(values)
        patches = patches + last.mlp(last.layer_norm2(patches))
        patches = self.vision_model.post_layernorm(patches)
        means = roi_means(patches, boxes, image_of_box)
        return functional.normalize(self.visual_projection(means), dim=-1)

    def encode_texts(self, ids: Tensor, last: Tensor, *, long: bool) -> Tensor:
        """Embed texts padded on the right.

        Attention is causal, so padding after the end-of-text token changes nothing and needs no
        mask.

        Args:
            ids: (T, S) token ids.
            last: (T,) position of the end-of-text token of each.
            long: with the positions and the projection of long texts.

        Returns:
            (T, E)
        """
        tower, length = self.text_model, ids.shape[1]
        hidden = tower.embeddings.token_embedding(ids) + self._positions(length, long)
        hidden = _causal(tower.encoder, hidden)
        pooled = tower.final_layer_norm(hidden[torch.arange(len(ids), device=ids.device), last])
        projection = self.text_filip_projection if long else self.text_projection
        return functional.normalize(projection(pooled), dim=-1)

    def _positions(self, length: int, long: bool) -> Tensor:
        embeddings = self.text_model.embeddings
        if not long:
            return embeddings.position_embedding.weight[:length]
        kept = embeddings.position_embedding_ori.weight[: min(length, KEPT_POSITIONS)]
        return torch.cat([kept, embeddings.position_embedding_res.weight[KEPT_POSITIONS:length]])

    def max_tokens(self, *, long: bool) -> int:
        """The most tokens a text may have, start and end included."""
        return long_positions(self.short_tokens) if long else self.short_tokens

    @torch.no_grad()
    def clamp_logit_scales(self) -> None:
        """Keep the temperatures from running away: at most 100, as in CLIP."""
        for scale in (self.logit_scale, self.logit_scale_finegraind, self.logit_scale_hardneg):
            scale.clamp_(max=MAX_LOGIT_SCALE)


def _causal(encoder: CLIPEncoder, hidden: Tensor) -> Tensor:
    length = hidden.shape[1]
    mask = torch.full((length, length), float("-inf"), device=hidden.device).triu(1)
    for block in encoder.layers:
        hidden = block(hidden, mask.to(hidden.dtype))
    return hidden


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
