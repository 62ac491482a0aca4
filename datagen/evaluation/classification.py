"""Zero-shot classification: pictures or boxes against prompts of all classes, top-1 and top-5.

A class is the mean of its 80 prompts' embeddings. Another class with exactly the score of the right
one stands before it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from datagen.dataset.rows import Box
from datagen.evaluation.encoder import Embeddings, Encoder
from datagen.evaluation.item_rows import ItemRow, nearest_others
from datagen.evaluation.result import Result
from datagen.evaluation.statistics import bootstrap_interval
from datagen.evaluation.templates import TEMPLATES


def class_embeddings(encoder: Encoder, names: Sequence[str], *, long: bool = False) -> Embeddings:
    """(classes, E): of each class the mean over all prompts, with unit length."""
    texts = [template.format(name) for name in names for template in TEMPLATES]
    found = encoder.encode_texts(texts, long=long).reshape(len(names), len(TEMPLATES), -1).mean(1)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def rows_of_classes(
    benchmark: str,
    features: Embeddings,
    classes: Embeddings,
    names: Sequence[str],
    labels: Sequence[int],
    image_ids: Sequence[str],
    boxes: Sequence[Box],
) -> list[ItemRow]:
    """Of each picture or box its class, and the nearest other classes.

    Args:
        benchmark: its name.
        features: (n, E).
        classes, names: (C, E) and their names.
        labels: (n,) the right class of each, 0..C - 1.
        image_ids, boxes: (n,) of each.
    """
    scores = features @ classes.T
    own = np.arange(len(names))[None, :] == np.asarray(labels, dtype=int)[:, None]
    ranks = (scores >= scores[own][:, None]).sum(1) - 1
    others = nearest_others(scores, own)
    rows = []
    for i, (label, image_id, box) in enumerate(zip(labels, image_ids, boxes, strict=True)):
        wrong = others[i][others[i] >= 0]
        rows.append(
            ItemRow(
                benchmark=benchmark,
                task="classes",
                image_id=image_id,
                box=box,
                positive=names[label],
                negatives=[names[j] for j in wrong],
                scores=scores[i, [label, *wrong]].tolist(),
                credit=float(ranks[i] == 0),
                rank=int(ranks[i]),
            )
        )
    return rows


def top_k_results(
    rows: Sequence[ItemRow], classes: int, *, long: bool, **settings: str | int
) -> list[Result]:
    """Top-1 and top-5 of the rows of one benchmark, with intervals over pictures."""
    ranks = np.array([row.rank for row in rows])
    images = [row.image_id for row in rows]
    results = []
    for k in (1, 5):
        hits = (ranks < k).astype(float)
        low, high = bootstrap_interval(hits, images)
        results.append(
            Result(
                benchmark=rows[0].benchmark,
                metric=f"top{k}",
                value=float(hits.mean()),
                low=low,
                high=high,
                n=len(hits),
                chance=min(1.0, k / classes),
                settings={
                    "prompts": len(TEMPLATES),
                    "ties": "wrong",
                    "text_positions": "long" if long else "short",
                    **settings,
                },
            )
        )
    return results
