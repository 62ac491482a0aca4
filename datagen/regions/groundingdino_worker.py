"""The original Grounding DINO, in a process whose packages are as old as its own.

Ray carries this module to the worker by value, so nothing of ours is installed there: it may
import numpy and `datagen.regions.prompt_text` alone, and what groundingdino-py brings.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from datagen.regions.prompt_text import PromptText, candidates, prompt_texts

# Normalisation of ImageNet, as in the package's own `load_image`.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
ABSENT = ("bert.pooler.", "relative_position_index")
SURPLUS = ("label_enc.", "bert.embeddings.position_ids")
"""Tensors that checkpoints of other versions of the package lack or have, and no forward uses."""

Found = list[tuple[int, tuple[float, float, float, float], float]]
"""Position of the phrase, (x1, y1, x2, y2) in 0..1 of the picture's sides, score."""


class GroundingDinoWorker:
    """Loads a checkpoint and answers; made by `GroundingDinoPyDetector`, in an actor of Ray.

    Args:
        checkpoint: file of weights in the original format.
        config: name of a configuration of the package, or the path of one.
        text_encoder: BERT's name on a model hub, or a folder; None takes the configuration's.
        device: "cpu", "cuda", …; None takes a GPU where there is one.
        floor: pairs with a lower score, 0..1, are left out.
        shortest, longest: pictures are resized to the first, in pixels, unless their longer side
            then exceeds the second.

    Raises:
        ValueError: the checkpoint's tensors are not those of the configuration.
    """

    def __init__(
        self,
        checkpoint: str,
        config: str,
        text_encoder: str | None,
        device: str | None,
        floor: float,
        shortest: int = 800,
        longest: int = 1333,
    ) -> None:
        import groundingdino
        import torch
        from groundingdino.models import build_model
        from groundingdino.util.misc import clean_state_dict
        from groundingdino.util.slconfig import SLConfig

        own = Path(groundingdino.__file__).parent / "config" / f"{config}.py"
        settings = SLConfig.fromfile(str(own if own.is_file() else config))
        settings.device = self._device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        settings.use_checkpoint = settings.use_transformer_ckpt = False  # they serve training
        if text_encoder:
            settings.text_encoder_type = text_encoder
        self._model = build_model(settings)
        weights = torch.load(checkpoint, map_location="cpu", weights_only=True)["model"]
        missing, unexpected = self._model.load_state_dict(clean_state_dict(weights), strict=False)
        wrong = [name for name in missing if not any(part in name for part in ABSENT)]
        wrong += [name for name in unexpected if not name.startswith(SURPLUS)]
        if wrong:
            raise ValueError(
                f"{checkpoint} is not of the configuration {config}: {len(wrong)} tensors are "
                f"missing or not known, among them {wrong[0]}."
            )
        self._model = self._model.to(self._device).eval()
        for layer in self._model.transformer.encoder.text_layers:
            layer.register_forward_pre_hook(_own_masks, with_kwargs=True)
        self._tokenizer = self._model.tokenizer
        self._model.tokenizer = _as_given  # the texts come as ids
        self._floor, self._limit = floor, int(settings.max_text_len)
        self._shortest, self._longest = shortest, longest

    def detect(
        self, pictures: Sequence[np.ndarray], phrases: Sequence[Sequence[str]]
    ) -> list[Found]:
        """Every pair of box and phrase for each picture (height, width, 3) uint8."""
        found: list[Found] = [[] for _ in pictures]
        by_shape: dict[tuple[int, ...], list[tuple[int, np.ndarray, PromptText]]] = {}
        for position, (picture, wanted) in enumerate(zip(pictures, phrases, strict=True)):
            texts = self._texts(wanted)
            if texts:
                pixels = self._pixels(picture)
                group = by_shape.setdefault(pixels.shape, [])
                group += [(position, pixels, text) for text in texts]
        for group in by_shape.values():
            for start in range(0, len(group), len(pictures)):
                part = group[start : start + len(pictures)]
                chances, boxes = self._forward([p for _, p, _ in part], [t for _, _, t in part])
                for row, (position, _, text) in enumerate(part):
                    found[position] += candidates(chances[row], boxes[row], text, self._floor)
        return found

    def _texts(self, phrases: Sequence[str]) -> list[PromptText]:
        tokenizer = self._tokenizer
        return list(
            prompt_texts(
                phrases,
                lambda text: tokenizer.encode(text, add_special_tokens=False),
                tokenizer.convert_ids_to_tokens,
                self._limit,
            )
        )

    def _pixels(self, picture: np.ndarray) -> np.ndarray:
        """The picture as (3, height, width) float32, resized and normalised."""
        from PIL import Image

        height, width = picture.shape[:2]
        short, long = min(height, width), max(height, width)
        side = self._shortest
        if long / short * side > self._longest:
            side = round(self._longest * short / long)
        other = int(side * long / short)
        size = (side, other) if width <= height else (other, side)
        resized = Image.fromarray(picture).resize(size, Image.Resampling.BILINEAR)
        pixels = np.asarray(resized, dtype=np.float32) / 255
        normal = (pixels - np.array(MEAN, np.float32)) / np.array(STD, np.float32)
        return np.ascontiguousarray(normal.transpose(2, 0, 1))

    def _forward(
        self, pixels: Sequence[np.ndarray], texts: Sequence[PromptText]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Sigmoids (pictures, queries, tokens) and boxes (pictures, queries, 4)."""
        import torch

        with torch.inference_mode():
            batch = torch.from_numpy(np.stack(pixels)).to(self._device)
            out = self._model(batch, captions=texts)
        chances = out["pred_logits"].float().sigmoid().cpu().numpy()
        return chances, out["pred_boxes"].float().cpu().numpy()


def _own_masks(layer: Any, args: tuple[Any, ...], given: dict[str, Any]) -> Any:
    """Give each text of a batch its own mask in every head of a text layer.

    The layer repeats its masks (texts, T, T) as a whole for each head, where torch's attention
    counts all heads of the first text first: with several texts most heads would see through the
    masks of others. Masks that are repeated already are left as they are.
    """
    return args, {**given, "src_mask": given["src_mask"].repeat_interleave(layer.nhead, 0)}


def _as_given(texts: Sequence[PromptText], **_: Any) -> Any:
    """What the package's tokenizer returns, made of texts that are ids already."""
    import torch
    from transformers import BatchEncoding

    length = max(len(text.ids) for text in texts)
    ids = torch.zeros(len(texts), length, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, text in enumerate(texts):
        ids[row, : len(text.ids)] = torch.tensor(text.ids)
        mask[row, : len(text.ids)] = 1
    kinds = torch.zeros_like(ids)
    return BatchEncoding({"input_ids": ids, "attention_mask": mask, "token_type_ids": kinds})
