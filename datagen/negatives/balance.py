"""Blind balance: sets of values in which each is the true one equally often.

A text-only model guesses the positive where some values are true more often than others. So each
slot of a region gets a *set* of values, its own among them, such that over all regions every value
of the set is the true one with the same chance. Then nothing that is said in the texts tells which.

For m values a set, a value that is true in a share p of the regions can stand for at most 1/m of
those that are kept: of the frequent ones some regions are left out of this slot (their other
slots may stay). With T the share kept, value v keeps t(v) = min(p(v), T/m), and T is the largest
number that the t(v) add up to. The sets are then drawn by systematic sampling: the values lie on a
circle of circumference m, each with an arc of m·t(v)/T, which is 1 at most; a region picks a
point in the arc of its own value, and its set are the values at whole steps from there. The same
set is found from each of its values equally often.
"""

from __future__ import annotations

import bisect
import hashlib
import itertools
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from datagen.negatives.lexicon import Lexicon

ORDERS = 24
"""Orders of the values on the circle; a region takes one of them."""
TRIED = 8
"""Random orders for each of these, of which those with the fewest near values in one set are taken:
a choice that does not depend on which value is true."""

Key = tuple[str, str, str]
"""Kind, set of the lexicon (by its first value) and noun."""


@dataclass(frozen=True, kw_only=True)
class BalanceConfig:
    """How much is given for balance."""

    keep: float = 0.7
    """Sets are as large as they can be while this share of the regions keeps the slot."""
    largest: int = 8
    """Values of a set at most, the true one included."""
    min_regions: int = 50
    """Nouns that have a slot in fewer regions are balanced together with others of their class,
    and rare classes with one another."""


class Counts:
    """How often each value is true: regions by kind, set, noun and the value as it is written."""

    def __init__(self, counts: Mapping[tuple[str, str, str, str], int] | None = None) -> None:
        self.table: Counter[tuple[str, str, str, str]] = Counter(counts or {})

    def add(self, kind: str, family: str, noun: str, surface: str, regions: int = 1) -> None:
        """Count a slot."""
        self.table[kind, family, noun, surface] += regions

    def update(self, other: Counts) -> None:
        """Add another's counts, for example those of another shard."""
        self.table.update(other.table)

    @property
    def fingerprint(self) -> str:
        """First 64 bits, in hex, of a hash of all counts."""
        text = "\n".join(f"{key} {count}" for key, count in sorted(self.table.items()))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Pool:
    """Regions that are balanced together: the values of one slot, with their shares.

    `shares` are of canonical values and add up to 1, `surfaces` how each of them is written.
    """

    name: str
    regions: int
    shares: Mapping[str, float]
    surfaces: Mapping[str, Mapping[str, int]]
    size: int
    kept: float

    def keeps(self, value: str) -> float:
        """Chance, 0..1, that a region with this value keeps the slot."""
        share = self.shares.get(value, 0.0)
        return min(1.0, self.kept / self.size / share) if share else 0.0

    def surface(self, value: str, seed: str) -> str:
        """One way of writing a value, as often as the pool's positives have it."""
        forms = sorted(self.surfaces[value].items())
        chance = random.Random(f"{seed}/{value}")
        return chance.choices([form for form, _ in forms], [count for _, count in forms])[0]


