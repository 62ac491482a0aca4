"""The candidates stage: what the rewriter makes of each region's phrase, and what checks refuse."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, zip_longest
from typing import ClassVar, Literal

from datagen.batcher import Batcher
from datagen.dataset import Candidate, CandidatesRow, Dataset, PhraseSlot, Table
from datagen.dataset.lineage import Lineage
from datagen.engines.chat import ChatEngine, Usage
from datagen.engines.config import EngineConfig
from datagen.engines.open import check_engine, open_engine
from datagen.engines.prompts import load_prompt
from datagen.language import DEFAULT_MODEL, load_spacy
from datagen.negatives.checks import Context, first_failure
from datagen.negatives.drafts import Draft
from datagen.negatives.lexicon import DEFAULT_LEXICON, Lexicon, load_lexicon
from datagen.negatives.meaning import NAME as MEANING
from datagen.negatives.meaning import Meaning
from datagen.negatives.rewriter import (
    ASKED,
    CHOSEN,
    VARIANTS,
    FreeRewriter,
    Phrase,
    Rewriter,
    Rewritten,
    SlotRewriter,
)
from datagen.negatives.slots import Slot, SlotFinder
from datagen.stage import Item, Stage
from datagen.text_embeddings import DEFAULT_MODEL as DEFAULT_ENCODER
from datagen.text_embeddings import TextEmbedder


@dataclass(frozen=True, kw_only=True)
class CandidatesConfig:
    """Which LLM rewrites, and what it may change."""

    engine: EngineConfig
    rewriter: Literal["slots", "free"] = "slots"
    """slots: the LLM only names values; free: it writes whole phrases, as in the paper."""
    prompt: str | None = None
    """File with the prompt; the rewriter's own one by default."""
    lexicon: str = str(DEFAULT_LEXICON)
    """YAML file with the values of each kind of attribute."""
    spacy_model: str = DEFAULT_MODEL
    """Name of an installed spaCy package, or a folder."""
    kinds: tuple[str, ...] = ()
    """Kinds of attributes that may change; none: all of the lexicon but objects and parts."""
    meaning: float | None = 0.8
    """Cosine of sentence embeddings, up to 1, from which on a new value that the lexicon does not
    know is a synonym of the old one; none: not asked. Only the free rewriter writes such values."""
    sentence_model: str = DEFAULT_ENCODER
    """Sentence encoder for `meaning`: a name on a model hub or a folder."""
    per_request: int = 10
    """Phrases that the free rewriter asks for in one request."""


@dataclass(frozen=True, slots=True)
class PhraseItem(Item):
    """A region; `id` is its region_id, `others` the phrases of its image's other regions."""

    image_id: str
    phrase: str
    others: tuple[str, ...]


