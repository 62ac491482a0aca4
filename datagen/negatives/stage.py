"""The negatives stage: for each region, phrases that differ from it in one attribute."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import ClassVar

from datagen.batcher import Batcher
from datagen.dataset import Dataset, NegativesRow, Table
from datagen.dataset.lineage import Lineage
from datagen.engines.chat import ChatEngine, Usage
from datagen.engines.config import EngineConfig
from datagen.engines.open import open_engine
from datagen.engines.prompts import load_prompt
from datagen.language import DEFAULT_MODEL, load_spacy
from datagen.negatives.build import build, share
from datagen.negatives.lexicon import DEFAULT_LEXICON, load_lexicon
from datagen.negatives.rewriter import VARIANTS, SlotRewriter
from datagen.negatives.slots import Slot, SlotFinder
from datagen.stage import Item, Stage


@dataclass(frozen=True, kw_only=True)
class NegativesConfig:
    """Which LLM rewrites, and what it may change."""

    engine: EngineConfig
    prompt: str = "prompts/negatives_slots.md"
    lexicon: str = str(DEFAULT_LEXICON)
    """YAML file with the values of each kind of attribute."""
    spacy_model: str = DEFAULT_MODEL
    """Name of an installed spaCy package, or a folder."""
    per_region: int = 10
    """Negatives of a region, fewer where its phrase allows fewer."""


@dataclass(frozen=True, slots=True)
class RegionItem(Item):
    """A region; `id` is its region_id, `others` the phrases of its image's other regions."""

    image_id: str
    phrase: str
    others: tuple[str, ...]


class NegativesStage(Stage[RegionItem]):
    """regions → negatives. One row a region, with an empty list where nothing can be changed."""

    name: ClassVar[str] = "negatives"
    source: ClassVar[Table] = Table.REGIONS
    output: ClassVar[Table] = Table.NEGATIVES
    key: ClassVar[str] = "region_id"

    _engine: ChatEngine
    _rewriter: SlotRewriter
    _slots: Batcher[str, list[Slot]]

    def __init__(self, config: NegativesConfig) -> None:
        self.config = config
        self.prompt = load_prompt(config.prompt)
        self.lexicon = load_lexicon(config.lexicon)

    @property
    def lineage(self) -> Lineage:
        """See `Stage.lineage`."""
        return Lineage(
            stage=self.name,
            settings={
                "engine": self.config.engine.lineage(),
                "prompt": self.prompt.lineage(),
                "lexicon": self.lexicon.hash,
                "spacy_model": self.config.spacy_model,
                "per_region": self.config.per_region,
                "variants": VARIANTS,
            },
        )

    def check(self) -> None:
        """See `Stage.check`."""
        load_spacy(self.config.spacy_model)
        self.config.engine.check()

    async def open(self) -> None:
        """See `Stage.open`."""
        finder = SlotFinder(self.lexicon, self.config.spacy_model)
        self._slots = Batcher(finder.find, max_batch=64)
        self._engine = open_engine(self.config.engine)
        self._rewriter = SlotRewriter(self._engine, self.prompt, self.lexicon)

    def read(self, dataset: Dataset, shard: int) -> Iterator[RegionItem]:
        """Regions of the shard; those of one image stand together in it."""
        columns = ["region_id", "image_id", "phrase"]
        rows = (
            row
            for batch in dataset.read(Table.REGIONS, shard, columns=columns)
            for row in batch.to_pylist()
        )
        for image_id, group in groupby(rows, key=lambda row: row["image_id"]):
            regions = list(group)
            for region in regions:
                others = tuple(r["phrase"] for r in regions if r is not region)
                yield RegionItem(region["region_id"], image_id, region["phrase"], others)

    async def process(self, item: RegionItem) -> list[NegativesRow]:
        """The negatives of one region.

        Raises:
            RequestError: the engine refused a question or was cut off.
        """
        slots = await self._slots.submit(item.phrase)
        rooms = [self.lexicon.room(slot.value) for slot in slots]
        shares = share(rooms, self.config.per_region)
        values = await asyncio.gather(
            *(
                self._rewriter.values(slot, count, item.id)
                for slot, count in zip(slots, shares, strict=True)
            )
        )
        negatives = build(
            item.phrase,
            dict(zip(slots, values, strict=True)),
            dict(zip(slots, shares, strict=True)),
            others=item.others,
            lexicon=self.lexicon,
        )
        return [
            NegativesRow(
                region_id=item.id,
                image_id=item.image_id,
                positive=item.phrase,
                negatives=negatives,
            )
        ]

    def usage(self) -> Usage:
        """See `Stage.usage`."""
        return self._engine.usage

    async def close(self) -> None:
        """See `Stage.close`."""
        await self._slots.close()
        await self._engine.close()
