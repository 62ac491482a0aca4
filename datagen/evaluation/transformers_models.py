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
from datagen.images.fit import Fit, Interpolation, fitted
from datagen.model_fingerprint import model_fingerprint

KINDS = ("clip", "siglip", "siglip2")
_BATCH = 64


class TransformersEncoder:
    """A two-tower model of transformers.

    Args:
        name: folder, or name on the hub.
        device: of torch.
        fit, interpolation: of pictures; where both are None, as its image processor does it, else
            the missing one is "stretch" or "bicubic".

    Raises:
        ModelNotFoundError: there is none, or it is of another kind.
    """

    def __init__(
        self,
        name: str,
        device: str = "cpu",
        *,
        fit: Fit | None = None,
        interpolation: Interpolation | None = None,
    ) -> None:
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
        self._ours = fit is not None or interpolation is not None
        self._fit: Fit = fit or "stretch"
        self._interpolation: Interpolation = interpolation or "bicubic"
        vision = self._model.config.vision_config
        self._size: int | None = getattr(vision, "image_size", None)  # NaFlex takes any
        if self._size is None and self._ours:
            raise ModelNotFoundError(f"{name} takes pictures of any size: give no --resize.")
        if self._size is not None and self._size % vision.patch_size:
            raise ModelNotFoundError(
                f"The model {name} does not fit its own images: their side of {self._size} pixels "
                f"is no multiple of its patch of {vision.patch_size}. Mend its config.json."
            )

    @property
    def settings(self) -> dict[str, str | int]:
        """See `Encoder`."""
        found: dict[str, str | int] = {"regions": "none", "text_tokens": self._tokens}
        if self._ours:
            found |= {"resize": self._fit, "interpolation": self._interpolation}
        elif self._size is None:
            found |= {"resize": "aspect kept", "max_patches": self._processor.max_num_patches}
        else:
            processor = self._processor
            cut = getattr(processor, "do_center_crop", False)
            resample = Image.Resampling(getattr(processor, "resample", Image.Resampling.BICUBIC))
            found |= {
                "resize": "crop" if cut else "stretch",
                "interpolation": resample.name.lower(),
            }
        return found if self._size is None else found | {"image_size": self._size}

    def fingerprint(self) -> str:
        """See `Encoder`."""
        vocabulary = getattr(self._tokenizer, "backend_tokenizer", self._tokenizer.get_vocab())
        return model_fingerprint(
            self._model,
            self._model.config.to_json_string(),
            self.settings,
            self._processor.to_json_string(),
            vocabulary.to_str() if hasattr(vocabulary, "to_str") else sorted(vocabulary.items()),
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
        own: dict[str, bool] = {}
        if self._ours and self._size is not None:
            pictures = [fitted(p, self._size, self._fit, self._interpolation) for p in pictures]
            own = {"do_resize": False, "do_center_crop": False}
        with torch.inference_mode():
            inputs = self._processor(images=list(pictures), return_tensors="pt", **own).to(
                self._device
            )
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
