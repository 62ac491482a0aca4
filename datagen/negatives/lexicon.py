"""The values that attributes can have: which kinds there are, what is a synonym of what."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

DEFAULT_LEXICON = Path(__file__).with_name("lexicon.yaml")
_VALUE = re.compile(r"[a-z]+(?:[ -][a-z]+)*")

Group = tuple[str, ...]


@dataclass(frozen=True)
class Lexicon:
    """Kinds of attributes, each with sets of values that exclude each other.

    `lexicon.yaml` beside this file explains the format. A value belongs to one kind.
    """

    kinds: Mapping[str, tuple[tuple[Group, ...], ...]]
    shades: tuple[str, ...] = ()
    near: tuple[frozenset[str], ...] = ()
    not_before: Mapping[str, frozenset[str]] = field(default_factory=dict)
    not_of: Mapping[str, frozenset[str]] = field(default_factory=dict)
    hash: str = ""

    def __post_init__(self) -> None:
        kind_of: dict[str, str] = {}
        for kind, sets in self.kinds.items():
            for value in (v for groups in sets for group in groups for v in group):
                if not _VALUE.fullmatch(value):
                    raise ValueError(f"{value!r} in {kind!r}: write lower-case words a to z.")
                if kind_of.setdefault(value, kind) != kind:
                    raise ValueError(f"{value!r} is both a {kind_of[value]} and a {kind}.")
        object.__setattr__(self, "_kind_of", kind_of)

    def kind_of(self, value: str) -> str | None:
        """Kind of a value in lower case, or None for a word that is no value."""
        kinds: dict[str, str] = self._kind_of  # type: ignore[attr-defined]
        return kinds.get(value)

    @property
    def values(self) -> tuple[str, ...]:
        """Every value that is recognised."""
        return tuple(self._kind_of)  # type: ignore[attr-defined]

    def canonical(self, value: str) -> str:
        """The first synonym of a value's group; the value itself if it is in none."""
        return next((group[0] for _, group in self._groups_with(value)), value)

    def others(self, value: str) -> tuple[str, ...]:
        """Values that can be put in place of this one: canonical, in the file's order.

        They are of the same kind and of a set that has the value, no synonyms of it and not
        near it.
        """
        own = {self.canonical(value)} | {w for _, group in self._groups_with(value) for w in group}
        found: dict[str, None] = {}
        for groups, _ in self._groups_with(value):
            for group in groups:
                if not own.intersection(group) and not self._near(own, group):
                    found[group[0]] = None
        return tuple(found)

    def room(self, value: str) -> int:
        """How many negatives one value allows.

        A value of several sets has several senses, of which a phrase means one: the smallest set
        counts.
        """
        sizes = [
            sum(group[0] in self.others(value) for group in groups)
            for groups, _ in self._groups_with(value)
        ]
        return min(sizes, default=0)

    def alike(self, one: str, other: str) -> bool:
        """Whether two values are the same, synonyms, or too near to tell apart."""
        if one == other:
            return True
        groups = [set(group) for _, group in self._groups_with(one)]
        return any(other in group or self._near(group, (other,)) for group in groups)

    def _groups_with(self, value: str) -> list[tuple[tuple[Group, ...], Group]]:
        kind = self.kind_of(value)
        if kind is None:
            return []
        return [
            (groups, group) for groups in self.kinds[kind] for group in groups if value in group
        ]

    def _near(self, own: set[str], group: Sequence[str]) -> bool:
        return any(own & pair and pair.intersection(group) for pair in self.near)


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
        return Lexicon(
            kinds={
                kind: tuple(tuple(tuple(group) for group in groups) for groups in sets)
                for kind, sets in content["kinds"].items()
            },
            shades=tuple(content.get("shades", ())),
            near=tuple(frozenset(values) for values in content.get("near", ())),
            not_before=_word_sets(content.get("not_before", {})),
            not_of=_word_sets(content.get("not_of", {})),
            hash=hashlib.sha256(raw.encode()).hexdigest()[:16],
        )
    except (yaml.YAMLError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"The lexicon {file} is not as it should be: {error}") from None


def _word_sets(lists: Mapping[str, Sequence[str]]) -> dict[str, frozenset[str]]:
    return {key: frozenset(words) for key, words in lists.items()}
