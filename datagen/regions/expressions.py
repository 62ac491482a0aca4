"""Referring expressions: a noun chunk and the attributes that follow it directly.

"a laptop computer" goes on with "with a grey metal back, featuring a white logo made of metal":
what it is of, what it has, wears, contains and is made of, and what a relative clause says of its
look. Where it is and what it does are not taken in.
"""

from __future__ import annotations

from collections.abc import Sequence

from datagen.regions.chunks import Chunk, is_denied, names_a_thing
from datagen.regions.parse import Parse
from datagen.regions.words import (
    BARE_ABSTRACT,
    CLOTHES,
    COLOURS,
    FULL,
    HAS,
    HAVING,
    LOOKS,
    MADE,
    MATERIALS,
    MEASURES,
    PARTS,
)

_BESIDE = frozenset({"next", "beside", "near", "nearby", "behind", "under", "above"})


class Expressions:
    """Reads the expressions of one text. `ends[i]` is where that of chunk i ends (a token index);
    `absorbed` are chunks that are measured or material and so no phrases of their own."""

    def __init__(self, parse: Parse, chunks: Sequence[Chunk]) -> None:
        self._parse = parse
        self._chunks = chunks
        self._at = {chunk.start: i for i, chunk in enumerate(chunks)}
        self._parts: set[int] = set()
        self.absorbed: set[int] = set()
        self.ends: list[int] = []
        for i, chunk in enumerate(chunks):
            made_of = (
                self._parse.word(chunk.start - 2) in MADE
                and self._parse.word(chunk.start - 1) == "of"
            )
            if made_of and parse.lower[chunk.head] in MATERIALS:
                self.absorbed.add(i)
            self.ends.append(self._extend(i))

    def _extend(self, i: int) -> int:
        """Where the expression of chunk i ends."""
        chunk = self._chunks[i]
        end = self._of(i, chunk.end)
        while True:
            further = self._attribute(i, end)
            if further is None:
                break
            end = further
        if i in self._parts:
            end = self._place(end)
        return end

    def _attribute(self, i: int, end: int) -> int | None:
        """One more attribute from token `end` on: where it ends, None if there is none."""
        at = end + 1 if self._parse.word(end) == "," else end
        if at >= len(self._parse):
            return None
        chunk, word = self._chunks[i], self._parse.lower[at]
        mine = self._belongs(at, chunk, end)
        if word == "with":
            return self._list(at + 1) if self._has(at, chunk, mine) else None
        if word in HAVING and self._parse.tag[at] != "NN":
            # After a comma, what does it is the subject of the sentence or, if it cannot do
            # much, the thing named before.
            thing = word in ("containing", "featuring") and i not in self._parts
            return self._list(at + 1) if mine or at == end or thing else None
        if word in MADE and self._parse.word(at + 1) in ("of", "in", "with", "from", "by", "out"):
            if at > end and not mine:
                return None
            skip = 3 if self._parse.word(at + 2) == "of" else 2
            return self._list(at + skip, of=True) or self._colours(at + skip)
        if at > end:
            return None
        if word == "in":
            return self._worn(at + 1)
        if word in FULL and self._parse.word(at + 1) in ("of", "with"):
            return self._list(at + 2)
        if word in ("that", "which", "who"):
            return self._relative(at)
        return None

    def _has(self, at: int, chunk: Chunk, mine: bool) -> bool:
        """Whether "with ..." at token `at` describes the chunk."""
        i = self._at.get(at + 1)
        if i is None:
            return False
        if self._parse.tag[at + 1] == "PRP$":
            return False  # "a man on a bench with his dog": what it says is where the dog is
        what = self._parse.lower[self._chunks[i].head]
        if self._parse.lower[chunk.head] in CLOTHES and what in CLOTHES:
            return False  # "in a dress with a hat": both are the wearer's
        return mine or (what in PARTS and self._parse.lower[at - 1] != ",")

    def _belongs(self, at: int, chunk: Chunk, end: int) -> bool:
        """Whether the parser hangs token `at` up in the expression so far."""
        return chunk.start <= self._parse.head[at] < end or self._parse.dep[at] == "ROOT"

    def _of(self, i: int, end: int) -> int:
        """Take in "of people" and what follows in the same manner ("rows of slices of bread")."""
        inner = self._at.get(end + 1) if self._parse.word(end) == "of" else None
        if inner is None:
            return end
        head, what = self._parse.lower[self._chunks[i].head], self._chunks[inner]
        if head in MEASURES or self._parse.lower[what.head] in MATERIALS:
            self.absorbed.add(inner)
            end = self._of(inner, what.end)
            while (more := self._next(end, bare=True)) is not None:
                self.absorbed.add(more)
                end = self._chunks[more].end
            return end
        if not names_a_thing(self._parse, what):
            return end
        return self._of(inner, what.end)

    def _list(self, at: int, *, of: bool = False) -> int | None:
        """End of "a black head, black ears and a white neck" from token `at` on."""
        first = self._at.get(at)
        if first is None or not self._seen(self._chunks[first]):
            return None
        end = self._item(first, of)
        if self._beside_it(end):
            return None
        while (more := self._next(end)) is not None:
            end = self._item(more, of)
        return end

    def _seen(self, chunk: Chunk) -> bool:
        """Whether the chunk describes what has it: a part that is there, or a look."""
        if is_denied(self._parse, chunk):
            return False
        return names_a_thing(self._parse, chunk) or self._parse.lower[chunk.head] in LOOKS

    def _item(self, i: int, of: bool) -> int:
        if of and self._parse.lower[self._chunks[i].head] in MATERIALS:
            self.absorbed.add(i)
            return self._chunks[i].end
        self._parts.add(i)
        return self._extend(i)

    def _next(self, end: int, *, bare: bool = False) -> int | None:
        """The chunk that goes on with a list that has come to `end`."""
        at = end
        if self._parse.word(at) == ",":
            at += 1
        if self._parse.word(at) in ("and", "or", "&"):
            at += 1
        i = self._at.get(at)
        if i is None:
            return None
        chunk = self._chunks[i]
        determined = self._parse.is_determiner(chunk.start)
        if bare and (determined or self._parse.pos[chunk.start] == "NUM"):
            return None
        if at == end and (bare or not determined):
            return None
        if self._parse.dep[chunk.head] in ("nsubj", "nsubjpass") or not self._seen(chunk):
            return None
        return i

    def _worn(self, at: int) -> int | None:
        """Clothes or colours after "in"."""
        i = self._at.get(at)
        if i is not None:
            chunk = self._chunks[i]
            head = self._parse.lower[chunk.head]
            if head in CLOTHES or head in ("color", "colour"):
                return self._list(at)
        return self._colours(at)

    def _colours(self, at: int) -> int | None:
        """End of "bright yellow", "white and gold" or "yellow, red and blue"."""
        end = None
        while at < len(self._parse):
            if self._parse.word(at) in COLOURS:
                end = at + 1
            elif self._parse.pos[at] not in ("ADJ", "ADV", "CCONJ") and self._parse.word(at) != ",":
                break
            at += 1
        if end is None or any(chunk.start < end < chunk.end for chunk in self._chunks):
            return None  # "in silver | plastic armour" is no colour of who wears it
        return end

    def _relative(self, at: int) -> int | None:
        """End of "that has black counters" or "which is light blue"; `at` is the pronoun's."""
        verb = self._parse.word(at + 1)
        if verb in HAS:
            return self._list(at + 2)
        if verb not in ("is", "are", "was", "were"):
            return None
        if self._parse.word(at + 2) in MADE and self._parse.word(at + 3) in (
            "of",
            "in",
            "with",
            "from",
        ):
            return self._list(at + 4, of=True) or self._colours(at + 4)
        end = at + 2
        while end < len(self._parse) and (
            self._parse.pos[end] in ("ADJ", "ADV") or self._parse.word(end) in COLOURS
        ):
            end += 1
        if end == at + 2 or self._parse.pos[end - 1] == "ADV":
            return None
        if self._parse.word(end) == "in" and self._parse.word(end + 1) in ("color", "colour"):
            end += 2
        return end

    def _beside_it(self, end: int) -> bool:
        """Whether what was listed is beside the thing and no part of it: "a lamp next to it"."""
        return self._parse.word(end) in _BESIDE and "it" in self._parse.lower[end : end + 4]

    def _place(self, end: int) -> int:
        """Take in "on the side" at the end of a part."""
        if self._parse.word(end) not in ("on", "at", "in") or self._parse.word(end + 1) != "the":
            return end
        bare = self._parse.word(end + 2) in BARE_ABSTRACT and self._parse.word(end + 3) != "of"
        return end + 3 if bare else end
