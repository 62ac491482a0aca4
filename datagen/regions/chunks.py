"""Noun chunks of a text, mended where a small tagger or parser goes wrong."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from datagen.regions.parse import Parse
from datagen.regions.words import (
    ABSTRACT,
    ABSTRACT_OF,
    BARE_ABSTRACT,
    COLOURS,
    DOING,
    HAPPENINGS,
    MADE,
    MASS,
    MATERIALS,
    MEASURES,
    PARTS,
    PICTURES,
    POSITIONAL,
)

_NOUNLIKE = frozenset({"NOUN", "PRON"})
_BEFORE_NOUNS = frozenset({"ADJ", "NUM", "NOUN"})
# Where in a sentence noun chunks stand, by the parser's labels.
_PLACES = frozenset(
    {
        "appos", "attr", "dative", "dobj", "nsubj", "nsubjpass", "oprd", "pcomp", "pobj", "ROOT",
    }
)  # fmt: skip
_BESIDE = frozenset({"above", "below", "beneath", "beside", "behind", "under", "near"})
_JOINING = COLOURS | MATERIALS | {"half"}


@dataclass(frozen=True, slots=True)
class Chunk:
    """Tokens `start` .. `end` (one past the last) of a text, determiners included; `head` is the
    index of the main noun."""

    start: int
    end: int
    head: int


def find_chunks(parse: Parse) -> list[Chunk]:
    """All noun chunks in reading order; none overlaps another."""
    chunks: list[Chunk] = []
    done = 0
    for start, end, root in _joined(parse, sorted(_raw(parse))):
        if end <= done:
            continue
        for chunk in _split(parse, max(start, done), _tail(parse, start, end), root):
            chunks.append(chunk)
            done = chunk.end
    return chunks


def names_a_thing(parse: Parse, chunk: Chunk) -> bool:
    """Whether the chunk names something with an outline, by its head and what describes it."""
    word = parse.lower[chunk.head]
    if parse.pos[chunk.head] in ("PRON", "PUNCT") or not any(c.isalpha() for c in word):
        return False
    followed_by_of = parse.word(chunk.end) == "of"
    articled = chunk.end - chunk.start > 1 and parse.has_article(chunk.start)
    if word in ABSTRACT:
        return word in MEASURES and followed_by_of
    if word in HAPPENINGS or (word in ABSTRACT_OF and followed_by_of):
        return False
    before = parse.word(chunk.start - 1)
    if word in PICTURES:
        return before in _BESIDE
    if not articled:
        gerund = parse.tag[chunk.head] == "VBG" or (word.endswith("ing") and before == "for")
        if word in MASS or word in DOING or gerund:  # "a pan for cooking", but "a drawing"
            return False
    described = [
        parse.lower[i] for i in range(chunk.start, chunk.head) if not parse.is_determiner(i)
    ]
    if word in COLOURS:  # "an orange" is a fruit
        return articled and not described
    if word in BARE_ABSTRACT:
        return parse.word(chunk.end) in MADE or any(w not in POSITIONAL for w in described)
    return True


def is_denied(parse: Parse, chunk: Chunk) -> bool:
    """Whether the text says that it is not there: "no people", "without a lid"."""
    before = parse.lower[max(0, chunk.start - 1) : chunk.head]
    if any(word in ("no", "neither", "nor", "without") for word in before):
        return True
    above = parse.head[chunk.head]
    if parse.lower[above] == "without":
        return True
    return any(parse.dep[child] == "neg" for child in parse.children[above])


def _raw(parse: Parse) -> Iterator[tuple[int, int, int]]:
    """Chunks by the parser's labels, and nouns that it hung up somewhere else."""
    done = 0
    covered: set[int] = set()
    for i, pos in enumerate(parse.pos):
        if pos in _NOUNLIKE and parse.left[i] >= done and parse.dep[_first(parse, i)] in _PLACES:
            done = i + 1
            covered.update(range(parse.left[i], done))
            yield parse.left[i], done, i
    for i, pos in enumerate(parse.pos):
        if i in covered or not (pos == "NOUN" or _stands_for_noun(parse, i)):
            continue
        if i + 1 < len(parse) and parse.pos[i + 1] == "NOUN":
            continue
        start = i
        while start > 0 and start - 1 not in covered and parse.pos[start - 1] in _BEFORE_NOUNS:
            start -= 1
        if start > 0 and start - 1 not in covered and parse.is_determiner(start - 1):
            start -= 1
        covered.update(range(start, i + 1))
        yield start, i + 1, i


