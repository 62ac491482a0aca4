"""Cheap checks of a negative: each says what is wrong with it, or nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from datagen.dataset import Negative
from datagen.negatives.lexicon import Lexicon
from datagen.negatives.slots import Slot

_ARTICLE = re.compile(r"\b(an?) ([\w-]+)", re.IGNORECASE)
_LEADING_ARTICLE = re.compile(r"^(an?|the) ")
_SOUNDS_CONSONANT = re.compile(r"(uni([^nm]|$)|use|eu|one\b|ewe)")
_SOUNDS_VOWEL = re.compile(r"(hour|honest|heir)")


@dataclass(frozen=True, slots=True)
class Context:
    """What a negative is held against.

    `slots` are all slots of the positive, `earlier` the texts of the negatives kept so far,
    `others` the phrases of the image's other regions.
    """

    positive: str
    slots: Sequence[Slot]
    earlier: Sequence[str]
    others: Sequence[str]
    lexicon: Lexicon


def article_for(word: str) -> str:
    """`a` or `an`, by how the word probably sounds."""
    lower = word.lower()
    if _SOUNDS_VOWEL.match(lower):
        return "an"
    return "an" if lower[:1] in set("aeiou") and not _SOUNDS_CONSONANT.match(lower) else "a"


def normal(phrase: str) -> str:
    """A phrase without case, leading article and needless spaces, to compare it by its words."""
    return _LEADING_ARTICLE.sub("", " ".join(phrase.lower().split()).rstrip("."))


def one_aspect(negative: Negative, context: Context) -> str | None:
    """Only the value differs (and the article that goes with it)."""
    text = negative.text[: negative.span_start] + negative.old + negative.text[negative.span_end :]
    same = _without_articles(text) == _without_articles(context.positive)
    return None if same else f"more than {negative.old!r} was changed"


def not_synonym(negative: Negative, context: Context) -> str | None:
    """The new value means something else than the old one, and than the phrase's others."""
    for slot in context.slots:
        same_kind = slot.kind == negative.type
        if same_kind and context.lexicon.alike(slot.value, negative.new.lower()):
            return f"{negative.new!r} is too near to {slot.value!r}"
    return None


def article(negative: Negative, context: Context) -> str | None:
    """The article before the new value agrees with it."""
    for match in _ARTICLE.finditer(negative.text):
        if match.start(2) == negative.span_start and match[1].lower() != article_for(match[2]):
            return f"{match[0]!r} has the wrong article"
    return None


def distinct(negative: Negative, context: Context) -> str | None:
    """It is neither the positive nor an earlier negative."""
    known = {normal(text) for text in (context.positive, *context.earlier)}
    return "the text is there already" if normal(negative.text) in known else None


def not_another_region(negative: Negative, context: Context) -> str | None:
    """It is not what another region of the same image is called."""
    names = {normal(text) for text in context.others}
    return "it names another region of the image" if normal(negative.text) in names else None


CHECKS: dict[str, Callable[[Negative, Context], str | None]] = {
    check.__name__: check
    for check in (one_aspect, not_synonym, article, distinct, not_another_region)
}


def failures(negative: Negative, context: Context) -> dict[str, str]:
    """Name and reason of each check that a negative fails; empty for a good one."""
    reasons = {name: check(negative, context) for name, check in CHECKS.items()}
    return {name: reason for name, reason in reasons.items() if reason}


def _without_articles(text: str) -> str:
    return re.sub(r"\ban? ", "", text.lower())
