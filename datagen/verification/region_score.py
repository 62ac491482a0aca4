"""A CLIP-style model's region score: is the box nearer to a negative than to its own phrase?"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from datagen.batcher import Batcher
from datagen.dataset import Vote
from datagen.engines.models import check_model
from datagen.negatives.verify import Question
from datagen.training.encoder import ModelEncoder


@dataclass(frozen=True, kw_only=True)
class RegionScoreConfig:
    """Which model, and when it holds a phrase to be true."""

    model: str
    """A folder that training wrote, or a name on a model hub."""
    margin: float = 0.1
    """The negative is true if its cosine is above the positive's by more than this."""
    device: str = "cpu"
    batch: int = 32
    """Regions that the model takes at once."""

    needs_image = True

    def lineage(self) -> dict[str, Any]:
        """See `VerifierConfig.lineage`."""
        speed = {"device", "batch"}
        return {"verifier": "region_score"} | {
            name: value for name, value in asdict(self).items() if name not in speed
        }

    def check(self) -> None:
        """See `VerifierConfig.check`."""
        check_model(self.model)

    async def open(self) -> RegionScore:
        """See `VerifierConfig.open`."""
        encoder = await asyncio.to_thread(ModelEncoder.load, self.model, self.device)
        return RegionScore(self, encoder)


class RegionScore:
    """Regions that come at about the same time are encoded together."""

    def __init__(self, config: RegionScoreConfig, encoder: ModelEncoder) -> None:
        self._config = config

        def gaps(questions: Sequence[Question]) -> list[list[float]]:
            pictures = [question.image for question in questions if question.image is not None]
            assert len(pictures) == len(questions)
            regions = encoder.encode_images(pictures, [[q.box] for q in questions])[1]
            phrases = [[q.positive, *(n.text for n in q.negatives)] for q in questions]
            texts = [text for some in phrases for text in some]
            vectors = encoder.encode_texts(texts, long=False)
            ends = np.cumsum([1 + len(q.negatives) for q in questions])[:-1]
            return [
                (part[1:] @ region[0] - part[0] @ region[0]).tolist()
                for part, region in zip(np.split(vectors, ends), regions, strict=True)
            ]

        self._batches = Batcher(gaps, max_batch=config.batch)

    async def votes(self, question: Question) -> list[Vote]:
        """See `Verifier.votes`; the score is the negative's cosine minus the positive's."""
        return [
            Vote(verifier="region_score", is_true=gap > self._config.margin, score=gap)
            for gap in await self._batches.submit(question)
        ]

    async def close(self) -> None:
        """See `Verifier.close`."""
        await self._batches.close()
