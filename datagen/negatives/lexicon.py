"""The values that attributes can have: which kinds there are, what is a synonym of what."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations
from pathlib import Path
from typing import Any

import yaml

DEFAULT_LEXICON = Path(__file__).with_name("lexicon.yaml")
OBJECT, PART, SHADE, COLOUR = "object", "part", "shade", "colour"
NOUN_KINDS = frozenset({OBJECT, PART})
"""Kinds whose values are nouns; those of the others say something of a noun."""
_VALUE = re.compile(r"[a-z]+(?:[ -][a-z]+)*")

Group = tuple[str, ...]
Sets = tuple[tuple[Group, ...], ...]


@dataclass(frozen=True)
class Lexicon:
    """Kinds of attributes, each with sets of values that exclude each other.

    `lexicon.yaml` beside this file explains the format. A value belongs to one kind of attribute,
    and may be a noun besides: "glass".
    """

    kinds: Mapping[str, Sets]
    classes: Mapping[str, tuple[Group, ...]] = field(default_factory=dict)
    shades: tuple[str, ...] = ()
    near: frozenset[tuple[str, str]] = frozenset()
    not_before: Mapping[str, frozenset[str]] = field(default_factory=dict)
    only_before: Mapping[str, frozenset[str]] = field(default_factory=dict)
    not_of: Mapping[str, frozenset[str]] = field(default_factory=dict)
    excludes: Mapping[str, frozenset[str]] = field(default_factory=dict)
    after_of: Mapping[str, str] = field(default_factory=dict)
    attribute_nouns: frozenset[str] = frozenset()
    fitting: Mapping[str, Mapping[str, frozenset[str]]] = field(default_factory=dict)
    hash: str = ""

    def __post_init__(self) -> None:
        kind_of: dict[str, str] = {}
        places: dict[tuple[str, str], list[tuple[tuple[Group, ...], Group]]] = defaultdict(list)
        for kind, sets in self.kinds.items():
            for groups in sets:
                for group in groups:
                    for value in group:
                        if not _VALUE.fullmatch(value):
                            raise ValueError(
                                f"{value!r} in {kind!r}: write lower-case words a to z."
                            )
                        places[kind, value].append((groups, group))
                        if kind in NOUN_KINDS:
                            continue
                        if kind_of.setdefault(value, kind) != kind:
                            raise ValueError(f"{value!r} is both a {kind_of[value]} and a {kind}.")
        class_of = {
            noun: name
            for name, groups in self.classes.items()
            for group in groups
            for noun in group
        }
        object.__setattr__(self, "_kind_of", kind_of)
        object.__setattr__(self, "_places", dict(places))
        object.__setattr__(self, "_class_of", class_of)
        object.__setattr__(self, "_alike", {})

    def kind_of(self, value: str) -> str | None:
        """Kind of attribute of a value in lower case, or None for a word that is no value."""
        kinds: dict[str, str] = self._kind_of  # type: ignore[attr-defined]
        return kinds.get(value)

    def class_of(self, noun: str) -> str | None:
        """Class of a noun (animal, tableware, …); None where the lexicon does not know it."""
        classes: dict[str, str] = self._class_of  # type: ignore[attr-defined]
        return classes.get(noun) or classes.get(noun.removesuffix("s"))

    def is_part(self, noun: str) -> bool:
        """Whether a noun, singular or plural, is a part of things: "handle"."""
        return any(self._groups_with(PART, form) for form in (noun, noun.removesuffix("s")))

    @property
    def values(self) -> tuple[str, ...]:
        """Every value of an attribute that is recognised."""
        return tuple(self._kind_of)  # type: ignore[attr-defined]

    @property
    def attribute_kinds(self) -> tuple[str, ...]:
        """The kinds whose values say something of a noun."""
        return tuple(kind for kind in self.kinds if kind not in NOUN_KINDS)

    def split_shade(self, surface: str) -> tuple[str, str]:
        """("light", "blue") of "light blue"; ("", value) where there is no shade."""
        first, _, rest = surface.replace("-", " ", 1).partition(" ")
        if rest and first in self.shades and self.kind_of(rest) == COLOUR:
            return first, rest
        return "", surface

    def canonical(self, value: str, kind: str | None = None) -> str:
        """The first synonym of a value's group; the value itself if it is in none."""
        kind = kind or self.kind_of(value)
        return next((group[0] for _, group in self._groups_with(kind, value)), value)

    def others(self, value: str, kind: str | None = None, noun: str = "") -> tuple[str, ...]:
        """Values that can be put in place of this one: canonical, in the file's order.

        They are of its `family`, no synonyms of it and not near it.
        """
        kind = kind or self.kind_of(value)
        base = self.split_shade(value)[1]
        family = self.family(base, kind, noun)
        return tuple(other for other in family if not self.alike(value, other, kind))

    def family(self, value: str, kind: str | None = None, noun: str = "") -> tuple[str, ...]:
        """The canonical values of the set that has the value, its own among them.

        Only such as the noun can have. A value of several sets has several senses ("short" against
        "tall" and against "long"), of which the first counts that leaves the noun another value.
        """
        kind = kind or self.kind_of(value)
        for groups, own in self._groups_with(kind, value):
            fitting = tuple(g[0] for g in groups if g is own or self.fits(kind, g[0], noun))
            if len(fitting) > 1:
                return fitting
        return ()

    def family_name(self, value: str, kind: str | None = None, noun: str = "") -> str:
        """What a value's set is called: the first value of it; the value itself without one."""
        kind = kind or self.kind_of(value)
        family = self.family(value, kind, noun)
        for groups, _ in self._groups_with(kind, value):
            if set(family) <= {group[0] for group in groups}:
                return groups[0][0]
        return value

    def fits(self, kind: str | None, value: str, noun: str) -> bool:
        """Whether such a noun can have such a value: no "wooden pizza"."""
        allowed = self.fitting.get(kind or "", {}).get(self.class_of(noun) or "")
        return allowed is None or self.canonical(value, kind) in allowed

    def restricts(self, kind: str, noun_class: str) -> bool:
        """Whether nouns of a class can have some of the kind's values only."""
        return noun_class in self.fitting.get(kind, {})

    def together(self, one: str, other: str) -> bool:
        """Whether one thing can have both values: not "a transparent wooden bottle"."""
        names = [self.canonical(value) for value in (one, other)]
        return not any(b in self.excludes.get(a, ()) for a, b in (names, reversed(names)))

    def alike(self, one: str, other: str, kind: str | None = None) -> bool:
        """Whether two values are the same, synonyms, or too near to tell apart.

        Shades count: "dark red" is like "burgundy"; "light blue" is not like "dark blue".
        """
        cache: dict[tuple[str, str, str | None], bool] = self._alike  # type: ignore[attr-defined]
        key = (one, other, kind)
        if key not in cache:
            cache[key] = self._compare(one, other, kind)
        return cache[key]

    def _compare(self, one: str, other: str, kind: str | None) -> bool:
        if one == other:
            return True
        (shade_one, value_one), (shade_other, value_other) = map(self.split_shade, (one, other))
        kind = kind or self.kind_of(value_one)
        if any(value_other in group for _, group in self._groups_with(kind, value_one)):
            opposite = shade_one and shade_other and not self._same_shade(shade_one, shade_other)
            return not opposite
        return any(
            (a, b) in self.near
            for a in self._names(shade_one, value_one, kind)
            for b in self._names(shade_other, value_other, kind)
        )

    def _same_shade(self, one: str, other: str) -> bool:
        return one == other or other not in self.others(one, SHADE)

    def _names(self, shade: str, value: str, kind: str | None) -> set[str]:
        group = {v for _, found in self._groups_with(kind, value) for v in found} | {value}
        return group | ({f"{self.canonical(shade, SHADE)} {v}" for v in group} if shade else set())

    def _groups_with(self, kind: str | None, value: str) -> list[tuple[tuple[Group, ...], Group]]:
        places: dict[tuple[str, str], Any] = self._places  # type: ignore[attr-defined]
        return places.get((kind or "", value), [])


