"""Captions: a long and a short one for each image, by an LMM."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from PIL import Image

from datagen.captions.checks import check_caption
from datagen.dataset import CaptionRow, Dataset, Table
from datagen.dataset.lineage import Lineage
from datagen.engines.chat import ChatEngine, ChatReply, ChatRequest, Sampling, Usage
from datagen.engines.config import EngineConfig
from datagen.engines.open import open_engine
from datagen.engines.prompts import Prompt, load_prompt
from datagen.images.decode import decode
from datagen.stage import Item, RowError, Stage


@dataclass(frozen=True, kw_only=True)
class CaptionsConfig:
    """Which model captions, and with which prompts."""

    engine: EngineConfig
    long_prompt: str = "prompts/caption_long.md"
    short_prompt: str = "prompts/caption_short.md"
    max_side: int = 1024
    """Larger pictures are made smaller to this many pixels a side before the engine sees them."""


@dataclass(frozen=True, slots=True)
class CaptionItem(Item):
    """An image to caption; `id` is its image_id."""

    data: bytes


class CaptionsStage(Stage[CaptionItem]):
    """images → captions."""

    name = "captions"
    source = Table.IMAGES
    output = Table.CAPTIONS
    key = "image_id"

    def __init__(self, config: CaptionsConfig) -> None:
        self.config = config
        self.long = load_prompt(config.long_prompt)
        self.short = load_prompt(config.short_prompt)
        self._engine: ChatEngine | None = None

    @property
    def lineage(self) -> Lineage:
        """Model, both prompts with their hashes, and the picture's size."""
        return Lineage(
            stage=self.name,
            settings={
                "engine": self.config.engine.lineage(),
                "long_prompt": self.long.lineage(),
                "short_prompt": self.short.lineage(),
                "max_side": self.config.max_side,
            },
        )

    def check(self) -> None:
        """See `Stage.check`."""
        self.config.engine.check()

    async def open(self) -> None:
        """See `Stage.open`."""
        self._engine = open_engine(self.config.engine)

    def read(self, dataset: Dataset, shard: int) -> Iterator[CaptionItem]:
        """See `Stage.read`."""
        for batch in dataset.read(Table.IMAGES, shard, ["image_id", "bytes"]):
            for name, data in zip(batch["image_id"], batch["bytes"], strict=True):
                yield CaptionItem(name.as_py(), data.as_py())

    async def process(self, item: CaptionItem) -> Sequence[CaptionRow]:
        """Ask for both captions at once.

        Raises:
            RowError: the picture cannot be decoded, or a caption is empty.
        """
        picture = await asyncio.to_thread(_prepare, item.data, self.config.max_side)
        long, short = await asyncio.gather(
            self._ask(self.long, picture, item.id), self._ask(self.short, picture, item.id)
        )
        if not long.text or not short.text:
            raise RowError("the engine gave an empty caption")
        return [
            CaptionRow(
                image_id=item.id,
                long=long.text,
                short=short.text,
                long_finish_reason=long.finish_reason,
                short_finish_reason=short.finish_reason,
                prompt_tokens=long.prompt_tokens + short.prompt_tokens,
                long_tokens=long.output_tokens,
                short_tokens=short.output_tokens,
                checks=check_caption(long.text, long.finish_reason),
            )
        ]

    async def _ask(self, prompt: Prompt, picture: Image.Image, image_id: str) -> ChatReply:
        assert self._engine is not None, "open() comes first"
        seed = int(image_id[:8], 16) & 0x7FFFFFFF
        return await self._engine.chat(
            ChatRequest(
                text=prompt.text,
                image=picture,
                sampling=Sampling(
                    max_tokens=prompt.max_tokens, temperature=prompt.temperature, seed=seed
                ),
            )
        )

    def usage(self) -> Usage:
        """See `Stage.usage`."""
        return self._engine.usage if self._engine is not None else Usage()

    async def close(self) -> None:
        """See `Stage.close`."""
        if self._engine is not None:
            await self._engine.close()


def _prepare(data: bytes, max_side: int) -> Image.Image:
    picture = decode(data)
    picture.thumbnail((max_side, max_side), Image.Resampling.BICUBIC)
    return picture
