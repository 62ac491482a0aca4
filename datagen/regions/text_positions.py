"""Grounding DINO's mask and positions of text tokens, as the original has them.

Each phrase of a text sees itself alone, its full stop included, and counts its positions from 0.
transformers 5 gives the full stop position 0 instead of the one after the last word, which changes
what the text encoder says of every word: weights that were trained with the original then answer
otherwise. `test_groundingdino.py` holds the two side by side.
"""

from __future__ import annotations

from types import ModuleType

import torch

from datagen.regions.prompt_text import DELIMITERS

_NAME = "generate_masks_with_special_tokens_and_transfer_map"


def masks_and_positions(input_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Which tokens see each other (B, T, T), and their positions within their phrase (B, T).

    Args:
        input_ids: (B, T), each row [CLS], phrases that end in a full stop, [SEP], padding.
    """
    length = input_ids.shape[1]
    place = torch.arange(length, device=input_ids.device).expand_as(input_ids)
    delimiter = torch.isin(input_ids, torch.tensor(sorted(DELIMITERS), device=input_ids.device))
    end = torch.where(delimiter, place, length).flip(1).cummin(1).values.flip(1)
    before = torch.where(delimiter, place, 0).cummax(1).values.roll(1, 1)  # end of the last phrase
    inside = (end != 0) & (end < length - 1)
    alike = (end[:, :, None] == end[:, None, :]) & inside[:, None, :]
    alone = torch.eye(length, dtype=torch.bool, device=input_ids.device)
    return alike | alone, torch.where(inside, place - before - 1, 0)


def correct(modeling: ModuleType) -> None:
    """Let a modeling module of transformers use this in place of its own."""
    if not hasattr(modeling, _NAME):
        raise AttributeError(f"{modeling.__name__} has no {_NAME}: look where it went.")
    setattr(modeling, _NAME, masks_and_positions)