def load_lexicon(path: str | Path = DEFAULT_LEXICON) -> Lexicon:
    """Read a lexicon file.

    Raises:
        ValueError: the file is missing or not as `lexicon.yaml` explains.
    """
    file = Path(path)
    try:
        raw = file.read_text(encoding="utf-8")
    except OSError as error:
        raise ValueError(f"Cannot read the lexicon {file}: {error.strerror}.") from None
    try:
        content: dict[str, Any] = yaml.safe_load(raw)
        classes = {name: _groups(groups) for name, groups in content.get("classes", {}).items()}
        kinds = {
            kind: tuple(_groups(groups) for groups in sets)
            for kind, sets in content["kinds"].items()
        }
        if classes:
            kinds[OBJECT] = tuple(classes.values())
        if "parts" in content:
            kinds[PART] = (_groups(content["parts"]),)
        return Lexicon(
            kinds=kinds,
            classes=classes,
            shades=tuple(content.get("shades", ())),
            near=_pairs(content.get("near", ()), content.get("near_shades", {})),
            not_before=_word_sets(content.get("not_before", {})),
            only_before=_word_sets(content.get("only_before", {})),
            not_of=_word_sets(content.get("not_of", {})),
            excludes=_word_sets(content.get("excludes", {})),
            after_of=content.get("after_of", {}),
            attribute_nouns=frozenset(content.get("attribute_nouns", ())),
            fitting={kind: _word_sets(rule) for kind, rule in content.get("fits", {}).items()},
            hash=hashlib.sha256(raw.encode()).hexdigest()[:16],
        )
    except (yaml.YAMLError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"The lexicon {file} is not as it should be: {error}") from None


def _groups(lists: Iterable[Sequence[str]]) -> tuple[Group, ...]:
    return tuple(tuple(group) for group in lists)


def _pairs(
    near: Iterable[Sequence[str]], shades: Mapping[str, Sequence[str]]
) -> frozenset[tuple[str, str]]:
    found = {pair for values in near for pair in permutations(values, 2)}
    found |= {
        pair for one, values in shades.items() for v in values for pair in ((one, v), (v, one))
    }
    return frozenset(found)


def _word_sets(lists: Mapping[str, Sequence[str]]) -> dict[str, frozenset[str]]:
    return {key: frozenset(words) for key, words in lists.items()}
