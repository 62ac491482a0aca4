"""One training step of the tiny captioner: the caption's loss and the auxiliary cell labels'."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import yaml
from PIL import Image
from torch import nn
from transformers import Idefics3ForConditionalGeneration, Idefics3Processor

from datagen.demo.autocast import autocast
from datagen.demo.captioner_data import ATTRIBUTES, CELLS, MAX_OBJECTS, UNTOLD_KIND, Batch
from datagen.demo.captioner_model import IMAGE_SIDE, IMAGE_TOKENS, image_features

CELL_WEIGHT = 0.3  # of the cell labels' loss beside the caption's
EMPTY_WEIGHT = 0.2  # most cells are empty: their share of the kind's loss is lowered


class CellHead(nn.Module):
    """Linear read-out of each image token: which object lies here, and where. Not exported."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.sizes = [len(values) for _, values in ATTRIBUTES] + [MAX_OBJECTS]
        self.linear = nn.Linear(width, sum(self.sizes) + 1 + 2)
        self.kind_weights = torch.tensor([1.0] * self.sizes[0] + [EMPTY_WEIGHT])

    def forward(self, features: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Mean of the five labels' cross-entropy and the centre's L1, in cells; (n, 64, w) in.

        The centre helps the captioner to tell the objects in their order from the left.
        """
        logits = self.linear(features).float().flatten(0, 1)
        flat = batch.labels.flatten(0, 1)
        full = flat[:, 0] != -1
        *parts, centres = logits.split([self.sizes[0] + 1, *self.sizes[1:], 2], dim=-1)
        empty = self.sizes[0]
        kinds = torch.where(full, flat[:, 0], empty)
        losses = [F.cross_entropy(parts[0], kinds, self.kind_weights, ignore_index=UNTOLD_KIND)]
        for column, part in enumerate(parts[1:], start=1):
            told = flat[:, column] >= 0  # of unnamed pictures colour and finish are not
            total = F.cross_entropy(part[told], flat[told, column], reduction="sum")
            losses.append(total / told.sum().clamp(min=1))
        losses.append(F.l1_loss(centres[full], CELLS * batch.centres.flatten(0, 1)[full]))
        return torch.stack(losses).mean()


@dataclass(frozen=True)
class TrainedPrompt:
    """Token ids of the whole chat before the caption, with the image's place in it."""

    ids: torch.Tensor
    image_start: int


def read_prompt(path: Path) -> str:
    """The text of a prompt file, without its front matter."""
    _, front, text = path.read_text(encoding="utf-8").split("---\n", 2)
    yaml.safe_load(front)
    return text.strip()


def chat(text: str) -> list[Any]:
    """One user turn: the picture, then the prompt's text."""
    return [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": text}]}]


def trained_prompt(processor: Idefics3Processor, text: str) -> TrainedPrompt:
    """The ids that the model will see for this prompt, by the real processor."""
    said = processor.apply_chat_template(chat(text), add_generation_prompt=True)
    blank = Image.new("RGB", (IMAGE_SIDE, IMAGE_SIDE))
    ids = processor(images=[blank], text=[said], return_tensors="pt")["input_ids"][0]
    places = (ids == processor.image_token_id).nonzero().flatten()
    if len(places) != IMAGE_TOKENS:
        raise ValueError(f"the processor made {len(places)} image tokens, not {IMAGE_TOKENS}")
    return TrainedPrompt(ids, int(places[0]))


def caption_loss(
    model: Idefics3ForConditionalGeneration,
    features: torch.Tensor,
    batch: Batch,
    prompt: TrainedPrompt,
    pad: int,
) -> torch.Tensor:
    """Mean cross-entropy of the batch's tokens after prompt, picture and the words before."""
    embed = model.get_input_embeddings()
    before, after = (
        prompt.ids[: prompt.image_start],
        prompt.ids[prompt.image_start + IMAGE_TOKENS :],
    )
    count = len(batch.tokens)
    inputs = torch.cat(
        [
            embed(before).expand(count, -1, -1),
            features.to(embed.weight.dtype),
            embed(after).expand(count, -1, -1),
            embed(batch.heard[:, :-1]),
        ],
        dim=1,
    )
    hidden = model.model.text_model(inputs_embeds=inputs, use_cache=False).last_hidden_state
    logits = model.lm_head(hidden[:, len(prompt.ids) - 1 :])
    return F.cross_entropy(logits.float().flatten(0, 1), batch.tokens.flatten(), ignore_index=pad)


@dataclass(frozen=True)
class StepLosses:
    """Mean losses of one step; ``caption`` is NaN in the vision stage."""

    caption: float
    cells: float


@dataclass(frozen=True)
class Stage:
    """A part of the training: the vision tower learns, or the words, or both together."""

    name: str
    steps: int
    batch: int
    rate: float
    learns_vision: bool
    learns_words: bool


def stage_loss(
    model: Idefics3ForConditionalGeneration,
    head: CellHead,
    batch: Batch,
    prompt: TrainedPrompt,
    stage: Stage,
    pad: int,
) -> tuple[torch.Tensor, StepLosses]:
    """The loss to follow in this stage, and its parts."""
    said = torch.tensor(float("nan"))
    with autocast():
        with torch.set_grad_enabled(stage.learns_vision):
            features = image_features(model, batch.pixels)
            cells = head(features, batch)
        if stage.learns_words:
            said = caption_loss(model, features, batch, prompt, pad)
    parts = StepLosses(said.item(), cells.item())
    if not stage.learns_words:
        return cells, parts
    return (said + CELL_WEIGHT * cells if stage.learns_vision else said), parts


def train_step(loss: torch.Tensor, optimizers: list[torch.optim.Optimizer]) -> None:
    """One update of everything that the optimizers hold, with the gradient's norm at most 1."""
    loss.backward()
    parameters = [p for o in optimizers for g in o.param_groups for p in g["params"]]
    nn.utils.clip_grad_norm_(parameters, 1.0)
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
