"""From values to negatives: shares for each slot, values put in place, checks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from datagen.dataset import Negative
from datagen.negatives.checks import CHECKS, Context, article_for, failures
from datagen.negatives.lexicon import Lexicon
from datagen.negatives.slots import Slot

_ARTICLE_BEFORE = re.compile(r"\b(an?)(\s+)$", re.IGNORECASE)


def share(rooms: Sequence[int], total: int) -> list[int]:
    """How many negatives each slot gets: as even as their rooms allow, `total` together.

    What cannot be shared evenly goes to the slots with the most room.
    """
    shares = [0] * len(rooms)
    for _ in range(min(total, sum(rooms))):
        open_slots = [i for i in range(len(rooms)) if shares[i] < rooms[i]]
        best = min(open_slots, key=lambda i: (shares[i], -rooms[i], i))
        shares[best] += 1
    return shares


def put_value(positive: str, slot: Slot, value: str) -> Negative:
    """The positive with one value in place of another; a/an before it follows the new value."""
    old = positive[slot.span_start : slot.span_end]
    before, after = positive[: slot.span_start], positive[slot.span_end :]
    new = value.capitalize() if old[:1].isupper() else value
    match = _ARTICLE_BEFORE.search(before)
    if match:
        fitting = article_for(value)
        fitting = fitting.capitalize() if match[1][0].isupper() else fitting
        before = before[: match.start()] + fitting + match[2]
    return Negative(
        text=before + new + after,
        type=slot.kind,
        span_start=len(before),
        span_end=len(before) + len(new),
        old=old,
        new=new,
    )


def build(
    positive: str,
    values: Mapping[Slot, Sequence[str]],
    shares: Mapping[Slot, int],
    *,
    others: Sequence[str],
    lexicon: Lexicon,
) -> list[Negative]:
    """The negatives of a phrase, the kinds taking turns.

    Args:
        values: for each slot its values, the best first; more than its share are spares.
        shares: how many negatives each slot gives. Where checks leave it short, the slots that
            have spares and room make up for it.
        others: phrases of the image's other regions.
    """
    kept: list[Negative] = []
    streams = {slot: iter(values[slot]) for slot in values}

    def take_turns(left: dict[Slot, int], total: int) -> None:
        while any(left.values()) and len(kept) < total:
            for slot in [slot for slot in streams if left[slot] > 0]:
                if len(kept) == total:
                    return
                context = Context(positive, list(values), [n.text for n in kept], others, lexicon)
                good = _next_good(positive, slot, streams[slot], context)
                left[slot] = left[slot] - 1 if good else 0
                if good:
                    kept.append(good)

    total = sum(shares.values())
    take_turns(dict(shares), total)
    take_turns({slot: lexicon.room(slot.value) - shares[slot] for slot in streams}, total)
    return kept


def _next_good(
    positive: str, slot: Slot, stream: Iterator[str], context: Context
) -> Negative | None:
    for value in stream:
        negative = put_value(positive, slot, value)
        if not failures(negative, context):
            return replace(negative, checks=list(CHECKS))
    return None
