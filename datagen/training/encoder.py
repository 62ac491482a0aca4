"""A trained model as the evaluation wants it: pictures and texts in, unit vectors out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from transformers import PreTrainedTokenizerBase

from datagen.dataset.rows import Box
from datagen.errors import UserError
from datagen.images.fit import Fit, Interpolation, fitted
from datagen.model_fingerprint import model_fingerprint
from datagen.training.batch import normalised
from datagen.training.model import FGCLIP
from datagen.training.texts import TextEncoder, load_tokenizer
from datagen.training.tree import build_tree
from datagen.training.weights import load_model

_TEXTS = 256  # encoded at a time


class ModelEncoder:
    """Wraps a model and its tokenizer; each different text is encoded once a call.

    Args:
        model: FG-CLIP, or CLIP in its place.
        tokenizer: of the model.
        device: of torch.
        fit: how a picture becomes the model's square; regions need the whole picture, so with
            "crop" there can be none.
        interpolation: of the resize.
    """

    def __init__(
        self,
        model: FGCLIP,
        tokenizer: PreTrainedTokenizerBase,
        device: str = "cpu",
        *,
        fit: Fit = "stretch",
        interpolation: Interpolation = "bicubic",
    ) -> None:
        self._model, self._device = model.to(device).eval(), torch.device(device)
        self._fit, self._interpolation = fit, interpolation
        self._tokenizer = tokenizer
        limits = [model.max_tokens(long=long) for long in (False, True)]
        self._texts = TextEncoder(tokenizer, *limits)

    @property
    def settings(self) -> dict[str, str | int]:
        """What of the preprocessing moves a score, for the result."""
        return {
            "regions": "dense",
            "resize": self._fit,
            "interpolation": self._interpolation,
            "image_size": self._model.image_size,
            "text_tokens": self._model.max_tokens(long=False),
            "long_text_tokens": self._model.max_tokens(long=True),
        }

    @property
    def grid(self) -> int:
        """Patches along a side of the picture."""
        return self._model.image_size // self._model.patch_size

    def fingerprint(self) -> str:
        """Of the weights as they are now, the tokenizer and the preprocessing."""
        tokens = getattr(self._tokenizer, "backend_tokenizer", None)
        vocabulary = tokens.to_str() if tokens else sorted(self._tokenizer.get_vocab().items())
        return model_fingerprint(
            self._model, self._model.config.to_json_string(), self.settings, vocabulary
        )

    @classmethod
    def load(
        cls,
        name: str | Path,
        device: str = "cpu",
        *,
        fit: Fit = "stretch",
        interpolation: Interpolation = "bicubic",
    ) -> ModelEncoder:
        """From a model's folder or name, or from the folder of a training run.

        Raises:
            ModelNotFoundError: there is no such model.
        """
        if (Path(name) / "model").is_dir():
            name = Path(name) / "model"
        return cls(
            load_model(name), load_tokenizer(name), device, fit=fit, interpolation=interpolation
        )

    @torch.inference_mode()
    def encode_images(
        self, pictures: Sequence[Image.Image], boxes: Sequence[Sequence[Box]]
    ) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
        """(B, E) of the pictures, and for each the (r, E) of its boxes.

        Raises:
            UserError: there are boxes, and pictures are cut to their middle.
        """
        if self._fit == "crop" and any(boxes):
            raise UserError(
                "Dense features of regions need the whole picture, and --resize crop cuts it: give "
                "--resize stretch, or --regions crop."
            )
        size = self._model.image_size
        pixels = np.stack(
            [np.asarray(fitted(p, size, self._fit, self._interpolation)) for p in pictures]
        )
        tensor = torch.from_numpy(pixels).permute(0, 3, 1, 2).to(self._device)
        counts = [len(found) for found in boxes]
        flat = torch.tensor([box for found in boxes for box in found]).reshape(-1, 4)
        owner = torch.repeat_interleave(torch.tensor(counts, dtype=torch.long))
        images, regions = self._model.encode_images(
            normalised(tensor), flat.to(self._device), owner.to(self._device)
        )
        parts = np.split(regions.cpu().numpy(), np.cumsum(counts)[:-1])
        return images.cpu().numpy(), list(parts)

    @torch.inference_mode()
    def encode_texts(self, texts: Sequence[str], *, long: bool) -> NDArray[np.float32]:
        """(n, E)"""
        if not texts:
            return np.zeros((0, self._model.embedding), np.float32)
        unique = sorted(set(texts))  # so that a piece holds texts that begin alike
        place = {text: i for i, text in enumerate(unique)}
        parts = []
        for start in range(0, len(unique), _TEXTS):
            ids = self._texts.ids(unique[start : start + _TEXTS], long=long)
            tree, short_rows, long_rows = build_tree(
                [] if long else ids, ids if long else [], self._texts.short_tokens
            )
            found = self._model.encode_texts(tree.to(self._device))[long].cpu()
            parts.append(found[long_rows if long else short_rows])
        return torch.cat(parts).numpy()[[place[text] for text in texts]]
