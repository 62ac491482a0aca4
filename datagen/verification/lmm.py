"""An LMM that is shown the region and asked whether a phrase is true of it: yes or no."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from typing import Any

from PIL import Image

from datagen.dataset import Vote
from datagen.dataset.rows import Box
from datagen.engines.chat import ChatEngine, ChatRequest, Sampling, Structure
from datagen.engines.config import EngineConfig
from datagen.engines.errors import RequestError
from datagen.engines.open import check_engine, open_engine
from datagen.engines.prompts import Prompt, load_prompt
from datagen.negatives.verify import Question

YES, NO = "yes", "no"


@dataclass(frozen=True, kw_only=True)
class LmmVerifierConfig:
    """Which LMM is asked, and how."""

    engine: EngineConfig
    prompt: str = "prompts/negatives_verify.md"
    context: float = 0.1
    """What is shown around the box, in shares of its sides."""

    needs_image = True

    def lineage(self) -> dict[str, Any]:
        """See `VerifierConfig.lineage`."""
        return {
            "verifier": "lmm",
            "engine": self.engine.lineage(),
            "prompt": load_prompt(self.prompt).lineage(),
            "context": self.context,
        }

    def check(self) -> None:
        """See `VerifierConfig.check`."""
        check_engine(self.engine)

    async def open(self) -> LmmVerifier:
        """See `VerifierConfig.open`."""
        return LmmVerifier(open_engine(self.engine), load_prompt(self.prompt), self.context)


class LmmVerifier:
    """One request a negative, all in flight at once; the picture's tokens are cached by the engine.

    Args:
        prompt: its last line is the question, with `{phrase}`.
    """

    def __init__(self, engine: ChatEngine, prompt: Prompt, context: float = 0.1) -> None:
        self._engine, self._prompt, self._context = engine, prompt, context
        self._system, _, self._question = prompt.text.rpartition("\n")

    async def votes(self, question: Question) -> list[Vote]:
        """See `Verifier.votes`; the score is 1 for yes and 0 for no.

        Raises:
            RequestError: the engine refused, or answered neither yes nor no.
        """
        assert question.image is not None
        picture = crop(question.image, question.box, self._context)
        answers = await asyncio.gather(
            *(self._ask(picture, negative.text) for negative in question.negatives)
        )
        return [
            Vote(verifier="lmm", is_true=answer == YES, score=float(answer == YES))
            for answer in answers
        ]

    async def _ask(self, picture: Image.Image, phrase: str) -> str:
        reply = await self._engine.chat(
            ChatRequest(
                system=self._system.strip(),
                text=self._question.format(phrase=phrase.rstrip(".")),
                image=picture,
                structure=Structure(choice=(YES, NO)),
                sampling=Sampling(
                    max_tokens=self._prompt.max_tokens,
                    temperature=self._prompt.temperature,
                    seed=int(hashlib.sha256(phrase.encode()).hexdigest()[:7], 16),
                ),
            )
        )
        answer = reply.text.strip()
        if answer not in (YES, NO):
            raise RequestError(
                f"The LMM answered {answer!r} to whether it is {phrase!r}: it does not follow "
                "structures, so its yes or no cannot be told."
            )
        return answer

    async def close(self) -> None:
        """See `Verifier.close`."""
        await self._engine.close()


def crop(image: Image.Image, box: Box, context: float) -> Image.Image:
    """The box and a margin of `context` times its sides, at least one pixel wide and high."""
    width, height = image.size
    dx, dy = context * (box[2] - box[0]), context * (box[3] - box[1])
    left, top = int(max(0.0, box[0] - dx) * width), int(max(0.0, box[1] - dy) * height)
    right, bottom = int(min(1.0, box[2] + dx) * width), int(min(1.0, box[3] + dy) * height)
    return image.crop((left, top, max(right, left + 1), max(bottom, top + 1)))