class CandidatesStage(Stage[PhraseItem]):
    """regions → candidates. One row a region, with an empty list where nothing can be changed."""

    name: ClassVar[str] = "candidates"
    source: ClassVar[Table] = Table.REGIONS
    output: ClassVar[Table] = Table.CANDIDATES
    key: ClassVar[str] = "region_id"

    _engine: ChatEngine
    _rewriter: Rewriter
    _slots: Batcher[str, list[Slot]]

    def __init__(self, config: CandidatesConfig) -> None:
        self.config = config
        self.prompt = load_prompt(config.prompt or f"prompts/negatives_{config.rewriter}.md")
        self.lexicon = load_lexicon(config.lexicon)
        self._kinds = allowed_kinds(self.lexicon, config.kinds)
        self._meaning: Batcher[Draft, str | None] | None = None

    @property
    def lineage(self) -> Lineage:
        """See `Stage.lineage`."""
        free = self.config.rewriter == "free"
        return Lineage(
            stage=self.name,
            settings={
                "engine": self.config.engine.lineage(),
                "rewriter": self.config.rewriter,
                "prompt": self.prompt.lineage(),
                "lexicon": self.lexicon.hash,
                "kinds": sorted(self._kinds),
                "spacy_model": self.config.spacy_model,
                **({"per_request": self.config.per_request} if free else {}),
                **({"meaning": [self.config.meaning, self.config.sentence_model]} if free else {}),
                **({} if free else {"asked": ASKED, "chosen": CHOSEN, "variants": VARIANTS}),
            },
        )

    def check(self) -> None:
        """See `Stage.check`."""
        load_spacy(self.config.spacy_model)
        check_engine(self.config.engine)

    async def open(self) -> None:
        """See `Stage.open`."""
        finder = SlotFinder(self.lexicon, self.config.spacy_model)
        self._slots = Batcher(finder.find, max_batch=64)
        self._engine = open_engine(self.config.engine)
        if self.config.rewriter == "free":
            self._rewriter = FreeRewriter(self._engine, self.prompt, self.config.per_request)
            if self.config.meaning is not None:
                embedder = await asyncio.to_thread(TextEmbedder, self.config.sentence_model)
                meaning = Meaning(embedder, self.lexicon, self.config.meaning)
                self._meaning = Batcher(meaning.failures, max_batch=256)
        else:
            self._rewriter = SlotRewriter(self._engine, self.prompt, self.lexicon)

    def read(self, dataset: Dataset, shard: int) -> Iterator[PhraseItem]:
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
                yield PhraseItem(region["region_id"], image_id, region["phrase"], others)

    async def process(self, item: PhraseItem) -> list[CandidatesRow]:
        """The candidates of one region.

        Raises:
            RequestError: the engine refused a question or was cut off.
        """
        slots = await self._slots.submit(item.phrase)
        allowed = tuple(slot for slot in slots if slot.kind in self._kinds)
        rewritten = await self._rewriter.rewrite(Phrase(item.id, item.phrase, allowed))
        reasons: list[str | None] = []
        if self._meaning is not None:
            reasons = await asyncio.gather(*map(self._meaning.submit, rewritten.drafts))
        return [candidates_row(item, slots, rewritten, self.lexicon, reasons)]

    def usage(self) -> Usage:
        """See `Stage.usage`."""
        return self._engine.usage

    async def close(self) -> None:
        """See `Stage.close`."""
        await self._slots.close()
        if self._meaning is not None:
            await self._meaning.close()
        await self._engine.close()


def allowed_kinds(lexicon: Lexicon, kinds: Sequence[str] = ()) -> frozenset[str]:
    """The kinds that may change: those that are named, or else the lexicon's kinds of attributes.

    Raises:
        ValueError: the lexicon has no such kind.
    """
    unknown = [kind for kind in kinds if kind not in lexicon.kinds]
    if unknown:
        raise ValueError(
            f"The lexicon has no kind {unknown[0]!r}: its kinds are {', '.join(lexicon.kinds)}."
        )
    return frozenset(kinds) or frozenset(map(str, lexicon.attribute_kinds))


def candidates_row(
    item: PhraseItem,
    slots: Sequence[Slot],
    rewritten: Rewritten,
    lexicon: Lexicon,
    meanings: Sequence[str | None] = (),
) -> CandidatesRow:
    """Hold every draft against the checks; those that fail are kept too, with the reason.

    Args:
        meanings: for each draft what `Meaning` has against it, if that was asked.
    """
    context = Context(item.phrase, slots, lexicon, item.others)
    numbers = {slot: number for number, slot in enumerate(slots)}
    candidates = []
    for draft, meaning in zip_longest(rewritten.drafts, meanings):
        failure = first_failure(draft, context) or ((MEANING, meaning) if meaning else None)
        if failure is None:
            context.keep(draft)
        candidates.append(_candidate(draft, failure, numbers))
    return CandidatesRow(
        region_id=item.id,
        image_id=item.image_id,
        positive=item.phrase,
        slots=[
            PhraseSlot(
                kind=slot.kind,
                family=lexicon.family_name(slot.value, slot.kind, slot.noun),
                value=slot.value,
                span_start=slot.span_start,
                span_end=slot.span_end,
                noun=slot.noun,
                proposed=slot in rewritten.proposed,
            )
            for slot in slots
        ],
        candidates=candidates,
    )


def _candidate(
    draft: Draft, failure: tuple[str, str] | None, numbers: dict[Slot, int]
) -> Candidate:
    negative, first = draft.negative(), draft.edits[0].slot
    return Candidate(
        text=negative.text,
        type=negative.type,
        slot=numbers[first] if first is not None and len(draft.edits) == 1 else -1,
        span_start=negative.span_start,
        span_end=negative.span_end,
        old=negative.old,
        new=negative.new,
        refused_by=failure[0] if failure else None,
        reason=failure[1] if failure else None,
    )
