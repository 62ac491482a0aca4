"""How much of a score on negatives text alone explains: a linear model that sees no pixels."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline

from datagen.evaluation.items import EvaluationError, RegionItem
from datagen.evaluation.metrics import Ties, chance_of_top1, top1
from datagen.evaluation.result import Result

FOLDS = 5


def text_only(
    items: Sequence[RegionItem], *, name: str = "region_negatives", ties: Ties = "shared"
) -> Result:
    """Top-1 of a logistic regression on uni- and bigrams that guesses which phrases are positives.

    It is trained on the items of other images (5 folds split by image) and picks, of each held-out
    item, the candidate that looks most like a positive.

    Raises:
        EvaluationError: the items are of fewer than two images.
    """
    images = sorted({item.image_id for item in items})
    if len(images) < 2:
        raise EvaluationError("The text-only control needs items of at least two images.")
    texts = [text for item in items for text in (item.positive, *item.negatives)]
    sizes = [1 + len(item.negatives) for item in items]
    starts = np.cumsum([0, *sizes])
    label = np.zeros(len(texts), dtype=int)
    label[starts[:-1]] = 1
    number = {image_id: i for i, image_id in enumerate(images)}
    group = np.repeat([number[item.image_id] for item in items], sizes)
    scores = np.zeros(len(texts))
    for train, test in GroupKFold(min(FOLDS, len(images))).split(texts, label, group):
        model = make_pipeline(
            CountVectorizer(ngram_range=(1, 2), tokenizer=str.split, token_pattern=None),
            LogisticRegression(max_iter=1000, class_weight="balanced"),
        )
        model.fit([texts[i] for i in train], label[train])
        scores[test] = model.decision_function([texts[i] for i in test])
    credit = [top1(scores[a:b], ties) for a, b in pairwise(starts)]
    return Result(
        benchmark=name,
        metric="text_only_top1",
        value=float(np.mean(credit)),
        n=len(items),
        chance=chance_of_top1(sizes),
        settings={"ties": ties, "folds": min(FOLDS, len(images)), "ngrams": "1-2"},
    )
