"""Phrases that name things: the noun chunks of a caption that a detector can look for.

Kosmos-2's GRIT takes noun chunks and drops abstract nouns with a stop list; so do we, and we also
drop what a caption denies ("no people", "without a lid").
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from datagen.language import load_spacy

if TYPE_CHECKING:
    from spacy.tokens import Doc, Span, Token

MAX_PHRASES = 20
"""Phrases kept of one caption, as in CLOC."""

_WORDS: dict[str, list[str]] = yaml.safe_load(
    Path(__file__).with_name("words.yaml").read_text(encoding="utf-8")
)
ABSTRACT, MEASURES = frozenset(_WORDS["abstract"]), frozenset(_WORDS["measures"])
_COLOURS = frozenset(_WORDS["colours"])
_PRONOUNS = frozenset({"PRON", "SYM", "PUNCT", "X"})
_KEPT_DETERMINERS = frozenset({"a", "an", "the"})


@dataclass(frozen=True, slots=True)
class Phrase:
    """A referring expression; `text == caption[span_start:span_end]`.

    `head` is its main noun in lower case, `sentence` the sentence of the caption it stands in.
    """

    text: str
    span_start: int
    span_end: int
    head: str
    sentence: str


class PhraseChunker:
    """Finds the phrases of captions with a spaCy pipeline.

    Args:
        model: spaCy model, a package name or a folder.
        max_phrases: how many a caption yields at most; the first ones are kept.

    Raises:
        ModelNotFoundError: there is no such model.
    """

    def __init__(self, model: str = "en_core_web_sm", *, max_phrases: int = MAX_PHRASES) -> None:
        self._nlp = load_spacy(model)
        self._max_phrases = max_phrases

    def chunk(self, texts: Sequence[str]) -> list[list[Phrase]]:
        """Phrases of each text in reading order, those with equal words merged into the first."""
        return [self._phrases(doc) for doc in self._nlp.pipe(texts)]

    def _phrases(self, doc: Doc) -> list[Phrase]:
        found: dict[str, Phrase] = {}
        taken = 0  # tokens before this one belong to a phrase already
        for span in _mend(doc):
            if span.start < taken or not _names_a_thing(span):
                continue
            span = _with_measured(_without_determiner(span))
            taken = span.end
            name = " ".join(token.lower_ for token in span if token.pos_ != "DET")
            phrase = Phrase(
                text=span.text,
                span_start=span.start_char,
                span_end=span.end_char,
                head=_head(span).lower_,
                sentence=_head(span).sent.text.strip(),
            )
            found.setdefault(name, phrase)
        return list(found.values())[: self._max_phrases]


def _mend(doc: Doc) -> Iterator[Span]:
    """Noun chunks, with "a small orange" + "striped" + "mug" made one again."""
    chunks = list(doc.noun_chunks)
    roots = {chunk.root.i: chunk for chunk in chunks}
    done = 0
    for chunk in chunks:
        if chunk.start < done:
            continue
        end = chunk.end
        if chunk[-1].lower_ in _COLOURS and end < len(doc) and doc[end].lower_.endswith("ed"):
            noun = next((i for i in range(end, min(end + 3, len(doc))) if i in roots), None)
            if noun is None and end + 1 < len(doc) and doc[end + 1].pos_ in ("NOUN", "PROPN"):
                noun = end + 1
            if noun is not None and not any(t.pos_ in ("DET", "ADP") for t in doc[end:noun]):
                end = noun + 1
        done = end
        yield doc[chunk.start : end]


def _names_a_thing(span: Span) -> bool:
    head = _head(span)
    if head.pos_ in _PRONOUNS or not any(character.isalpha() for character in head.text):
        return False
    if head.lower_ in ABSTRACT and not (head.lower_ in MEASURES and _of(span) is not None):
        return False
    return not _denied(span)


def _denied(span: Span) -> bool:
    if any(token.lower_ in ("no", "neither") for token in span):
        return True
    above = _head(span).head
    return above.lower_ == "without" or any(child.dep_ == "neg" for child in above.children)


def _without_determiner(span: Span) -> Span:
    """Keep a, an and the; leave out "her", "this", "some" and the like."""
    start = span.start
    while start < span.end - 1:
        token: Token = span.doc[start]
        determiner = token.pos_ in ("DET", "PRON", "PUNCT") or token.tag_ in ("PRP$", "PDT")
        if not determiner or token.lower_ in _KEPT_DETERMINERS:
            break
        start += 1
    return span.doc[start : span.end]


def _of(span: Span) -> Token | None:
    """The noun after "of" that follows the span at once."""
    doc, end = span.doc, span.end
    if end >= len(doc) or doc[end].lower_ != "of":
        return None
    return next((child for child in doc[end].children if child.dep_ == "pobj"), None)


def _with_measured(span: Span) -> Span:
    """Take in "of people" where the span is "a group"."""
    inner = _of(span)
    if inner is None or _head(span).lower_ not in MEASURES:
        return span
    return span.doc[span.start : inner.i + 1]


def _head(span: Span) -> Token:
    """The root of the span, or its last word where parts were mended together."""
    root = span.root
    return root if root.pos_ not in ("VERB", "ADJ") and root.lower_ not in _COLOURS else span[-1]
