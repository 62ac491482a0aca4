"""Models of open_clip, with open_clip's own code and tokenizer; regions are crops (`Crops`).

open_clip needs torchvision and ftfy, which this project does without, so it is imported only here
and only when a model of it is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from datagen.dataset.rows import Box
from datagen.engines.errors import ModelNotFoundError
from datagen.evaluation.encoder import Embeddings
from datagen.images.fit import Fit, Interpolation, fitted
from datagen.model_fingerprint import model_fingerprint

_BATCH = 64
_FITS: dict[str, Fit] = {"shortest": "crop", "squash": "stretch"}
"""What open_clip calls the ways to make a picture square."""


class OpenClipEncoder:
    """A two-tower model of open_clip.

    Args:
        name: a folder with open_clip_config.json and weights, `hf-hub:organisation/model`, or
            `architecture/tag` of open_clip's list, such as ViT-B-32/laion2b_s34b_b79k.
        device: of torch.
        fit, interpolation: of pictures; without them, as the model was published with.

    Raises:
        ModelNotFoundError: open_clip cannot be imported, there is no such model or it has no
            weights, or it prepares pictures in a way that is not known here.
    """

    def __init__(
        self,
        name: str,
        device: str = "cpu",
        *,
        fit: Fit | None = None,
        interpolation: Interpolation | None = None,
    ) -> None:
        try:
            import open_clip
        except ImportError as error:
            raise ModelNotFoundError(
                f"--loader open_clip needs open_clip_torch with all that it needs ({error}): "
                "pip install open_clip_torch, and a torchvision that fits your torch."
            ) from error
        architecture, tag = _parts(name)
        try:
            self._model: Any = open_clip.create_model(
                architecture, pretrained=tag, device=device, require_pretrained=True
            ).eval()
            self._tokenizer: Any = open_clip.get_tokenizer(architecture)
        except (OSError, RuntimeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise ModelNotFoundError(f"No model of open_clip at {name}: {reason}") from None
        prepared = self._model.visual.preprocess_cfg
        self._size = _side(name, prepared["size"])
        patch = getattr(self._model.visual, "patch_size", (1,))  # other towers have none
        if any(self._size % side for side in patch):
            raise ModelNotFoundError(
                f"The model {name} does not fit its own images: their side of {self._size} pixels "
                f"is no multiple of its patch of {patch[0]}. Mend its open_clip_config.json."
            )
        self._mean, self._std = (
            np.array(prepared[key], np.float32)[:, None, None] for key in ("mean", "std")
        )
        if fit is None and prepared["resize_mode"] not in _FITS:
            raise ModelNotFoundError(
                f"{name} makes pictures square by {prepared['resize_mode']!r}: give --resize "
                "stretch or --resize crop."
            )
        self._fit: Fit = fit or _FITS[prepared["resize_mode"]]
        self._interpolation: Interpolation = interpolation or prepared["interpolation"]
        self._device = device

    @property
    def settings(self) -> dict[str, str | int]:
        """See `Encoder`."""
        return {
            "regions": "none",
            "resize": self._fit,
            "interpolation": self._interpolation,
            "image_size": self._size,
            "text_tokens": int(self._tokenizer.context_length),
        }

    def fingerprint(self) -> str:
        """See `Encoder`."""
        words = ["a red mug", "Two birds, one of them blue!", "9 naïve cafés"]  # of its tokenizer
        return model_fingerprint(
            self._model,
            self.settings,
            self._mean.tolist(),
            self._std.tolist(),
            self._tokenizer(words).tolist(),
            getattr(self._tokenizer, "vocab_size", ""),
        )

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
        pixels = np.stack(
            [
                np.asarray(fitted(p.convert("RGB"), self._size, self._fit, self._interpolation))
                for p in pictures
            ]
        )
        values = (pixels.transpose(0, 3, 1, 2).astype(np.float32) / 255 - self._mean) / self._std
        with torch.inference_mode():
            given = torch.from_numpy(values).to(self._device)
            found = self._model.encode_image(given, normalize=True)
        images = found.float().cpu().numpy()
        return images, [images[:0]] * len(pictures)

    def encode_texts(self, texts: Sequence[str], *, long: bool) -> Embeddings:
        """(n, E); these models have one kind of text, and cut what is longer."""
        import torch

        unique = list(dict.fromkeys(texts))
        place = {text: i for i, text in enumerate(unique)}
        parts = []
        with torch.inference_mode():
            for start in range(0, len(unique), _BATCH):
                tokens = self._tokenizer(unique[start : start + _BATCH]).to(self._device)
                found = self._model.encode_text(tokens, normalize=True)
                parts.append(found.float().cpu().numpy())
        return np.concatenate(parts)[[place[text] for text in texts]]


def _parts(name: str) -> tuple[str, str | None]:
    """open_clip's name of an architecture, and the tag of its weights."""
    if Path(name).is_dir():
        return f"local-dir:{name}", None
    if name.startswith("hf-hub:"):
        return name, None
    architecture, _, tag = name.partition("/")
    if not tag:
        raise ModelNotFoundError(
            f"No model of open_clip at {name}: give a folder, hf-hub:ORGANISATION/MODEL, or "
            "ARCHITECTURE/TAG, such as ViT-B-32/laion2b_s34b_b79k."
        )
    return architecture, tag


def _side(name: str, size: int | Sequence[int]) -> int:
    sides = {size} if isinstance(size, int) else set(size)
    if len(sides) != 1:
        raise ModelNotFoundError(f"{name} takes pictures that are not square, of {size} pixels.")
    return int(sides.pop())