def _first(parse: Parse, i: int) -> int:
    """The first member of the conjunction that token i is in; i itself where there is none."""
    while parse.dep[i] == "conj" and parse.head[i] < i:
        i = parse.head[i]
    return i


def _stands_for_noun(parse: Parse, i: int) -> bool:
    """Whether a word was read as adjective or verb, but hung up as a noun would be."""
    if parse.pos[i] not in ("ADJ", "VERB") or any(child > i for child in parse.children[i]):
        return False
    if parse.dep[i] in ("pobj", "dobj", "nsubj"):
        return any(parse.dep[child] in ("det", "amod", "compound") for child in parse.children[i])
    return parse.dep[i] == "conj" and parse.pos[parse.head[i]] == "NOUN" and not parse.children[i]


def _joined(parse: Parse, raw: list[tuple[int, int, int]]) -> Iterator[tuple[int, int, int]]:
    """One chunk of "a light grey metal" + "screw": what follows a colour or material directly."""
    at = 0
    while at < len(raw):
        start, end, root = raw[at]
        at += 1
        while at < len(raw) and parse.lower[end - 1] in _JOINING:
            following = raw[at][0]
            gap = following == end + 1 and parse.lower[end] in POSITIONAL  # "grey | back | cover"
            if not (following == end or gap) or parse.is_determiner(following):
                break
            _, end, root = raw[at]
            at += 1
        yield start, end, root


def _tail(parse: Parse, start: int, end: int) -> int:
    """Take in a last noun that was read as something else: "metal back", "orange striped mug"; and
    leave out a verb that was read as one: "a black crest perches"."""
    if end >= len(parse):
        return end
    first, last = parse.lower[start], parse.lower[end - 1]
    after, tag = parse.lower[end], parse.tag[end]
    coloured = last in COLOURS | MATERIALS
    if coloured and after.endswith("ed"):
        for noun in range(end + 1, min(end + 3, len(parse))):
            if parse.pos[noun] == "NOUN":
                return noun + 1
            if parse.pos[noun] in ("DET", "ADP"):
                break
    closed = end + 1 >= len(parse) or parse.pos[end + 1] in ("PUNCT", "CCONJ", "ADP", "VERB")
    if coloured and closed and parse.has_article(start) and tag in ("RB", "VBG", "NN", "JJ"):
        return end + 1
    plural = parse.tag[end - 1] == "NNS" and last.endswith("s")
    if first in ("a", "an") and plural:  # "a" contradicts it
        if tag in ("VBN", "VB", "VBP") and not after.endswith("ed"):
            return end + 1
        if end - start > 2 and parse.pos[end - 2] == "NOUN":
            return end - 1
    return end


def _split(parse: Parse, start: int, end: int, root: int) -> Iterator[Chunk]:
    """Cut where a noun is followed by what begins a chunk or an action; find the heads."""
    first = start
    for at in range(start + 1, end):
        noun = parse.pos[at - 1] == "NOUN" or parse.dep[at - 1] == "nmod"
        if noun and (width := _cut(parse, at)) is not None:
            yield Chunk(first, at, _head(parse, first, at, root))
            first = at + width
    if first < end:
        yield Chunk(first, end, _head(parse, first, end, root))


def _cut(parse: Parse, at: int) -> int | None:
    """How many tokens between two chunks to leave out, None where there is no cut."""
    word = parse.lower[at]
    if parse.tag[at] in ("DT", "PRP$"):  # "some people | a bench"
        return 0
    if word == ",":  # "a couch, | chair"
        return 1
    if word == "and" and at + 1 < len(parse):  # "a phone and | other items"
        return 1 if parse.is_determiner(at + 1) or parse.lower[at + 1] == "other" else None
    if parse.lower[at - 1] in COLOURS:
        return None
    if parse.tag[at] == "VBG" or word in DOING:  # "a woman | hauling | baggage"
        return 1
    return None


def _head(parse: Parse, start: int, end: int, root: int) -> int:
    """The root where it is a noun at the end of its noun group, else the last token."""
    if (
        not start <= root < end
        or parse.pos[root] in ("VERB", "ADJ")
        or parse.lower[root] in COLOURS
    ):
        return end - 1
    return end - 1 if parse.pos[end - 1] == "NOUN" or parse.lower[end - 1] in PARTS else root
