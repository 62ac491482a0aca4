import numpy as np
import pytest

from datagen.evaluation.metrics import chance_of_top1, recall_at, top1


@pytest.mark.parametrize(
    ("scores", "shared", "correct", "wrong"),
    [
        ([3, 1, 2], 1, 1, 1),
        ([1, 3, 2], 0, 0, 0),
        ([3, 3, 1], 0.5, 1, 0),
        ([2, 2, 2, 2], 0.25, 1, 0),
        ([1, 2, 2], 0, 0, 0),
    ],
)
def test_ties_count_as_stated(scores, shared, correct, wrong):
    scores = np.array(scores, dtype=float)
    assert [top1(scores, ties) for ties in ("shared", "correct", "wrong")] == [
        shared,
        correct,
        wrong,
    ]


def test_chance_follows_each_items_own_number_of_candidates():
    assert chance_of_top1([11, 11]) == pytest.approx(1 / 11)
    assert chance_of_top1([2, 4]) == pytest.approx((1 / 2 + 1 / 4) / 2)


def slow_recall(queries, gallery, owner_q, owner_g, k):
    hits = 0
    for query, owner in zip(queries, owner_q, strict=True):
        scores = [
            (float(query @ row), own == owner) for row, own in zip(gallery, owner_g, strict=True)
        ]
        best = max(score for score, own in scores if own)
        hits += sum(score >= best for score, own in scores if not own) < k
    return hits / len(queries)


def test_recall_equals_a_count_over_all_pairs_with_ties_against():
    random = np.random.default_rng(0)
    gallery = random.integers(-2, 3, (30, 2)).astype(np.float32)  # small numbers: many ties
    queries = random.integers(-2, 3, (12, 2)).astype(np.float32)
    owner_q, owner_g = np.arange(12), np.arange(30) % 12
    fast = recall_at(queries, gallery, owner_q, owner_g, (1, 5, 10), tile=5)
    assert fast == {k: slow_recall(queries, gallery, owner_q, owner_g, k) for k in (1, 5, 10)}
