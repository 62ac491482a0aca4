"""Phrases of a caption that a detector can look for: referring expressions with all attributes.

Kosmos-2's GRIT takes noun chunks, drops abstract nouns with a stop list and extends the chunks to
referring expressions; so do we, and what a caption denies ("no people", "without a lid") goes too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from datagen.language import load_spacy
from datagen.regions.chunks import Chunk, find_chunks, is_denied, names_a_thing
from datagen.regions.expressions import Expressions
from datagen.regions.parse import Parse

if TYPE_CHECKING:
    from spacy.tokens import Doc

MAX_PHRASES = 20
"""Phrases kept of one caption, as in CLOC."""
BATCH = 512
"""Captions that spaCy's network reads at once."""

_CONTENT = frozenset({"NOUN", "ADJ", "NUM", "VERB", "ADV"})


@dataclass(frozen=True, slots=True)
class Phrase:
    """A referring expression; `text == caption[span_start:span_end]`.

    Phrases may lie within others: "a mug with a blue rim" and "a blue rim". `head` is the main
    noun in lower case, `sentence` the sentence of the caption it stands in, `count` how often the
    caption has the phrase (with any determiner), `words` how many words of content it has.
    """

    text: str
    span_start: int
    span_end: int
    head: str
    sentence: str
    count: int = 1
    words: int = 1


class PhraseChunker:
    """Finds the phrases of captions with a spaCy pipeline.

    Of determiners only a, an and the stay in a phrase ("her dog" gives "dog"). Phrases that differ
    in nothing but determiner and letter case are one, with their count.

    Args:
        model: spaCy model, a package name or a folder.
        max_phrases: how many a caption yields at most. Those with most words of content are
            kept, the earlier one of two that have as many.

    Raises:
        ModelNotFoundError: there is no such model.
    """

    def __init__(self, model: str = "en_core_web_sm", *, max_phrases: int = MAX_PHRASES) -> None:
        self._nlp = load_spacy(model)
        if "attribute_ruler" in self._nlp.pipe_names:
            self._nlp.disable_pipe("attribute_ruler")  # see parse.py
        self._max_phrases = max_phrases

    def chunk(self, texts: Sequence[str]) -> list[list[Phrase]]:
        """Phrases of each text in reading order, an expression before its parts."""
        docs = self._nlp.pipe(map(_readable, texts), batch_size=BATCH)
        return [self._phrases(doc, text) for doc, text in zip(docs, texts, strict=True)]

    def _phrases(self, doc: Doc, text: str) -> list[Phrase]:
        parse = Parse.of(doc)
        chunks = find_chunks(parse)
        expressions = Expressions(parse, chunks)
        found: dict[str, Phrase] = {}
        for i, (chunk, end) in enumerate(zip(chunks, expressions.ends, strict=True)):
            if i in expressions.absorbed or is_denied(parse, chunk):
                continue
            if not names_a_thing(parse, chunk):
                continue
            tokens = range(_begin(parse, chunk), end)
            name = " ".join(parse.lower[i] for i in tokens if not parse.is_determiner(i))
            known = found.get(name)
            if known is not None:
                found[name] = replace(known, count=known.count + 1)
                continue
            span, sentence = doc[tokens.start : end], doc[chunk.head].sent
            found[name] = Phrase(
                text=text[span.start_char : span.end_char],
                span_start=span.start_char,
                span_end=span.end_char,
                head=parse.lower[chunk.head],
                sentence=text[sentence.start_char : sentence.end_char].strip(),
                words=sum(parse.pos[i] in _CONTENT for i in tokens),
            )
        return _most_specific(list(found.values()), self._max_phrases)


def _readable(text: str) -> str:
    """Capitals throughout mislead the tagger; lower case has the same length but for a few
    letters of other scripts."""
    lower = text.lower()
    return lower if text.isupper() and len(lower) == len(text) else text


def _begin(parse: Parse, chunk: Chunk) -> int:
    """The first token after determiners other than a, an and the."""
    start = chunk.start
    while start < chunk.head and not parse.has_article(start):
        if parse.pos[start] not in ("DET", "PRON", "PUNCT"):
            break
        start += 1
    return start


def _most_specific(phrases: list[Phrase], at_most: int) -> list[Phrase]:
    kept = sorted(phrases, key=lambda phrase: -phrase.words)[:at_most]
    return sorted(kept, key=lambda phrase: (phrase.span_start, -phrase.span_end))
