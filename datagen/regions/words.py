"""The words that the phrase rules know, read from words.yaml."""

from __future__ import annotations

from pathlib import Path

import yaml

_WORDS: dict[str, list[str]] = yaml.safe_load(
    Path(__file__).with_name("words.yaml").read_text(encoding="utf-8")
)
ABSTRACT = frozenset(_WORDS["abstract"])
PICTURES = frozenset(_WORDS["pictures"])
BARE_ABSTRACT = frozenset(_WORDS["bare_abstract"])
POSITIONAL = frozenset(_WORDS["positional"])
HAPPENINGS = frozenset(_WORDS["happenings"])
MASS = frozenset(_WORDS["mass"])
ABSTRACT_OF = frozenset(_WORDS["abstract_of"])
MEASURES = frozenset(_WORDS["measures"])
MATERIALS = frozenset(_WORDS["materials"])
COLOURS = frozenset(_WORDS["colours"])
CLOTHES = frozenset(_WORDS["clothes"])
HAVING = frozenset(_WORDS["having"])
MADE = frozenset(_WORDS["made"])
HAS = frozenset(_WORDS["has"])
FULL = frozenset(_WORDS["full"])
PARTS = frozenset(_WORDS["parts"])
LOOKS = frozenset(_WORDS["looks"])
DOING = frozenset(_WORDS["doing"])
ARTICLES = frozenset({"a", "an", "the"})
