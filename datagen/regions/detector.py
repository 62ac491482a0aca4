"""Open-vocabulary detectors: where in an image are the things that phrases name?

The only place that knows transformers' detectors. Matching boxes to phrases is our own: the
library's post-processing decodes whatever tokens pass a threshold, which merges neighbouring
phrases and lets punctuation in.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from datagen.engines.errors import ModelNotFoundError
from datagen.regions.boxes import Detection
from datagen.regions.prompt_text import PromptText, candidates, prompt_texts

if TYPE_CHECKING:
    import torch
    from PIL import Image

SUPPORTED = ("grounding-dino", "mm-grounding-dino")


class Detector(Protocol):
    """Finds the boxes of phrases; what is made by `Detector(model, revision=…, device=…)`."""

    def detect(
        self, images: Sequence[Image.Image], phrases: Sequence[Sequence[str]]
    ) -> list[list[Detection]]:
        """Every pair of a box and a phrase that it may show, for every image, best score first.

        One box may come with several phrases, each with the score of its own; which of them it
        belongs to is decided by `match_phrases`. It is called from one thread at a time.

        Args:
            images: pictures in any mode and of any size.
            phrases: a list for each image; it may be empty, and as long as it likes.

        Raises:
            EngineDeadError: the detector is gone; the process that holds it must end.
        """
        ...


class TransformersDetector:
    """Grounding DINO or MM Grounding DINO of transformers.

    Args:
        model: name on a model hub (``IDEA-Research/grounding-dino-base``) or a folder.
        revision: commit, tag or branch of a model from a hub.
        device: "cpu", "cuda", …; None takes a GPU where there is one.
        floor: candidates with a lower score, 0..1, are left out.
        max_text_tokens: longer lists of phrases are asked for in several texts.

    Raises:
        ModelNotFoundError: no such model, or one that is no Grounding DINO.
    """

    def __init__(
        self,
        model: str,
        *,
        revision: str | None = None,
        device: str | None = None,
        floor: float = 0.05,
        max_text_tokens: int = 256,
    ) -> None:
        import torch

        self._device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self._processor, self._model = _load(model, revision)
        self._model = self._model.to(self._device).eval()
        if self._device == "cpu":
            _keep_memory()
        self._floor = floor
        self._limit = min(max_text_tokens, int(self._model.config.max_text_len))

    def detect(
        self, images: Sequence[Image.Image], phrases: Sequence[Sequence[str]]
    ) -> list[list[Detection]]:
        """See `Detector.detect`; pairs with a score below the floor are left out.

        The score of a phrase for a box is the mean of its words' scores (sigmoids, 0..1). A list
        that is longer than the text's limit is asked for in several texts. Images of one shape
        go through the model together.

        Raises:
            ValueError: not as many lists of phrases as images.
        """
        if len(images) != len(phrases):
            raise ValueError(f"{len(images)} images came with {len(phrases)} lists of phrases.")
        found: list[list[Detection]] = [[] for _ in images]
        by_shape: dict[tuple[int, ...], list[tuple[int, torch.Tensor, PromptText]]] = {}
        for position, (image, wanted) in enumerate(zip(images, phrases, strict=True)):
            texts = self._texts(wanted)
            if not texts:
                continue
            pixels = self._processor.image_processor(
                images=image.convert("RGB"), return_tensors="pt"
            )["pixel_values"][0]
            group = by_shape.setdefault(tuple(pixels.shape), [])
            group += [(position, pixels, text) for text in texts]
        for group in by_shape.values():
            for start in range(0, len(group), len(images)):
                part = group[start : start + len(images)]
                answers = self._forward([p for _, p, _ in part], [t for _, _, t in part])
                for (position, _, _), detections in zip(part, answers, strict=True):
                    found[position] += detections
        return [sorted(detections, key=lambda d: -d.score) for detections in found]

    def _texts(self, phrases: Sequence[str]) -> list[PromptText]:
        tokenizer = self._processor.tokenizer
        return list(
            prompt_texts(
                phrases,
                lambda text: tokenizer.encode(text, add_special_tokens=False),
                tokenizer.convert_ids_to_tokens,
                self._limit,
            )
        )

    def _forward(
        self, pixels: Sequence[torch.Tensor], texts: Sequence[PromptText]
    ) -> list[list[Detection]]:
        import torch

        length = max(len(text.ids) for text in texts)
        ids = torch.zeros(len(texts), length, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, text in enumerate(texts):
            ids[row, : len(text.ids)] = torch.tensor(text.ids)
            mask[row, : len(text.ids)] = 1
        with torch.inference_mode():
            out = self._model(
                pixel_values=torch.stack(list(pixels)).to(self._device),
                input_ids=ids.to(self._device),
                attention_mask=mask.to(self._device),
            )
        chances = out.logits.float().sigmoid().cpu().numpy()
        boxes = out.pred_boxes.float().cpu().numpy()
        return [
            [Detection(*found) for found in candidates(chances[row], boxes[row], text, self._floor)]
            for row, text in enumerate(texts)
        ]


def _keep_memory() -> None:
    """Ask glibc to keep freed memory for this process: giving a batch's activations back to the
    system after each layer costs a fifth of the time."""
    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD
        libc.mallopt(-3, 2**25)  # M_MMAP_THRESHOLD, its largest value
    except (OSError, AttributeError):
        return  # another C library: it works as well, a little slower


def _load(model: str, revision: str | None) -> tuple[Any, Any]:
    """Processor and model; everything that can be wrong with a name ends in one sentence."""
    from transformers import AutoConfig, AutoModelForZeroShotObjectDetection, AutoProcessor

    try:
        kind = AutoConfig.from_pretrained(model, revision=revision).model_type
    except (OSError, ValueError) as error:
        raise ModelNotFoundError(
            f"There is no detector {model!r}: give a folder that holds one, or a name on the "
            "model hub that this machine can reach, such as IDEA-Research/grounding-dino-base."
        ) from error
    if kind not in SUPPORTED:
        raise ModelNotFoundError(
            f"The detector {model!r} is of the kind {kind!r}: give a Grounding DINO "
            f"({' or '.join(SUPPORTED)})."
        )
    if kind == "grounding-dino":
        from transformers.models.grounding_dino import modeling_grounding_dino

        from datagen.regions.text_positions import correct

        correct(modeling_grounding_dino)
    try:
        processor = AutoProcessor.from_pretrained(model, revision=revision)
        detector = AutoModelForZeroShotObjectDetection.from_pretrained(model, revision=revision)
    except (OSError, ValueError) as error:
        raise ModelNotFoundError(
            f"The detector {model!r} cannot be loaded: {str(error).splitlines()[0]}"
        ) from error
    return processor, detector
