"""Checks of a negative without a model: each says what is wrong with it, or nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from datagen.negatives.drafts import ADD, ASPECTS, OTHER_OBJECT, SWAP, Draft, article_for
from datagen.negatives.lexicon import COLOUR, NOUN_KINDS, Lexicon
from datagen.negatives.slots import Slot

_ARTICLE = re.compile(r"\b(an?) ([\w-]+)", re.IGNORECASE)
_ARTICLES = re.compile(r"\ban? ", re.IGNORECASE)
_LEADING_ARTICLE = re.compile(r"^(an?|the) ")
_DOUBLED = re.compile(r"\b(\w+) \1\b", re.IGNORECASE)
_NEXT_WORD = re.compile(r"\W*([\w-]+)")
_DETERMINERS = frozenset({"a", "an", "the", "two", "three", "four", "his", "her", "their", "its"})
_AFTER_OF = re.compile(r"\bof\s+$", re.IGNORECASE)
MAX_LENGTH_RATIO = 1.7
"""Characters of the longer of positive and negative by those of the shorter."""


@dataclass(frozen=True)
class Context:
    """What a region's negatives are held against; `keep` remembers those that were good.

    Args:
        slots: all slots of the positive.
        others: phrases of the image's other regions.
    """

    positive: str
    slots: Sequence[Slot]
    lexicon: Lexicon
    others: Iterable[str] = ()
    seen: set[str] = field(default_factory=set)
    names: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        self.seen.add(normal(self.positive))
        object.__setattr__(self, "names", frozenset(map(normal, self.others)))

    def keep(self, draft: Draft) -> None:
        """The draft is one of the region's negatives: its like is a duplicate from here on."""
        self.seen.add(normal(draft.text))


def normal(phrase: str) -> str:
    """A phrase without case, leading article and needless spaces, to compare it by its words."""
    return _LEADING_ARTICLE.sub("", " ".join(phrase.lower().split()).rstrip("."))


def aspects(draft: Draft, context: Context) -> str | None:
    """Exactly the intended number of attributes was changed, and nothing else: not the object."""
    if draft.change == OTHER_OBJECT:
        return None
    if draft.change != ADD and any(edit.slot is None for edit in draft.edits):
        return "something that is no attribute was changed"
    kinds = {edit.slot.kind for edit in draft.edits if edit.slot}
    if kinds & NOUN_KINDS:
        return "the object or a part of it was replaced"
    wanted = ASPECTS[draft.change]
    if len({edit.slot for edit in draft.edits}) != wanted:
        return f"{len(draft.edits)} attributes were changed and not {wanted}"
    for edit in draft.edits:
        kind = _kind(draft.new(edit).lower(), context.lexicon)
        if edit.slot and kind not in (None, edit.slot.kind):
            return f"{draft.new(edit)!r} is no {edit.slot.kind}"
    old, new = _rests(draft)
    return "more than the attribute was changed" if old.lower() != new.lower() else None


def not_synonym(draft: Draft, context: Context) -> str | None:
    """Each new value means something else than the old one, and than the noun's others."""
    changed = {edit.slot: draft.new(edit).lower() for edit in draft.edits if edit.slot}
    for edit in draft.edits:
        if edit.slot is None or draft.change == OTHER_OBJECT:
            continue
        new, kind = draft.new(edit).lower(), edit.slot.kind
        if context.lexicon.alike(draft.old(edit).lower(), new, kind):
            return f"{new!r} is too near to {draft.old(edit)!r}"
        if draft.change == SWAP:
            continue
        for slot in context.slots:
            same = slot.kind == kind and slot.noun == edit.slot.noun and slot != edit.slot
            said = changed.get(slot, slot.surface(context.positive)) if same else ""
            if same and context.lexicon.alike(said, new, kind):
                return f"{new!r} is too near to {said!r}, which the {slot.noun} is as well"
    return None


def grammar(draft: Draft, context: Context) -> str | None:
    """Articles agree, no word comes twice, and what stands after "of" can stand there."""
    places = {edit.new_start for edit in draft.edits}
    whole = draft.change == OTHER_OBJECT
    for match in _ARTICLE.finditer(draft.text):
        if (whole or match.start(2) in places) and match[1].lower() != article_for(match[2]):
            return f"{match[0]!r} has the wrong article"
    doubled = _DOUBLED.search(draft.text)
    if doubled and not _DOUBLED.search(draft.positive):
        return f"{doubled[0]!r} says a word twice"
    for edit in draft.edits:
        before = draft.text[: edit.new_start]
        if draft.new(edit).lower() in context.lexicon.after_of and _AFTER_OF.search(before):
            return f"'of {draft.new(edit)}' is no English"
    return None


