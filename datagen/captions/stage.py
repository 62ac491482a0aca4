"""Captions: a long and a short one for each image, by an LMM."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from PIL import Image

from datagen.captions.hints import columns_of, constant, fill, hints_of
from datagen.dataset import CaptionRow, Dataset, Table
from datagen.dataset.lineage import Lineage
from datagen.dataset.rows import Row
from datagen.engines.chat import ChatEngine, ChatReply, ChatRequest, Sampling, Usage
from datagen.engines.config import EngineConfig
from datagen.engines.open import check_engine, open_engine
from datagen.engines.prompts import Prompt, PromptError, load_prompt
from datagen.images.decode import decode
from datagen.stage import Item, RowError, Stage
from datagen.texts.checks import Asked, Checked, check_caption
from datagen.texts.language import LANGUAGES

RETRY_TEMPERATURE = 0.7
"""Lowest temperature of a second attempt: at 0, another seed would change nothing."""


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
    """An image to caption; `id` is its image_id, `hints` what its source says of it, by column."""

    data: bytes
    hints: dict[str, str] = field(default_factory=dict)


class CaptionRejected(RowError):
    """A caption failed its checks twice; the message begins with their names."""


@dataclass(frozen=True, slots=True)
class Caption:
    """A caption that passed. `original` is what the model said where checks changed it."""

    reply: ChatReply
    checked: Checked
    attempts: int
    prompt_tokens: int

    @property
    def original(self) -> str | None:
        return self.reply.text if self.checked.mended else None


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
        self._hinted = {name for p in (self.long, self.short) for name in columns_of(p.text)}
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
        """See `Stage.check`.

        Raises:
            PromptError: a prompt asks for a language that captions cannot be checked for.
        """
        for prompt in (self.long, self.short):
            if prompt.language not in LANGUAGES:
                raise PromptError(
                    f"The prompt {prompt.name} asks for the language {prompt.language!r}; captions "
                    f"can be checked for {' and '.join(LANGUAGES)}."
                )
        check_engine(self.config.engine)

    async def open(self) -> None:
        """See `Stage.open`."""
        self._engine = open_engine(self.config.engine)

    def read(self, dataset: Dataset, shard: int) -> Iterator[CaptionItem]:
        """See `Stage.read`."""
        columns = ["image_id", "bytes", *(["source_caption", "source"] if self._hinted else [])]
        for batch in dataset.read(Table.IMAGES, shard, columns):
            for row in batch.to_pylist():
                hints = hints_of(row.get("source_caption"), row.get("source"))
                wanted = {name: hints[name] for name in self._hinted & hints.keys()}
                yield CaptionItem(row["image_id"], row["bytes"], wanted)

    async def process(self, item: CaptionItem) -> Sequence[CaptionRow]:
        """Ask for both captions at once, and once more for one that fails its checks.

        Raises:
            CaptionRejected: a caption failed its checks twice.
            ImageError: the picture cannot be decoded.
        """
        picture = await asyncio.to_thread(_prepare, item.data, self.config.max_side)
        long, short = await asyncio.gather(
            self._caption("long", self.long, picture, item),
            self._caption("short", self.short, picture, item),
        )
        return [
            CaptionRow(
                image_id=item.id,
                long=long.checked.text,
                short=short.checked.text,
                long_finish_reason=long.reply.finish_reason,
                short_finish_reason=short.reply.finish_reason,
                prompt_tokens=long.prompt_tokens + short.prompt_tokens,
                long_tokens=long.reply.output_tokens,
                short_tokens=short.reply.output_tokens,
                checks=sorted({*long.checked.mended, *short.checked.mended}),
                long_original=long.original,
                short_original=short.original,
                attempts=long.attempts + short.attempts,
            )
        ]

    async def _caption(
        self, kind: str, prompt: Prompt, picture: Image.Image, item: CaptionItem
    ) -> Caption:
        asked = Asked(constant(prompt.text), prompt.language, prompt.max_words)
        prompt_tokens, faults, reply = 0, [], None
        for attempt in (1, 2):
            reply = await self._ask(prompt, picture, item, attempt)
            prompt_tokens += reply.prompt_tokens
            checked = check_caption(reply.text, reply.finish_reason, asked)
            if not checked.faults:
                return Caption(reply, checked, attempt, prompt_tokens)
            faults.append(", ".join(checked.faults))
        assert reply is not None
        raise CaptionRejected(
            f"{faults[1]}: the {kind} caption failed its checks twice (first: {faults[0]}); the "
            f"second attempt begins {reply.text[:80]!r}"
        )

    async def _ask(
        self, prompt: Prompt, picture: Image.Image, item: CaptionItem, attempt: int
    ) -> ChatReply:
        assert self._engine is not None, "open() comes first"
        first = attempt == 1
        start = 8 * (attempt - 1)  # image_ids are random hex digits: other digits, another seed
        return await self._engine.chat(
            ChatRequest(
                text=fill(prompt.text, item.hints),
                image=picture,
                sampling=Sampling(
                    max_tokens=prompt.max_tokens,
                    temperature=prompt.temperature
                    if first
                    else max(prompt.temperature, RETRY_TEMPERATURE),
                    seed=int(item.id[start : start + 8], 16) & 0x7FFFFFFF,
                ),
            )
        )

    def usage(self) -> Usage:
        """See `Stage.usage`."""
        return self._engine.usage if self._engine is not None else Usage()

    def preview(self, item: CaptionItem, rows: Sequence[Row]) -> str:
        """See `Stage.preview`; the picture is on the page that a dry run writes."""
        lines = [f"image {item.id} ({len(item.data):,} bytes)"]
        for row in rows:
            assert isinstance(row, CaptionRow)
            lines += [
                f"  prompts of {row.prompt_tokens} tokens, pictures included",
                f"  > {fill(self.long.text, item.hints)}",
                f"  long ({row.long_tokens} tokens, {row.long_finish_reason}): {row.long}",
                f"  > {fill(self.short.text, item.hints)}",
                f"  short ({row.short_tokens} tokens, {row.short_finish_reason}): {row.short}",
            ]
            if row.checks:
                lines.append(f"  mended: {', '.join(row.checks)}")
        return "\n".join(lines)

    async def close(self) -> None:
        """See `Stage.close`."""
        if self._engine is not None:
            await self._engine.close()


def _prepare(data: bytes, max_side: int) -> Image.Image:
    picture = decode(data, side=max_side)
    picture.thumbnail((max_side, max_side), Image.Resampling.BICUBIC)
    return picture
