"""What stands beside a score on negatives: the controls, and the score by kind and by box size."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from datagen.engines.errors import ModelNotFoundError
from datagen.evaluation import controls as text_controls
from datagen.evaluation.kinds import box_size, changed_kind
from datagen.evaluation.metrics import Ties, chance_of_top1, top1
from datagen.evaluation.region_negatives import Protocol, Scored, ScoredItem, summary
from datagen.evaluation.result import Result
from datagen.evaluation.statistics import bootstrap_interval


def with_controls(
    scored: Scored, protocol: Protocol, name: str, *, controls: bool = True
) -> list[Result]:
    """The score, its controls where asked for and possible, and its parts.

    A control needs items of two images; that on embeddings needs a sentence encoder. Where one
    cannot be had it is missing from the list, and the score's settings say why.
    """
    score = summary(scored, protocol, name)
    found: list[Result] = []
    if controls:
        items = [entry.item for entry in scored.items]
        if len({item.image_id for item in items}) > 1:
            found.append(text_controls.text_only(items, name=name, ties=protocol.ties))
            try:
                found.append(
                    text_controls.text_only_embedding(items, name=name, ties=protocol.ties)
                )
            except ModelNotFoundError as error:
                score = replace(score, settings=score.settings | {"no_control": str(error)})
        else:
            reason = "the text-only controls need items of two images"
            score = replace(score, settings=score.settings | {"no_control": reason})
    return [
        score,
        *found,
        *by_kind(scored.items, protocol.ties, name),
        *by_size(scored.items, name),
    ]


def by_kind(items: Sequence[ScoredItem], ties: Ties, name: str) -> list[Result]:
    """Top-1 among the positive and the negatives that change one kind of attribute only."""
    parts: dict[str, list[tuple[ScoredItem, list[int]]]] = defaultdict(list)
    for found in items:
        rows: dict[str, list[int]] = defaultdict(list)
        for row, negative in enumerate(found.item.negatives, start=1):
            rows[changed_kind(found.item.positive, negative)].append(row)
        for kind, those in rows.items():
            if kind != "none":
                parts[kind].append((found, [0, *those]))
    return [
        _part(
            f"{name}: {kind}",
            [top1(found.scores[rows], ties) for found, rows in chosen],
            [found for found, _ in chosen],
            [len(rows) for _, rows in chosen],
        )
        for kind, chosen in sorted(parts.items())
    ]


def by_size(items: Sequence[ScoredItem], name: str) -> list[Result]:
    """Top-1 of the items with small, medium and large boxes, where areas are known."""
    parts: dict[str, list[ScoredItem]] = defaultdict(list)
    for found in items:
        if found.item.area > 0:
            parts[box_size(found.item.area)].append(found)
    return [
        _part(
            f"{name}: {size} boxes",
            [found.credit for found in parts[size]],
            parts[size],
            [len(found.scores) for found in parts[size]],
        )
        for size in ("small", "medium", "large")
        if size in parts
    ]


def _part(
    name: str, credit: Sequence[float], items: Sequence[ScoredItem], candidates: Sequence[int]
) -> Result:
    values = np.array(credit)
    low, high = bootstrap_interval(values, [found.item.image_id for found in items])
    return Result(
        benchmark=name,
        metric="top1",
        value=float(values.mean()),
        n=len(values),
        chance=chance_of_top1(candidates),
        low=low,
        high=high,
    )
