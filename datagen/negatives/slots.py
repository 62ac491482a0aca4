"""Attribute slots: the places of a phrase where a lexicon's value says something of a noun."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from datagen.language import load_spacy
from datagen.negatives.lexicon import Lexicon

if TYPE_CHECKING:
    from spacy.tokens import Doc, Span, Token

_NOUNS = frozenset({"NOUN", "PROPN"})
_MODIFIERS = frozenset({"amod", "compound", "nmod", "nummod", "conj", "advmod"})
_MODIFIER_TAGS = frozenset({"VBN", "VBG", "VBD"})
_MODIFIER_POS = frozenset({"ADJ", "NOUN", "PROPN", "NUM", "ADV", "CCONJ", "PUNCT"})


@dataclass(frozen=True, slots=True)
class Slot:
    """One attribute: `text[span_start:span_end]` is its value, perhaps with a shade before it.

    `value` is the lexicon's entry (without shade, lower case), `noun` what it is said of.
    """

    kind: str
    value: str
    span_start: int
    span_end: int
    noun: str


class SlotFinder:
    """Finds attribute slots with a spaCy pipeline and a lexicon.

    The lexicon says which words are values, spaCy whether a word is used as one: "orange" is a
    colour in "an orange mug" and none in "a ripe orange".

    Raises:
        ModelNotFoundError: there is no such spaCy model.
    """

    def __init__(self, lexicon: Lexicon, model: str = "en_core_web_sm") -> None:
        self._nlp = load_spacy(model)
        self._lexicon = lexicon
        self._pattern = _pattern(lexicon)

    def find(self, texts: Sequence[str]) -> list[list[Slot]]:
        """Slots of each text, in reading order; they do not overlap."""
        return [self._slots(doc) for doc in self._nlp.pipe(texts)]

    def _slots(self, doc: Doc) -> list[Slot]:
        slots = []
        for match in self._pattern.finditer(doc.text.lower()):
            value = match["value"]
            kind = self._lexicon.kind_of(value)
            span = doc.char_span(match.start("value"), match.end("value"))
            if kind is None or span is None:
                continue
            following = doc[span.end].lower_ if span.end < len(doc) else ""
            if following in self._lexicon.not_before.get(value, ()):
                continue
            noun = self._noun(span)
            if noun is not None and noun not in self._lexicon.not_of.get(kind, ()):
                start = match.start() if kind == "colour" else match.start("value")
                slots.append(Slot(kind, value, start, match.end("value"), noun))
        return slots

    def _noun(self, span: Span) -> str | None:
        """What the value is said of, or None where it is said of nothing."""
        noun = _modified(span[-1])
        if noun is not None and self._lexicon.kind_of(noun.lower_):
            noun = _end_of_modifiers(noun) or noun  # "gray" is said of "a gray metal blade"
        return noun.lower_ if noun is not None else None


def _pattern(lexicon: Lexicon) -> re.Pattern[str]:
    values = sorted(lexicon.values, key=len, reverse=True)
    shades = "|".join(lexicon.shades) or "(?!)"
    return re.compile(rf"(?<![\w-])(?:(?:{shades})[ -])?(?P<value>{'|'.join(values)})(?![\w-])")


def _modified(token: Token) -> Token | None:
    """The noun that a word describes, or None where it describes none."""
    if token.dep_ == "acl" and token.tag_ == "VBG" and token.head.pos_ in _NOUNS:
        return token.head  # "a dog sitting on the grass"
    head = token
    while head.dep_ in _MODIFIERS and head.head.i != head.i:
        head = head.head
    if head.i > token.i and head.pos_ in _NOUNS:
        return head
    return _end_of_modifiers(token)


def _end_of_modifiers(token: Token) -> Token | None:
    """Where the parse is astray: the last noun of the run of modifiers that begins here."""
    last = None
    for following in token.doc[token.i + 1 :]:
        if following.pos_ not in _MODIFIER_POS and following.tag_ not in _MODIFIER_TAGS:
            break
        if following.pos_ in _NOUNS:
            last = following
        elif last is not None:
            break
    return last
