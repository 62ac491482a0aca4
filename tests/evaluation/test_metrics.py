import numpy as np
import pytest

from datagen.evaluation.metrics import chance_of_top1, top1


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
