"""From candidates to negatives: which changes, which values, and balanced so that texts tell
nothing."""

from __future__ import annotations

import hashlib
import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from datagen.dataset import CandidatesRow, Negative
from datagen.negatives.balance import Balance, BalanceConfig, Counts
from datagen.negatives.checks import CHECKS, Context, first_failure
from datagen.negatives.drafts import (
    ADD,
    CHANGES,
    OTHER_OBJECT,
    REPLACE,
    REPLACE_THREE,
    REPLACE_TWO,
    SWAP,
    SWAP_REGIONS,
    Draft,
    put_values,
    whole_phrase,
)
from datagen.negatives.lexicon import COLOUR, NOUN_KINDS, OBJECT, Lexicon
from datagen.negatives.slots import Slot

Values = dict[Slot, list[str]]
_AT_ONCE = {REPLACE: 1, REPLACE_TWO: 2, REPLACE_THREE: 3}
_ADDED = COLOUR
_SPARE = 3
"""Drafts for each negative that is wanted, since checks and duplicates take some."""


@dataclass(frozen=True, kw_only=True)
class SelectConfig:
    """Which negatives a region gets."""

    per_region: int = 10
    """Negatives of a region, fewer where its phrase or the balance allows fewer."""
    changes: Mapping[str, float] = field(
        default_factory=lambda: {
            REPLACE: 0.6,
            REPLACE_TWO: 0.15,
            REPLACE_THREE: 0.05,
            OTHER_OBJECT: 0.1,
            SWAP: 0.05,
            SWAP_REGIONS: 0.05,
        }
    )
    """Shares of the kinds of change. Where a region has no room for one, `replace` makes up for it.
    `add` makes texts longer and its reverse is not false, so that no balance can hide it."""
    balanced: bool = True
    """Choose so that texts alone do not tell the positive; otherwise at random."""
    balance: BalanceConfig = field(default_factory=BalanceConfig)

    def __post_init__(self) -> None:
        unknown = set(self.changes) - set(CHANGES)
        if unknown:
            raise ValueError(f"There is no change {min(unknown)!r}: use {', '.join(CHANGES)}.")
        if self.per_region < 1 or any(share < 0 for share in self.changes.values()):
            raise ValueError("per_region must be 1 or more, and no share of changes below 0.")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a region's choice may look at besides the region.

    `neighbours` are the other regions of the image, `strangers` regions of other images.
    """

    neighbours: Sequence[CandidatesRow]
    strangers: Sequence[CandidatesRow]


class Selector:
    """Chooses the negatives of a region. The same row and counts give the same negatives."""

    def __init__(self, config: SelectConfig, counts: Counts, lexicon: Lexicon) -> None:
        self.config, self._lexicon = config, lexicon
        self.balance = Balance(counts, lexicon, config.balance)

    def select(self, row: CandidatesRow, around: Surroundings) -> list[Negative]:
        """Its negatives, each of which has passed the checks; empty where the balance has none."""
        chance = random.Random(_seed(row.region_id))
        slots = slots_of(row)
        names = [neighbour.positive for neighbour in around.neighbours]
        context = Context(row.positive, slots, self._lexicon, names)
        values = self._values(row, slots)
        kept: list[Draft] = []
        for change, wanted in self._plan(row.region_id).items():
            if change == REPLACE:
                continue
            drafts = self._drafts(change, row, slots, values, around, chance)
            self._take(drafts, wanted, kept, context)
        room = self.config.per_region - len(kept)
        self._take(self._replaced(row, values, 1, chance), room, kept, context)
        if all(draft.change == OTHER_OBJECT for draft in kept):
            return []  # other objects' phrases alone are not worth a region's loss
        chance.shuffle(kept)
        return [draft.negative(list(CHECKS)) for draft in kept]

    def _values(self, row: CandidatesRow, slots: Sequence[Slot]) -> Values:
        """For each slot the values that may replace its own, as they are to be written."""
        good: dict[int, set[str]] = {}
        for candidate in row.candidates:
            if candidate.refused_by is None and candidate.slot >= 0:
                good.setdefault(candidate.slot, set()).add(candidate.new.lower())
        found: Values = {}
        for number, (slot, stored) in enumerate(zip(slots, row.slots, strict=True)):
            allowed = {self._canonical(value, slot) for value in good.get(number, ())}
            if not self.config.balanced:
                found[slot] = sorted(good.get(number, ()))
            elif allowed and stored.proposed:
                seed = f"{row.region_id}/{number}"
                surface = slot.surface(row.positive)
                drawn = self.balance.set_of(slot.kind, stored.family, slot.noun, surface, seed)
                found[slot] = [v for v in drawn if self._canonical(v, slot) in allowed]
        return {slot: values for slot, values in found.items() if values}

    def _canonical(self, surface: str, slot: Slot) -> str:
        return self._lexicon.canonical(self._lexicon.split_shade(surface)[1], slot.kind)

    def _plan(self, region_id: str) -> dict[str, int]:
        """How many of each change; what is left of a share is drawn, so that all regions together
        have the shares."""
        chance, total = random.Random(_seed(f"{region_id}/plan")), sum(self.config.changes.values())
        plan = {}
        for change in CHANGES:
            exact = self.config.per_region * self.config.changes.get(change, 0.0) / (total or 1.0)
            plan[change] = int(exact) + (chance.random() < exact % 1.0)
        return plan

    def _drafts(
        self,
        change: str,
        row: CandidatesRow,
        slots: Sequence[Slot],
        values: Values,
        around: Surroundings,
        chance: random.Random,
    ) -> Iterator[Draft]:
        if change in _AT_ONCE:
            return self._replaced(row, values, _AT_ONCE[change], chance)
        if change == OTHER_OBJECT:
            return self._other_objects(row, around, chance)
        if change == SWAP:
            return self._swapped(row, slots, chance)
        if change == SWAP_REGIONS:
            return self._swapped_regions(row, slots, around)
        return self._added(row, slots, chance)

    def _take(
        self, drafts: Iterator[Draft], wanted: int, kept: list[Draft], context: Context
    ) -> None:
        for draft in drafts:
            if wanted <= 0:
                return
            if first_failure(draft, context) is None:
                context.keep(draft)
                kept.append(draft)
                wanted -= 1

    def _replaced(
        self, row: CandidatesRow, values: Values, at_once: int, chance: random.Random
    ) -> Iterator[Draft]:
        """Values of the sets in place of the own ones, in so many slots of the phrase at once."""
        change = next(name for name, count in _AT_ONCE.items() if count == at_once)
        after_of = self._lexicon.after_of
        if at_once == 1:
            pairs = [(slot, value) for slot, some in values.items() for value in some]
            for pair in chance.sample(pairs, len(pairs)):
                yield put_values(row.positive, [pair], change, after_of=after_of)
            return
        if len(values) < at_once:
            return
        for _ in range(_SPARE * self.config.per_region):
            chosen = chance.sample(list(values), at_once)
            if not _overlap(chosen):
                edits = [(slot, chance.choice(values[slot])) for slot in chosen]
                yield put_values(row.positive, edits, change, after_of=after_of)

    def _other_objects(
        self, row: CandidatesRow, around: Surroundings, chance: random.Random
    ) -> Iterator[Draft]:
        """Phrases of other images: as often negative as they are positive."""
        here = {head(row), *(head(neighbour) for neighbour in around.neighbours)}
        own = slots_of(row)
        slot = next((s for s in own if s.kind == OBJECT), None)
        count = min(len(around.strangers), _SPARE * self.config.per_region)
        for stranger in chance.sample(around.strangers, count):
            other = head(stranger)
            if other and not any(self._same_object(other, name) for name in here):
                yield whole_phrase(row.positive, stranger.positive, slot)

    def _same_object(self, one: str, other: str) -> bool:
        classes = self._lexicon.class_of(one), self._lexicon.class_of(other)
        generic = "person" in classes and classes[0] == classes[1]
        return not other or one == other or generic or self._lexicon.alike(one, other, OBJECT)

    def _swapped(
        self, row: CandidatesRow, slots: Sequence[Slot], chance: random.Random
    ) -> Iterator[Draft]:
        """Two values of one kind change places: "a red mug with a blue handle"."""
        pairs = [
            (i, j)
            for i in range(len(slots))
            for j in range(i + 1, len(slots))
            if row.slots[i].family == row.slots[j].family
            and slots[i].kind not in NOUN_KINDS
            and slots[i].noun != slots[j].noun
        ]
        for i, j in chance.sample(pairs, len(pairs)):
            a, b = slots[i].surface(row.positive), slots[j].surface(row.positive)
            seed = f"{row.region_id}/{i}/{j}"
            if not _overlap([slots[i], slots[j]]) and self._even(row, i, row, j, seed):
                yield put_values(
                    row.positive,
                    [(slots[i], b), (slots[j], a)],
                    SWAP,
                    after_of=self._lexicon.after_of,
                )

    def _swapped_regions(
        self, row: CandidatesRow, slots: Sequence[Slot], around: Surroundings
    ) -> Iterator[Draft]:
        """A value of another region of the image, which takes this one's in return."""
        for neighbour in around.neighbours:
            theirs = slots_of(neighbour)
            for i, slot in enumerate(slots):
                for j, other in enumerate(theirs):
                    same = row.slots[i].family == neighbour.slots[j].family
                    if not same or slot.kind in NOUN_KINDS:
                        continue
                    first, second = sorted((f"{row.region_id}/{i}", f"{neighbour.region_id}/{j}"))
                    if self._even(row, i, neighbour, j, f"{first}/{second}"):
                        value = other.surface(neighbour.positive)
                        yield put_values(
                            row.positive,
                            [(slot, value)],
                            SWAP_REGIONS,
                            after_of=self._lexicon.after_of,
                        )

    def _even(self, one: CandidatesRow, i: int, other: CandidatesRow, j: int, seed: str) -> bool:
        """Whether two values may change places: as often as they stand the other way round.

        Metropolis' rule: what is frequent is swapped as often as the rare reverse of it.
        """
        if not self.config.balanced:
            return True
        a, b = one.slots[i], other.slots[j]
        slots = Slot(a.kind, a.value, 0, 0, a.noun), Slot(b.kind, b.value, 0, 0, b.noun)
        va, vb = self._canonical(a.value, slots[0]), self._canonical(b.value, slots[1])
        there = self.balance.share(a.kind, a.family, a.noun, va) * self.balance.share(
            b.kind, b.family, b.noun, vb
        )
        back = self.balance.share(a.kind, a.family, a.noun, vb) * self.balance.share(
            b.kind, b.family, b.noun, va
        )
        return there > 0 and random.Random(_seed(seed)).random() < back / there

    def _added(
        self, row: CandidatesRow, slots: Sequence[Slot], chance: random.Random
    ) -> Iterator[Draft]:
        """A colour for an object whose phrase has none. Whether it is false, verifiers must say."""
        thing = next((s for s in slots if s.kind == OBJECT), None)
        if thing is None or any(s.kind == _ADDED and s.noun == thing.noun for s in slots):
            return
        if thing.noun in self._lexicon.not_of.get(_ADDED, ()):
            return
        first = self._lexicon.kinds.get(_ADDED, ((),))[0]
        start = thing.span_start
        slot = Slot(_ADDED, "", start, start, thing.noun)
        for value in chance.sample([group[0] for group in first], len(first)):
            draft = put_values(row.positive, [(slot, f"{value} ")], ADD)
            yield draft


def slots_of(row: CandidatesRow) -> list[Slot]:
    """The row's slots as the finder made them."""
    return [Slot(s.kind, s.value, s.span_start, s.span_end, s.noun) for s in row.slots]


def head(row: CandidatesRow) -> str:
    """The noun of the whole phrase, or "" where it is not known."""
    found = next((s.noun for s in row.slots if s.kind == OBJECT), "")
    nouns = [s.noun for s in row.slots]
    return found or (max(set(nouns), key=nouns.count) if nouns else "")


def count_row(row: CandidatesRow, counts: Counts) -> None:
    """Count the slots of a region that could be balanced."""
    changed = {c.slot for c in row.candidates if c.refused_by is None}
    for number, slot in enumerate(row.slots):
        if slot.proposed and number in changed:
            surface = row.positive[slot.span_start : slot.span_end].lower()
            counts.add(slot.kind, slot.family, slot.noun, surface)


def _overlap(slots: Sequence[Slot]) -> bool:
    ordered = sorted(slots, key=lambda s: s.span_start)
    return any(b.span_start < a.span_end for a, b in itertools.pairwise(ordered))


def _seed(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
