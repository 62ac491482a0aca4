"""CLIP, SigLIP and SigLIP 2 of transformers: each with its own image processor and tokenizer.

They have no features of regions, so regions are crops (`Crops`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from datagen.dataset.rows import Box
from datagen.engines.errors import ModelNotFoundError
from datagen.evaluation.encoder import Embeddings

KINDS = ("clip", "siglip", "siglip2")
_BATCH = 64


class TransformersEncoder:
    """A two-tower model of transformers.

    Args:
        name: folder, or name on the hub.
        device: of torch.

    Raises:
        ModelNotFoundError: there is none, or it is of another kind.
    """

    def __init__(self, name: str, device: str = "cpu") -> None:
        from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

        try:
            self._model: Any = AutoModel.from_pretrained(name).eval().to(device)
            self._processor: Any = AutoImageProcessor.from_pretrained(name)
            self._tokenizer: Any = AutoTokenizer.from_pretrained(name)
        except (OSError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise ModelNotFoundError(f"No model of transformers at {name}: {reason}") from None
        self._kind = self._model.config.model_type
        if self._kind not in KINDS:
            raise ModelNotFoundError(f"{name} is {self._kind}, none of {', '.join(KINDS)}.")
        self._device = device
        self._tokens: int = self._model.config.text_config.max_position_embeddings

    def encode_images(
        self, pictures: Sequence[Image.Image], boxes: Sequence[Sequence[Box]]
    ) -> tuple[Embeddings, list[Embeddings]]:
        """Embed pictures; boxes must be empty.

        Raises:
            ValueError: there are boxes.
        """
        import torch

        if any(boxes):
            raise ValueError("This model has no features of regions: wrap it in Crops.")
        with torch.inference_mode():
            inputs = self._processor(images=list(pictures), return_tensors="pt").to(self._device)
            found = self._model.get_image_features(**inputs).pooler_output
        images = _unit(found.float().cpu().numpy())
        return images, [images[:0]] * len(pictures)

    def encode_texts(self, texts: Sequence[str], *, long: bool) -> Embeddings:
        """(n, E); these models have one kind of text, and cut what is longer."""
        import torch

        unique = sorted(set(texts), key=lambda text: (len(text), text))  # lengths side by side
        place = {text: i for i, text in enumerate(unique)}
        # SigLIP pools at the last position, so it was trained, and is read, with full padding.
        padding: bool | str = True if self._kind == "clip" else "max_length"
        parts = []
        with torch.inference_mode():
            for start in range(0, len(unique), _BATCH):
                inputs = self._tokenizer(
                    unique[start : start + _BATCH],
                    padding=padding,
                    truncation=True,
                    max_length=self._tokens,
                    return_tensors="pt",
                ).to(self._device)
                given = {"input_ids": inputs["input_ids"]}
                if self._kind == "clip":
                    given["attention_mask"] = inputs["attention_mask"]
                found = self._model.get_text_features(**given).pooler_output
                parts.append(found.float().cpu().numpy())
        return _unit(np.concatenate(parts))[[place[text] for text in texts]]


def _unit(rows: Embeddings) -> Embeddings:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
