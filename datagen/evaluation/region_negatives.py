"""Regions against negatives, the protocol of FG-OVD: does the box know its own phrase?

The feature of the ground-truth box is compared with the positive phrase and its negatives; an item
is right if the positive scores highest. Negatives equal to the positive are taken out first, and
items that have none left are not scored; `details` counts both.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import numpy as np

from datagen.evaluation.encoder import Embeddings, Encoder
from datagen.evaluation.items import EvaluationError, Picture, RegionItem
from datagen.evaluation.metrics import Ties, chance_of_top1, top1
from datagen.evaluation.result import Result

BATCH = 64


def evaluate(
    encoder: Encoder,
    pictures: Iterable[Picture],
    *,
    name: str = "region_negatives",
    ties: Ties = "shared",
) -> tuple[Result, list[RegionItem]]:
    """Top-1 accuracy, and the items that were scored (for the controls).

    `details` also has `pairwise_<type>`: how often the positive beats a negative of that type.

    Raises:
        EvaluationError: there is no item with negatives.
    """
    scored: list[RegionItem] = []
    features: list[Embeddings] = []
    texts: dict[str, int] = {}
    counts = {"positive_among_negatives": 0, "without_negatives": 0}
    for group in _grouped(pictures):
        usable = [[_cleaned(item, counts) for item in picture.items] for picture in group]
        kept = [[item for item in items if item.negatives] for items in usable]
        counts["without_negatives"] += sum(
            len(u) - len(k) for u, k in zip(usable, kept, strict=True)
        )
        boxes = [[item.box for item in items] for items in kept]
        features += encoder.encode_images([picture.image for picture in group], boxes)[1]
        for item in (item for items in kept for item in items):
            scored.append(item)
            for text in (item.positive, *item.negatives):
                texts.setdefault(text, len(texts))
    if not scored:
        raise EvaluationError("No region has negatives: there is nothing to evaluate.")
    regions = np.concatenate(features)
    embedded = encoder.encode_texts(list(texts), long=False)
    credit, wins = [], defaultdict(list)
    for item, region in zip(scored, regions, strict=True):
        rows = [texts[text] for text in (item.positive, *item.negatives)]
        scores = embedded[rows] @ region
        credit.append(top1(scores, ties))
        for kind, score in zip(item.types, scores[1:], strict=False):
            wins[kind].append(float(scores[0] > score))
    details: dict[str, float] = {key: float(value) for key, value in counts.items()}
    details |= {f"pairwise_{kind}": float(np.mean(won)) for kind, won in sorted(wins.items())}
    result = Result(
        benchmark=name,
        metric="top1",
        value=float(np.mean(credit)),
        n=len(scored),
        chance=chance_of_top1([1 + len(item.negatives) for item in scored]),
        settings={"ties": ties},
        details=details,
    )
    return result, scored


def _cleaned(item: RegionItem, counts: dict[str, int]) -> RegionItem:
    keep = [i for i, text in enumerate(item.negatives) if text != item.positive]
    if len(keep) == len(item.negatives):
        return item
    counts["positive_among_negatives"] += 1
    return RegionItem(
        image_id=item.image_id,
        box=item.box,
        positive=item.positive,
        negatives=tuple(item.negatives[i] for i in keep),
        types=tuple(item.types[i] for i in keep) if item.types else (),
    )


def _grouped(pictures: Iterable[Picture]) -> Iterable[list[Picture]]:
    group: list[Picture] = []
    for picture in pictures:
        group.append(picture)
        if len(group) == BATCH:
            yield group
            group = []
    if group:
        yield group
