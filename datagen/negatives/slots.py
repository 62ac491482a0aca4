"""Attribute slots: the places of a phrase where a lexicon's value says something of a noun."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from datagen.language import load_spacy
from datagen.negatives.lexicon import COLOUR, OBJECT, PART, SHADE, Lexicon

if TYPE_CHECKING:
    from spacy.tokens import Doc, Span, Token

_NOUNS = frozenset({"NOUN", "PROPN"})
_MODIFIERS = frozenset({"amod", "compound", "nmod", "nummod", "conj", "advmod"})
_MODIFIER_TAGS = frozenset({"VBN", "VBG", "VBD"})
_MODIFIER_POS = frozenset({"ADJ", "NOUN", "PROPN", "NUM", "ADV", "CCONJ", "PUNCT"})
_AFTER_VALUE = frozenset({"that", "which", "who", "in", "with", "of", "on", "at", "and", "or"})
_MADE = frozenset({"made", "of", "from", "in", "with", "out", "is", "are", "being", "colored"})
_OF = frozenset({"of", "in", "from", "with"})
_RELATION = "relation"


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

    def surface(self, text: str) -> str:
        """The value as it stands in the text, shade and all, in lower case."""
        return text[self.span_start : self.span_end].lower()


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
        self._values = _pattern(lexicon)
        self._nouns = _noun_pattern(lexicon)

    def find(self, texts: Sequence[str]) -> list[list[Slot]]:
        """Slots of each text, in reading order.

        They do not overlap, but for a shade, which is a slot inside its colour's: "light" in
        "light blue".
        """
        return [sorted(self._slots(doc), key=_place) for doc in self._nlp.pipe(texts)]

    def _slots(self, doc: Doc) -> Iterator[Slot]:
        taken: list[tuple[int, int]] = []
        for match in self._values.finditer(doc.text.lower()):
            for slot in self._attribute(doc, match):
                taken.append((slot.span_start, slot.span_end))
                yield slot
        yield from self._noun_slots(doc, taken)

    def _attribute(self, doc: Doc, match: re.Match[str]) -> Iterator[Slot]:
        value = match["value"]
        kind = self._lexicon.kind_of(value)
        span = doc.char_span(match.start("value"), match.end("value"))
        if kind is None or kind == SHADE or span is None:
            return
        following = doc[span.end].lower_ if span.end < len(doc) else ""
        only = self._lexicon.only_before.get(value)
        if following in self._lexicon.not_before.get(value, ()) or (
            only is not None and following not in only
        ):
            return
        noun = _subject(span) if kind == _RELATION else self._noun(span)
        if noun is None or noun in self._lexicon.not_of.get(kind, ()):
            return
        start = match.start() if kind == COLOUR else match.start("value")
        shade = match["shade"]
        if kind == COLOUR and shade and self._lexicon.kind_of(shade) == SHADE:
            yield Slot(SHADE, shade, start, start + len(shade), noun)
        yield Slot(kind, value, start, match.end("value"), noun)

    def _noun(self, span: Span) -> str | None:
        """What the value is said of, or None where it is said of nothing."""
        noun = _modified(span[-1]) or _predicated(span)
        if noun is not None and self._lexicon.kind_of(noun.lower_):
            noun = _end_of_modifiers(noun) or noun  # "gray" is said of "a gray metal blade"
        if noun is None:
            return None
        if noun.lower_ in self._lexicon.attribute_nouns:
            noun = _owner(noun) or noun
        return noun.lower_

    def _noun_slots(self, doc: Doc, taken: Sequence[tuple[int, int]]) -> Iterator[Slot]:
        if self._nouns is None:
            return
        root = next((token for token in doc if token.dep_ == "ROOT"), None)
        for match in self._nouns.finditer(doc.text.lower()):
            start, end = match.span()
            span = doc.char_span(start, end)
            overlaps = any(a < end and start < b for a, b in taken)
            if span is None or overlaps or span[-1].pos_ not in _NOUNS:
                continue
            word, owner = span[-1], _owner(span[-1])
            form = match.group()
            if owner is not None and self._lexicon.is_part(form):
                yield Slot(PART, form, start, end, owner.lower_)
            elif word == root and self._lexicon.class_of(form) is not None:
                yield Slot(OBJECT, form, start, end, form)


def _place(slot: Slot) -> tuple[int, int]:
    return slot.span_start, -slot.span_end


def _pattern(lexicon: Lexicon) -> re.Pattern[str]:
    values = sorted(lexicon.values, key=len, reverse=True)
    shades = "|".join(lexicon.shades) or "(?!)"
    return re.compile(
        rf"(?<![\w-])(?:(?P<shade>{shades})[ -])?(?P<value>{'|'.join(values)})(?![\w-])"
    )


def _noun_pattern(lexicon: Lexicon) -> re.Pattern[str] | None:
    nouns = {
        form
        for kind in (OBJECT, PART)
        for groups in lexicon.kinds.get(kind, ())
        for group in groups
        for value in group
        for form in (value, f"{value}s")
    }
    longest = "|".join(sorted(nouns, key=len, reverse=True))
    return re.compile(rf"(?<![\w-])(?:{longest})(?![\w-])") if nouns else None


def _modified(token: Token) -> Token | None:
    """The noun that a word describes, or None where it describes none."""
    if token.dep_ in {"acl", "relcl"} and token.head.pos_ in _NOUNS:
        return token.head  # "a dog sitting on the grass", "a dog that sits"
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


def _predicated(span: Span) -> Token | None:
    """The noun of "made of wood", "a plate that is white", "painted white", "a bear is sitting"."""
    doc, first = span.doc, span[0]
    verbal = span[-1].tag_ in {"VBG", "VBN"}
    if span.end < len(doc) and span[-1].tag_ != "VBG":
        after = doc[span.end]
        if after.lower_ not in _AFTER_VALUE and after.pos_ not in {"PUNCT", "CCONJ", "ADP"}:
            return None
    if not first.i:
        return None
    before = doc[first.i - 1]
    linked = before.lower_ in _MADE or before.pos_ in {"AUX", "VERB", "ADV", "CCONJ", "PUNCT"}
    shaded = before.pos_ == "ADJ" and first.i > 1
    if not (linked or verbal or shaded):
        return None
    if before.lower_ in _OF and span[-1].pos_ not in {"NOUN", "PROPN", "ADJ"}:
        return None
    return next((t for t in reversed(doc[: first.i]) if t.pos_ in _NOUNS), None)


def _subject(span: Span) -> str | None:
    """The noun that stands in a relation: the nearest before it, with another noun behind it."""
    doc = span.doc
    if not any(token.pos_ in _NOUNS for token in doc[span.end :]):
        return None
    found = next((t for t in reversed(doc[: span.start]) if t.pos_ in _NOUNS), None)
    return found.lower_ if found is not None else None


def _owner(noun: Token) -> Token | None:
    """What has a part or an attribute: "mug" of "a mug with a white handle"."""
    head = noun
    while head.head.i != head.i:
        head = head.head
        if head.pos_ in _NOUNS:
            return head
    return None