def plausible(draft: Draft, context: Context) -> str | None:
    """The noun can have the value ("a wooden pizza" is not), and it makes no other name of it."""
    if draft.change == OTHER_OBJECT:
        return None
    for edit in draft.edits:
        new = draft.new(edit).lower()
        if edit.slot and not context.lexicon.fits(edit.slot.kind, new, edit.slot.noun):
            return f"a {edit.slot.noun} is not {new}"
        following = _NEXT_WORD.match(draft.text, edit.new_end)
        after = following[1].lower() if following else ""
        if after in context.lexicon.not_before.get(new, ()):
            return f"'{new} {after}' is the name of something else"
        if after not in context.lexicon.only_before.get(new, (after,)):
            return f"'{new} {after}' is no English"
    return _contradiction(draft, context)


def same_form(draft: Draft, context: Context) -> str | None:
    """Case, final punctuation and length class are those of the positive."""
    positive, text = draft.positive, draft.text
    if positive[:1].isupper() != text[:1].isupper() or positive.isupper() != text.isupper():
        return "it is written in another case"
    if draft.change != OTHER_OBJECT and _recased(draft):
        return "a word of it is written in another case"
    if draft.change == OTHER_OBJECT and _determined(positive) != _determined(text):
        return "only one of the two has an article"
    if _end(positive) != _end(text):
        return "it ends in other punctuation"
    words = abs(text.count(" ") - positive.count(" "))
    long, short = max(len(text), len(positive)), max(1, min(len(text), len(positive)))
    if words > 1 + len(draft.edits) or (long > MAX_LENGTH_RATIO * short and long - short > 12):
        return "its length is of another class"
    return None


def distinct(draft: Draft, context: Context) -> str | None:
    """It is neither the positive nor an earlier negative."""
    return "the text is there already" if normal(draft.text) in context.seen else None


def not_another_region(draft: Draft, context: Context) -> str | None:
    """It is not what another region of the same image is called."""
    same = normal(draft.text) in context.names
    return "it names another region of the image" if same else None


Check = Callable[[Draft, Context], str | None]
CHECKS: dict[str, Check] = {
    check.__name__: check
    for check in (
        aspects,
        not_synonym,
        grammar,
        plausible,
        same_form,
        distinct,
        not_another_region,
    )
}


def first_failure(draft: Draft, context: Context) -> tuple[str, str] | None:
    """Name and reason of the first check that a draft fails; None for a good one."""
    for name, check in CHECKS.items():
        reason = check(draft, context)
        if reason:
            return name, reason
    return None


def _contradiction(draft: Draft, context: Context) -> str | None:
    """Two values of one noun that nothing can have together: "a transparent wooden bottle"."""
    if not context.lexicon.excludes:
        return None
    changed = {edit.slot: draft.new(edit).lower() for edit in draft.edits if edit.slot}
    values = [(slot.noun, changed.get(slot, slot.value)) for slot in context.slots]
    for noun, value in ((slot.noun, new) for slot, new in changed.items()):
        for other_noun, other in values:
            if noun == other_noun and not context.lexicon.together(value, other):
                return f"nothing is {value} and {other}"
    return None


def _kind(value: str, lexicon: Lexicon) -> str | None:
    return COLOUR if lexicon.split_shade(value)[0] else lexicon.kind_of(value)


def _determined(text: str) -> bool:
    return text.split(" ", 1)[0].lower() in _DETERMINERS


def _end(text: str) -> str:
    return text[-1:] if not text[-1:].isalnum() else ""


def _recased(draft: Draft) -> bool:
    """Whether a value or a word that stayed has another case than in the positive."""
    old, new = _rests(draft)
    values = [(draft.old(edit), draft.new(edit)) for edit in draft.edits if edit.start < edit.end]
    return old != new or any(a[:1].isupper() != b[:1].isupper() for a, b in values)


def _rests(draft: Draft) -> tuple[str, str]:
    """What is left of the positive and of the text without the edits and without articles."""
    return (
        _rest(draft.positive, [(edit.start, edit.end) for edit in draft.edits]),
        _rest(draft.text, [(edit.new_start, edit.new_end) for edit in draft.edits]),
    )


def _rest(text: str, spans: Sequence[tuple[int, int]]) -> str:
    """The text without the spans and without articles."""
    parts, cursor = [], 0
    for start, end in sorted(spans):
        parts.append(text[cursor:start])
        cursor = end
    parts.append(text[cursor:])
    return _ARTICLES.sub("", "\0".join(parts)).rstrip(".,;!? ")
