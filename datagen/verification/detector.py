"""The detector asked for a negative inside the box: does it find it as readily as the positive?"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from PIL import Image

from datagen.batcher import Batcher
from datagen.dataset import Vote
from datagen.engines.models import check_model
from datagen.negatives.verify import Question
from datagen.regions.boxes import Detection, iou
from datagen.regions.detector import Detector, TransformersDetector


@dataclass(frozen=True, kw_only=True)
class DetectorVerifierConfig:
    """Which detector, and when it holds a phrase to be true."""

    model: str
    """Grounding DINO in transformers' format: a name on a model hub, or a folder."""
    revision: str | None = None
    min_iou: float = 0.5
    """Overlap, 0..1, of a found box with the region's box."""
    margin: float = 0.0
    """The negative is true if its score, 0..1, is above the positive's by more than this."""
    device: str | None = None
    batch: int = 8
    """Pictures that the detector takes at once."""

    needs_image = True

    def lineage(self) -> dict[str, Any]:
        """See `VerifierConfig.lineage`."""
        speed = {"device", "batch"}
        return {"verifier": "detector"} | {
            name: value for name, value in asdict(self).items() if name not in speed
        }

    def check(self) -> None:
        """See `VerifierConfig.check`."""
        check_model(self.model, self.revision)

    async def open(self) -> DetectorVerifier:
        """See `VerifierConfig.open`."""
        detector = await asyncio.to_thread(
            TransformersDetector, self.model, revision=self.revision, device=self.device, floor=0.01
        )
        return DetectorVerifier(self, detector)


class DetectorVerifier:
    """Asks for one phrase a text, so that phrases do not compete: the score is the phrase's own."""

    def __init__(self, config: DetectorVerifierConfig, detector: Detector) -> None:
        self._config = config

        def detect(pairs: Sequence[tuple[Image.Image, list[str]]]) -> list[list[Detection]]:
            return detector.detect([image for image, _ in pairs], [texts for _, texts in pairs])

        self._batches = Batcher(detect, max_batch=config.batch)

    async def votes(self, question: Question) -> list[Vote]:
        """See `Verifier.votes`; the score is that of the negative minus that of the positive."""
        assert question.image is not None
        image, texts = question.image, [question.positive, *(n.text for n in question.negatives)]
        found = await asyncio.gather(
            *(self._batches.submit((image, [_plain(text)])) for text in texts)
        )
        own, *others = [self._best(detections, question) for detections in found]
        return [
            Vote(
                verifier="detector",
                is_true=score - own > self._config.margin,
                score=score - own,
            )
            for score in others
        ]

    def _best(self, detections: Sequence[Detection], question: Question) -> float:
        inside = [d.score for d in detections if iou(d.bbox, question.box) >= self._config.min_iou]
        return max(inside, default=0.0)

    async def close(self) -> None:
        """See `Verifier.close`."""
        await self._batches.close()


def _plain(text: str) -> str:
    return text.strip().rstrip(".").lower()
