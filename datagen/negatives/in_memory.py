"""Candidates and a balanced choice of phrases that are in memory, as the two stages make them.

For experiments and benchmarks: no tables, no engine, and the same code as the stages have.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from datagen.dataset import CandidatesRow, Negative
from datagen.negatives.balance import Counts
from datagen.negatives.candidates import PhraseItem, allowed_kinds, candidates_row
from datagen.negatives.lexicon import Lexicon
from datagen.negatives.rewriter import Phrase, Rewriter, SlotRewriter
from datagen.negatives.selection import SelectConfig, Selector, Surroundings, count_row
from datagen.negatives.slots import Slot, SlotFinder


class EveryValue(SlotRewriter):
    """Without an LLM: every value that the lexicon allows such a noun."""

    def __init__(self, lexicon: Lexicon) -> None:
        self._lexicon = lexicon

    async def values(self, slot: Slot) -> list[str]:
        """See `SlotRewriter.values`."""
        return list(self._lexicon.family(slot.value, slot.kind, slot.noun))


def phrases_of(image: str, phrases: Sequence[str]) -> list[PhraseItem]:
    """The regions of one image, called `<image>/<number>`, each with the others' phrases."""
    return [
        PhraseItem(f"{image}/{i}", image, text, tuple(phrases[:i]) + tuple(phrases[i + 1 :]))
        for i, text in enumerate(phrases)
    ]


async def candidates(
    items: Sequence[PhraseItem], lexicon: Lexicon, rewriter: Rewriter | None = None
) -> list[CandidatesRow]:
    """What the candidates stage makes of the phrases; without a rewriter, every value.

    Raises:
        RequestError: the rewriter's engine refused.
    """
    rewriter = rewriter or EveryValue(lexicon)
    kinds = allowed_kinds(lexicon)
    found = SlotFinder(lexicon).find([item.phrase for item in items])
    rows = []
    for item, slots in zip(items, found, strict=True):
        allowed = tuple(slot for slot in slots if slot.kind in kinds)
        rewritten = await rewriter.rewrite(Phrase(item.id, item.phrase, allowed))
        rows.append(candidates_row(item, slots, rewritten, lexicon))
    return rows


def select(
    rows: Sequence[CandidatesRow], config: SelectConfig, lexicon: Lexicon
) -> list[list[Negative]]:
    """What the negatives stage chooses for each row; those of an image stand together."""
    counts = Counts()
    for row in rows:
        count_row(row, counts)
    selector = Selector(config, counts, lexicon)
    chosen = []
    for _, group in groupby(rows, key=lambda row: row.image_id):
        image = list(group)
        for row in image:
            around = Surroundings([other for other in image if other is not row], rows)
            chosen.append(selector.select(row, around))
    return chosen
