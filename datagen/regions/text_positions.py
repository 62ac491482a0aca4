"""Grounding DINO's mask and positions of text tokens, as the original has them.

Each phrase of a text sees itself alone, its full stop included, and counts its positions from 0.
transformers 5 differs in two places, and weights that were trained with the original then answer
otherwise: it gives the full stop position 0 instead of the one after the last word, and it rounds
the sines of the positions to whole numbers. `test_groundingdino.py` holds the two side by side.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch

from datagen.regions.prompt_text import DELIMITERS

_MASKS = "generate_masks_with_special_tokens_and_transfer_map"
_SINES = "encode_sinusoidal_position_embedding"


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
    """Let transformers' module of Grounding DINO do as the original does.

    Its text encoder must be of transformers 5 or later.
    """
    setattr(modeling, _MASKS, masks_and_positions)
    sines = getattr(modeling, _SINES, None)
    if sines is not None and not hasattr(sines, "of_floats"):
        setattr(modeling, _SINES, _of_floats(sines))


def _of_floats(sines: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    def encode(pos_tensor: torch.Tensor, *args: Any, **named: Any) -> torch.Tensor:
        whole = not pos_tensor.is_floating_point()
        return sines(pos_tensor.float() if whole else pos_tensor, *args, **named)

    encode.of_floats = True  # type: ignore[attr-defined]
    return encode
