"""Longer expressions of regions (`long_expr` of the paper): what tells a region from others.

The caption's own sentence serves where it is about the region alone and says more than the
phrase. Otherwise a captioner describes the crop, with a margin around it, told the phrase.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from datagen.dataset.rows import Box
from datagen.engines.chat import ChatEngine, ChatReply, ChatRequest, Sampling
from datagen.engines.config import EngineConfig
from datagen.engines.prompts import Prompt, PromptError, load_prompt
from datagen.regions.grounding import mentions
from datagen.regions.phrases import Phrase
from datagen.texts.checks import Asked, check_caption, words

PLACE = "{phrase}"
RETRY_TEMPERATURE = 0.7
"""Lowest temperature of a second attempt: at 0, another seed would change nothing."""
SMALLEST_SIDE = 28
"""Pixels; crops with a shorter side are enlarged, for models cut pictures into patches."""


@dataclass(frozen=True, kw_only=True)
class DescriptionsConfig:
    """Which model describes regions, and what it is shown."""

    engine: EngineConfig
    prompt: str = "prompts/region_description.md"
    margin: float = 0.2
    """Shares of the box's sides that the crop reaches beyond it on each side."""
    max_side: int = 512
    """Larger crops are made smaller to this many pixels a side."""
    enough_words: int = 4
    """A sentence suffices if it names nothing but the region and has so many words more than the
    phrase."""

    def lineage(self) -> dict[str, Any]:
        """What changes the descriptions."""
        return {
            "engine": self.engine.lineage(),
            "prompt": describing_prompt(self).lineage(),
            "margin": self.margin,
            "max_side": self.max_side,
            "enough_words": self.enough_words,
        }


@dataclass(frozen=True, slots=True)
class Description:
    """An expression and where it is from: "sentence" or "captioner"."""

    text: str
    source: str


class Describer:
    """Asks an engine for descriptions.

    Args:
        config: the model, the prompt and the crop.
        engine: the engine of that configuration.

    Raises:
        PromptError: the prompt is not there, or has no place for the phrase.
    """

    def __init__(self, config: DescriptionsConfig, engine: ChatEngine) -> None:
        self._config, self._engine = config, engine
        self._prompt = describing_prompt(config)

    async def describe(
        self, image: Image.Image, box: Box, phrase: Phrase, others: Sequence[Phrase], seed_hex: str
    ) -> Description:
        """The region's expression; the sentence where the captioner fails its checks twice.

        Args:
            image: the whole picture.
            box: the region.
            phrase: what it is called.
            others: all phrases of the caption.
            seed_hex: at least 16 hex digits, from which both attempts have their seeds.

        Raises:
            RequestError: the engine refused the request or gave no answer.
        """
        sentence = Description(phrase.sentence, "sentence")
        if suffices(phrase, others, self._config.enough_words):
            return sentence
        crop = await asyncio.to_thread(
            crop_of, image, box, self._config.margin, self._config.max_side
        )
        asked = Asked(
            self._prompt.text.replace(PLACE, ""), self._prompt.language, self._prompt.max_words
        )
        for attempt in (0, 1):
            reply = await self._ask(crop, phrase.text, seed_hex, attempt)
            checked = check_caption(reply.text, reply.finish_reason, asked)
            if not checked.faults and phrase.head in words(checked.text):
                return Description(checked.text, "captioner")
        return sentence

    async def _ask(self, crop: Image.Image, phrase: str, seed_hex: str, attempt: int) -> ChatReply:
        prompt = self._prompt
        warmest = max(prompt.temperature, RETRY_TEMPERATURE)
        return await self._engine.chat(
            ChatRequest(
                text=prompt.text.replace(PLACE, phrase),
                image=crop,
                sampling=Sampling(
                    max_tokens=prompt.max_tokens,
                    temperature=warmest if attempt else prompt.temperature,
                    seed=int(seed_hex[8 * attempt : 8 * attempt + 8], 16) & 0x7FFFFFFF,
                ),
            )
        )


def describing_prompt(config: DescriptionsConfig) -> Prompt:
    """The prompt of a configuration.

    Raises:
        PromptError: it is not there, or has no place for the phrase.
    """
    prompt = load_prompt(config.prompt)
    if PLACE not in prompt.text:
        raise PromptError(f"The prompt {config.prompt} has no {PLACE}: say where the phrase goes.")
    return prompt


def suffices(phrase: Phrase, others: Sequence[Phrase], enough_words: int) -> bool:
    """Whether the phrase's sentence names nothing else and says more than the phrase."""
    more = len(words(phrase.sentence)) - len(words(phrase.text))
    return more >= enough_words and not any(
        mentions(phrase.sentence, other.text) for other in others if other.text != phrase.text
    )


def crop_of(image: Image.Image, box: Box, margin: float, max_side: int) -> Image.Image:
    """The region with a margin around it, cut to the picture.

    Args:
        image: the whole picture.
        box: the region.
        margin: shares of the box's sides that are added on each side.
        max_side: largest side of the result in pixels.
    """
    x, y = margin * (box[2] - box[0]), margin * (box[3] - box[1])
    left, top = max(0.0, box[0] - x) * image.width, max(0.0, box[1] - y) * image.height
    right, bottom = min(1.0, box[2] + x) * image.width, min(1.0, box[3] + y) * image.height
    corner = int(left), int(top)
    crop = image.crop(
        (*corner, max(corner[0] + 1, round(right)), max(corner[1] + 1, round(bottom)))
    )
    small, large = min(crop.size), max(crop.size)
    scale = min(max(1.0, SMALLEST_SIDE / small), max_side / large)
    if scale == 1:
        return crop
    width, height = (max(1, round(side * scale)) for side in crop.size)
    return crop.resize((width, height), Image.Resampling.BICUBIC)
