"""Open-vocabulary detectors: where in an image are the things that phrases name?

The only place that knows transformers' detectors. Matching boxes to phrases is our own: the
library's post-processing decodes whatever tokens pass a threshold, which merges neighbouring
phrases and lets punctuation in.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from datagen.dataset.rows import Box
from datagen.engines.errors import ModelNotFoundError
from datagen.regions.boxes import Detection

if TYPE_CHECKING:
    import torch
    from PIL import Image

SUPPORTED = ("grounding-dino", "mm-grounding-dino")
# Grounding DINO's code splits a text into phrases at these ids: [CLS], [SEP], ".", "?".
CLS, SEP, STOP = 101, 102, 1012
DELIMITERS = frozenset({CLS, SEP, STOP, 1029})


class Detector(Protocol):
    """Finds the boxes of phrases."""

    def detect(
        self, images: Sequence[Image.Image], phrases: Sequence[Sequence[str]]
    ) -> list[list[Detection]]:
        """All candidates of every image, best score first; ``phrases`` holds a list an image."""
        ...


@dataclass(frozen=True, slots=True)
class PromptText:
    """A text that holds phrases: "a mug . a red car ." as token ids.

    ``spans`` are the token positions of the words of each phrase, ``phrase_indices`` the phrases'
    positions in the caller's list.
    """

    ids: tuple[int, ...]
    spans: tuple[tuple[int, ...], ...]
    phrase_indices: tuple[int, ...]


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
        self._floor = floor
        self._limit = min(max_text_tokens, int(self._model.config.max_text_len))

    def detect(
        self, images: Sequence[Image.Image], phrases: Sequence[Sequence[str]]
    ) -> list[list[Detection]]:
        """All candidates of every image with a score of at least the floor, best first.

        The score of a phrase for a box is the mean of its words' scores (sigmoids, 0..1); a box
        goes to its best phrase among those of the same text. An image without phrases has no
        candidates. Images of one shape go through the model together.

        Raises:
            ValueError: not as many lists of phrases as images.
        """
        if len(images) != len(phrases):
            raise ValueError(f"{len(images)} images came with {len(phrases)} lists of phrases.")
        found: list[list[Detection]] = [[] for _ in images]
        by_shape: dict[tuple[int, ...], list[tuple[int, torch.Tensor, PromptText]]] = {}
        for position, (image, wanted) in enumerate(zip(images, phrases, strict=True)):
            texts = list(self._texts(wanted))
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

    def _texts(self, phrases: Sequence[str]) -> Iterator[PromptText]:
        """The phrases in as few texts as hold them; those without a word are left out."""
        ids: list[int] = [CLS]
        spans: list[tuple[int, ...]] = []
        indices: list[int] = []
        for index, phrase in enumerate(phrases):
            # A phrase has the text's limit without [CLS], full stop and [SEP].
            tokens = self._tokens(phrase)[: self._limit - 3]
            if not tokens:
                continue
            if len(ids) + len(tokens) + 2 > self._limit:
                yield PromptText((*ids, SEP), tuple(spans), tuple(indices))
                ids, spans, indices = [CLS], [], []
            spans.append(tuple(len(ids) + offset for offset in self._word_offsets(tokens)))
            indices.append(index)
            ids += [*tokens, STOP]
        if indices:
            yield PromptText((*ids, SEP), tuple(spans), tuple(indices))

    def _tokens(self, phrase: str) -> list[int]:
        """Token ids without delimiters: "a St. Bernard" must stay one phrase."""
        tokens = self._processor.tokenizer.encode(phrase.lower(), add_special_tokens=False)
        return [token for token in tokens if token not in DELIMITERS]

    def _word_offsets(self, tokens: Sequence[int]) -> list[int]:
        """Which tokens count: not punctuation, unless there is nothing else."""
        texts = self._processor.tokenizer.convert_ids_to_tokens(list(tokens))
        words = [i for i, text in enumerate(texts) if any(c.isalnum() for c in text)]
        return words or list(range(len(tokens)))

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
        chances = out.logits.float().sigmoid().cpu()
        boxes = out.pred_boxes.float().cpu()
        return [
            list(self._candidates(chances[row], boxes[row], text)) for row, text in enumerate(texts)
        ]

    def _candidates(
        self, chances: torch.Tensor, boxes: torch.Tensor, text: PromptText
    ) -> Iterator[Detection]:
        """Detections of one text: ``chances`` (queries, tokens), ``boxes`` (queries, 4) as
        centre, width, height."""
        import torch

        scores = torch.stack([chances[:, list(span)].mean(-1) for span in text.spans], -1)
        order = scores.sort(-1, descending=True)
        for values, which, box in zip(
            order.values.tolist(), order.indices.tolist(), boxes.tolist(), strict=True
        ):
            bbox = _clipped_corners(box)
            if values[0] < self._floor or bbox[0] >= bbox[2] or bbox[1] >= bbox[3]:
                continue
            runner_up = values[1] if len(values) > 1 else 0.0
            yield Detection(text.phrase_indices[which[0]], bbox, values[0], values[0] - runner_up)


def _clipped_corners(box: Sequence[float]) -> Box:
    x, y, width, height = box
    sides = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    x1, y1, x2, y2 = (min(1.0, max(0.0, side)) for side in sides)
    return (x1, y1, x2, y2)


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
    try:
        processor = AutoProcessor.from_pretrained(model, revision=revision)
        detector = AutoModelForZeroShotObjectDetection.from_pretrained(model, revision=revision)
    except (OSError, ValueError) as error:
        raise ModelNotFoundError(
            f"The detector {model!r} cannot be loaded: {str(error).splitlines()[0]}"
        ) from error
    return processor, detector