class Balance:
    """Draws the sets, from counts over the whole dataset and without looking at other regions."""

    def __init__(self, counts: Counts, lexicon: Lexicon, config: BalanceConfig) -> None:
        self.config, self._lexicon = config, lexicon
        self._pools: dict[Key, Pool] = {}
        self._circles: dict[str, list[_Circle]] = {}
        by_key: dict[Key, Counter[str]] = defaultdict(Counter)
        for (kind, family, noun, surface), regions in counts.table.items():
            by_key[kind, family, noun][surface] += regions
        left: dict[Key, list[Key]] = defaultdict(list)
        for key in sorted(by_key):
            name = lexicon.class_of(key[2])
            left[key[0], key[1], f"class {name}" if name else ""].append(key)
        rest: dict[Key, list[Key]] = defaultdict(list)
        for group, keys in left.items():
            rare = [key for key in keys if not self._settle(key[2], [key], by_key)]
            if not rare:
                continue
            if lexicon.restricts(group[0], group[2].removeprefix("class ")):
                self._make(group[2], rare, by_key)  # others have values that these cannot have
            elif not (group[2] and self._settle(group[2], rare, by_key)):
                rest[group[0], group[1], ""] += rare
        for keys in rest.values():
            if keys and not self._settle("", keys, by_key):
                self._make("", keys, by_key)

    def _settle(self, name: str, keys: list[Key], by_key: Mapping[Key, Counter[str]]) -> bool:
        """Make a pool of the keys if they have regions enough."""
        if sum(by_key[key].total() for key in keys) < self.config.min_regions:
            return False
        self._make(name, keys, by_key)
        return True

    def _make(self, name: str, keys: list[Key], by_key: Mapping[Key, Counter[str]]) -> None:
        kind = keys[0][0]
        surfaces: dict[str, Counter[str]] = defaultdict(Counter)
        for key in keys:
            for surface, regions in by_key[key].items():
                value = self._lexicon.canonical(self._lexicon.split_shade(surface)[1], kind)
                surfaces[value][surface] += regions
        total = sum(forms.total() for forms in surfaces.values())
        shares = {value: forms.total() / total for value, forms in sorted(surfaces.items())}
        size, kept = _best_size(list(shares.values()), self.config)
        pool = Pool(
            f"{kind}/{keys[0][1]} of {name or 'rare nouns'}", total, shares, surfaces, size, kept
        )
        self._pools.update(dict.fromkeys(keys, pool))

    @property
    def pools(self) -> list[Pool]:
        """Each once, the largest first."""
        return sorted({id(p): p for p in self._pools.values()}.values(), key=lambda p: -p.regions)

    def share(self, kind: str, family: str, noun: str, value: str) -> float:
        """Share of a canonical value among the positives of its pool; 0 where there is none."""
        pool = self._pools.get((kind, family, noun))
        return pool.shares.get(value, 0.0) if pool else 0.0

    def set_of(self, kind: str, family: str, noun: str, surface: str, seed: str) -> list[str]:
        """The other values of a region's set, as they are to be written; empty: no negatives.

        Args:
            seed: of the region and the slot; the same seed gives the same set.
        """
        pool = self._pools.get((kind, family, noun))
        value = self._lexicon.canonical(self._lexicon.split_shade(surface)[1], kind)
        if pool is None or pool.size < 2 or _uniform(f"{seed}/keep") >= pool.keeps(value):
            return []
        circles = self._circles_of(pool, kind)
        circle = circles[int(_uniform(f"{seed}/order") * len(circles))]
        start, end = circle.arc(value)
        found = circle.set_at(start + _uniform(f"{seed}/point") * (end - start))
        return [pool.surface(other, seed) for other in found if other != value]

    def _circles_of(self, pool: Pool, kind: str) -> list[_Circle]:
        if pool.name not in self._circles:
            chance = random.Random(pool.name)
            tried = [_Circle.of(pool, chance) for _ in range(ORDERS * TRIED)]
            self._circles[pool.name] = sorted(tried, key=lambda c: self._near(kind, c))[:ORDERS]
        return self._circles[pool.name]

    def _near(self, kind: str, circle: _Circle) -> float:
        """Pairs of near values in a set of this circle, on average."""
        edges = sorted({end % 1.0 for end in circle.ends} | {0.0, 1.0})
        found = 0.0
        for start, end in itertools.pairwise(edges):
            pairs = itertools.combinations(circle.set_at((start + end) / 2), 2)
            near = sum(self._lexicon.alike(one, other, kind) for one, other in pairs)
            found += (end - start) * near
        return found


def kept_share(shares: Iterable[float], size: int) -> float:
    """T: the largest share of regions, 0..1, of which no value has more than T / size."""
    left, above = sorted(shares, reverse=True), 0
    rest = sum(left)
    while above < size:
        # `above` values are cut to T/size, so T = above·T/size + what the others have
        kept = rest / (1 - above / size)
        if above >= len(left) or left[above] <= kept / size + 1e-12:
            return min(1.0, kept)
        rest -= left[above]
        above += 1
    return 0.0


def _best_size(shares: list[float], config: BalanceConfig) -> tuple[int, float]:
    """The largest sets that keep enough regions; pairs where none does."""
    for size in range(min(config.largest, len(shares)), 1, -1):
        kept = kept_share(shares, size)
        if kept >= config.keep:
            return size, kept
    return (2, kept_share(shares, 2)) if len(shares) > 1 else (1, 1.0)


@dataclass(frozen=True)
class _Circle:
    """The values of a pool in one order, and where the arc of each ends; `size` in all."""

    values: list[str]
    ends: list[float]
    size: int

    @staticmethod
    def of(pool: Pool, chance: random.Random) -> _Circle:
        mixed = chance.sample(list(pool.shares.items()), len(pool.shares))
        arcs = (min(share, pool.kept / pool.size) * pool.size / pool.kept for _, share in mixed)
        return _Circle([value for value, _ in mixed], list(itertools.accumulate(arcs)), pool.size)

    def arc(self, value: str) -> tuple[float, float]:
        place = self.values.index(value)
        return (self.ends[place - 1] if place else 0.0), self.ends[place]

    def set_at(self, point: float) -> list[str]:
        """The values at whole steps from a point; rounding may make two of them one."""
        steps = ((point + k) % self.ends[-1] for k in range(self.size))
        found = {self.values[bisect.bisect_right(self.ends, step)] for step in steps}
        return sorted(found)


def _uniform(text: str) -> float:
    """0 (included) to 1, decided by the text."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big") / 2**56
