"""A draft: a phrase with some of its values replaced, and where."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from datagen.dataset import Negative
from datagen.negatives.slots import Slot

_ARTICLE_BEFORE = re.compile(r"\b(an?)(\s+)$", re.IGNORECASE)
_OF_BEFORE = re.compile(r"\bof\s+$", re.IGNORECASE)
_SOUNDS_CONSONANT = re.compile(r"(uni([^nm]|$)|use|eu|one\b|ewe)")
_SOUNDS_VOWEL = re.compile(r"(hour|honest|heir)")

REPLACE, REPLACE_TWO, REPLACE_THREE = "replace", "replace_two", "replace_three"
SWAP, SWAP_REGIONS, ADD, OTHER_OBJECT = "swap", "swap_regions", "add", "other_object"
CHANGES = (REPLACE, REPLACE_TWO, REPLACE_THREE, OTHER_OBJECT, SWAP, SWAP_REGIONS, ADD)
"""What a negative does to its positive: FG-OVD's hard, medium, easy and trivial; then SugarCrepe's
swap within the phrase, swap with another region of the image, and one attribute more."""
ASPECTS = {REPLACE: 1, REPLACE_TWO: 2, REPLACE_THREE: 3, SWAP: 2, SWAP_REGIONS: 1, ADD: 1}
"""How many attributes each changes."""


@dataclass(frozen=True, slots=True)
class Edit:
    """One place: characters `start` to `end` of the positive became `new_start` to `new_end`.

    `slot` is the attribute that it changes; None where it is none that is known.
    """

    start: int
    end: int
    new_start: int
    new_end: int
    slot: Slot | None


@dataclass(frozen=True, slots=True)
class Draft:
    """A negative that has not been checked. `change` is one of `CHANGES`."""

    positive: str
    text: str
    edits: tuple[Edit, ...]
    change: str = REPLACE

    def old(self, edit: Edit) -> str:
        """What stood in the positive."""
        return self.positive[edit.start : edit.end]

    def new(self, edit: Edit) -> str:
        """What stands there now."""
        return self.text[edit.new_start : edit.new_end]

    def negative(self, checks: Sequence[str] = ()) -> Negative:
        """As a row: of several edits the span reaches from the first to the last."""
        first, last = self.edits[0], self.edits[-1]
        kinds = [edit.slot.kind if edit.slot else "object" for edit in self.edits]
        return Negative(
            text=self.text,
            type="+".join(kinds),
            span_start=first.new_start,
            span_end=last.new_end,
            old=self.positive[first.start : last.end],
            new=self.text[first.new_start : last.new_end],
            checks=list(checks),
            change=self.change,
        )


def article_for(word: str) -> str:
    """`a` or `an`, by how the word probably sounds."""
    lower = word.lower()
    if _SOUNDS_VOWEL.match(lower):
        return "an"
    return "an" if lower[:1] in set("aeiou") and not _SOUNDS_CONSONANT.match(lower) else "a"


def put_values(
    positive: str,
    values: Sequence[tuple[Slot, str]],
    change: str = REPLACE,
    *,
    after_of: Mapping[str, str] | None = None,
) -> Draft:
    """The positive with other values in some of its slots, each with its a/an and its case.

    Args:
        values: of slots that do not overlap.
        after_of: what a value is called after "of": "made of wood".
    """
    text, cursor = "", 0
    edits: list[Edit] = []
    for slot, value in sorted(values, key=lambda pair: pair[0].span_start):
        text += positive[cursor : slot.span_start]
        match = _ARTICLE_BEFORE.search(text)
        if match and match.start() >= (edits[-1].new_end if edits else 0):
            fitting = article_for(value)
            fitting = fitting.capitalize() if match[1][0].isupper() else fitting
            text = text[: match.start()] + fitting + match[2]
        if after_of and _OF_BEFORE.search(text):
            value = after_of.get(value, value)
        start = len(text)
        text += value.capitalize() if positive[slot.span_start].isupper() else value
        edits.append(Edit(slot.span_start, slot.span_end, start, len(text), slot))
        cursor = slot.span_end
    return Draft(positive, text + positive[cursor:], tuple(edits), change)


def whole_phrase(positive: str, text: str, slot: Slot | None = None) -> Draft:
    """Another object's phrase in place of this one."""
    edit = Edit(0, len(positive), 0, len(text), slot)
    return Draft(positive, text, (edit,), OTHER_OBJECT)
