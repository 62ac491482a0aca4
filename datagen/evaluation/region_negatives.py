"""Regions against negatives, the protocol of FG-OVD: does the box know its own phrase?

The feature of the ground-truth box is compared with the positive phrase and its negatives; an item
is right if the positive scores highest. Every picture is encoded once, and so is every text.
Items without negatives are not scored but counted, and so are those whose positive stands among
the negatives. What becomes of these is a setting: the published evaluator keeps them, where the tie
with themselves counts as correct.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from datagen.evaluation.encoder import Embeddings, Encoder
from datagen.evaluation.items import EvaluationError, Picture, RegionItem
from datagen.evaluation.metrics import Ties, chance_of_top1, top1
from datagen.evaluation.result import Result
from datagen.evaluation.statistics import bootstrap_interval

BATCH = 64
OFFICIAL_NEGATIVES = 10
Duplicates = Literal["remove", "keep", "drop"]
"""A positive among its negatives: that negative is removed, kept, or the whole item dropped."""

Fewer = Literal["keep", "drop"]


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """Every choice that moves the score."""

    ties: Ties = "shared"
    duplicates: Duplicates = "remove"
    fewer_negatives: Fewer = "keep"
    """Items with fewer than ten negatives, which are easier: kept, as published, or dropped."""
    long_text: bool = False
    """Use the positions and the projection of long texts, as published for lengths above 100."""


PUBLISHED = Protocol(ties="correct", duplicates="keep")
"""What FG-CLIP's evaluator does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredItem:
    """An item with the cosine of its box to each candidate, the positive first."""

    item: RegionItem
    scores: NDArray[np.float32]
    credit: float
    """0..1, see `top1`."""
    duplicate: bool = False
    """The positive stands, or stood, among the negatives."""


@dataclass(frozen=True, kw_only=True)
class Scored:
    """All items that were scored, and how many were not."""

    items: list[ScoredItem]
    counts: dict[str, int] = field(default_factory=dict)


def score(
    encoder: Encoder, pictures: Iterable[Picture], protocol: Protocol | None = None
) -> Scored:
    """Encode pictures and texts, and compare.

    Raises:
        EvaluationError: there is no item with negatives.
    """
    protocol = protocol or Protocol()
    chosen: list[tuple[RegionItem, bool]] = []
    features: list[Embeddings] = []
    counts = dict.fromkeys(
        ("positive_among_negatives", "without_negatives", "fewer_negatives", "dropped"), 0
    )
    for group in _grouped(pictures):
        kept = [_usable(picture.items, protocol, counts) for picture in group]
        boxes = [[item.box for item, _ in items] for items in kept]
        features += encoder.encode_images([picture.image for picture in group], boxes)[1]
        chosen += [found for items in kept for found in items]
    if not chosen:
        raise EvaluationError("No region has negatives: there is nothing to evaluate.")
    texts: dict[str, int] = {}
    for item, _ in chosen:
        for text in (item.positive, *item.negatives):
            texts.setdefault(text, len(texts))
    embedded = encoder.encode_texts(list(texts), long=protocol.long_text)
    scored = []
    for (item, duplicate), region in zip(chosen, np.concatenate(features), strict=True):
        rows = [texts[text] for text in (item.positive, *item.negatives)]
        # Products of equal rows may differ in the last bit; equal texts must tie exactly.
        distinct, place = np.unique(rows, return_inverse=True)
        scores = (embedded[distinct] @ region)[place]
        credit = top1(scores, protocol.ties)
        scored.append(ScoredItem(item=item, scores=scores, credit=credit, duplicate=duplicate))
    return Scored(items=scored, counts=counts)


def summary(scored: Scored, protocol: Protocol, name: str = "region_negatives") -> Result:
    """Top-1 accuracy over the scored items.

    `details` has the counts, `pairwise_<type>` (how often the positive beats a negative of that
    type), and `top1_without_duplicates` where some items have their positive among the negatives.
    """
    credit = np.array([found.credit for found in scored.items])
    low, high = bootstrap_interval(credit, [found.item.image_id for found in scored.items])
    wins = defaultdict(list)
    for found in scored.items:
        for kind, value in zip(found.item.types, found.scores[1:], strict=False):
            wins[kind].append(float(found.scores[0] > value))
    details: dict[str, float] = {key: float(value) for key, value in scored.counts.items()}
    clean = [not found.duplicate for found in scored.items]
    if any(clean) and not all(clean):
        details["top1_without_duplicates"] = float(credit[clean].mean())
    details |= {f"pairwise_{kind}": float(np.mean(won)) for kind, won in sorted(wins.items())}
    return Result(
        benchmark=name,
        metric="top1",
        value=float(credit.mean()),
        low=low,
        high=high,
        n=len(scored.items),
        chance=chance_of_top1([len(found.scores) for found in scored.items]),
        settings={
            "ties": protocol.ties,
            "duplicates": protocol.duplicates,
            "fewer_negatives": protocol.fewer_negatives,
            "text_positions": "long" if protocol.long_text else "short",
        },
        details=details,
    )


def evaluate(
    encoder: Encoder,
    pictures: Iterable[Picture],
    *,
    name: str = "region_negatives",
    ties: Ties = "shared",
) -> tuple[Result, list[RegionItem]]:
    """Top-1 accuracy, and the items that were scored (for the controls).

    Raises:
        EvaluationError: there is no item with negatives.
    """
    protocol = Protocol(ties=ties)
    scored = score(encoder, pictures, protocol)
    return summary(scored, protocol, name), [found.item for found in scored.items]


def _usable(
    items: Iterable[RegionItem], protocol: Protocol, counts: dict[str, int]
) -> list[tuple[RegionItem, bool]]:
    """The items to score, and of each whether its positive is among its negatives."""
    usable = []
    for item in items:
        keep = [i for i, text in enumerate(item.negatives) if text != item.positive]
        duplicate = len(keep) < len(item.negatives)
        short = len(item.negatives) < OFFICIAL_NEGATIVES
        counts["positive_among_negatives"] += duplicate
        if not item.negatives or (duplicate and protocol.duplicates == "remove" and not keep):
            counts["without_negatives"] += 1
            continue
        counts["fewer_negatives"] += short
        if (duplicate and protocol.duplicates == "drop") or (
            short and protocol.fewer_negatives == "drop"
        ):
            counts["dropped"] += 1
            continue
        if duplicate and protocol.duplicates == "remove":
            types = tuple(item.types[i] for i in keep) if item.types else ()
            left = tuple(item.negatives[i] for i in keep)
            item = replace(item, negatives=left, types=types)
        usable.append((item, duplicate))
    return usable


def _grouped(pictures: Iterable[Picture]) -> Iterator[list[Picture]]:
    group: list[Picture] = []
    for picture in pictures:
        group.append(picture)
        if len(group) == BATCH:
            yield group
            group = []
    if group:
        yield group
