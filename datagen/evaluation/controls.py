"""How much of a score on negatives text alone explains: classifiers that see no pixels.

Each guesses which phrases are positives. It is trained on the items of other images (5 folds split
by image) and picks, of each held-out item, the candidate that looks most like a positive. Its
`details` hold `pairwise` too: how often a positive beats a single negative, 0.5 by chance.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import spmatrix
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.preprocessing import StandardScaler

from datagen.evaluation.items import EvaluationError, RegionItem
from datagen.evaluation.metrics import Ties, chance_of_top1, top1
from datagen.evaluation.result import Result
from datagen.evaluation.statistics import bootstrap_interval
from datagen.text_embeddings import TextEmbedder

FOLDS = 5
Features: TypeAlias = NDArray[np.floating] | spmatrix
_Featurise = Callable[[list[str], list[str]], tuple[Features, Features]]
"""Features of the texts to learn from and of those to judge."""


def text_only(
    items: Sequence[RegionItem], *, name: str = "region_negatives", ties: Ties = "shared"
) -> Result:
    """Top-1 of a logistic regression on uni- and bigrams.

    Raises:
        EvaluationError: the items are of fewer than two images.
    """

    def ngrams(train: list[str], test: list[str]) -> tuple[Features, Features]:
        counts = CountVectorizer(ngram_range=(1, 2), tokenizer=str.split, token_pattern=None)
        return counts.fit_transform(train), counts.transform(test)

    return _control(items, ngrams, name, "text_only_top1", ties, {"ngrams": "1-2"})


def text_only_embedding(
    items: Sequence[RegionItem],
    embedder: TextEmbedder | None = None,
    *,
    name: str = "region_negatives",
    ties: Ties = "shared",
) -> Result:
    """Top-1 of a logistic regression on sentence embeddings: what words mean, and not which.

    Args:
        embedder: MiniLM by default.

    Raises:
        EvaluationError: the items are of fewer than two images.
        ModelNotFoundError: there is no sentence encoder.
    """
    encoder = embedder or TextEmbedder()
    texts = sorted({text for item in items for text in (item.positive, *item.negatives)})
    vectors = dict(zip(texts, encoder.encode(texts), strict=True))

    def embeddings(train: list[str], test: list[str]) -> tuple[Features, Features]:
        scaler = StandardScaler().fit(np.stack([vectors[text] for text in train]))
        return tuple(  # type: ignore[return-value]
            scaler.transform(np.stack([vectors[text] for text in part])) for part in (train, test)
        )

    return _control(items, embeddings, name, "text_only_embedding_top1", ties, {"C": 0.1}, C=0.1)


def _control(
    items: Sequence[RegionItem],
    featurise: _Featurise,
    name: str,
    metric: str,
    ties: Ties,
    settings: dict[str, str | float],
    **options: float,
) -> Result:
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
    folds = min(FOLDS, len(images))
    for train, test in GroupKFold(folds).split(texts, label, group):
        model = LogisticRegression(max_iter=1000, class_weight="balanced", **options)
        learn, judge = featurise([texts[i] for i in train], [texts[i] for i in test])
        model.fit(learn, label[train])
        # Equal texts must score equal: matrix products may differ in the last bits.
        scores[test] = model.decision_function(judge).round(9)
    credit = [top1(scores[a:b], ties) for a, b in pairwise(starts)]
    wins = [float(np.mean(_wins(scores[a:b]))) for a, b in pairwise(starts) if b - a > 1]
    low, high = bootstrap_interval(np.array(credit), [item.image_id for item in items])
    return Result(
        benchmark=name,
        metric=metric,
        value=float(np.mean(credit)),
        low=low,
        high=high,
        n=len(items),
        chance=chance_of_top1(sizes),
        settings={"ties": ties, "folds": folds, **settings},
        details={"pairwise": float(np.mean(wins)) if wins else 0.5},
    )


def _wins(scores: NDArray[np.floating]) -> NDArray[np.floating]:
    """1, 0.5 or 0 for each negative that the positive, which stands first, beats, equals or not."""
    return (scores[0] > scores[1:]) + 0.5 * (scores[0] == scores[1:])
