"""How sure a score is: items of one picture are not independent, so pictures are what is drawn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SAMPLES = 2000
_AT_ONCE = 4_000_000  # numbers drawn at a time, so that memory stays bounded


def bootstrap_interval(
    values: NDArray[np.floating],
    images: Sequence[str],
    *,
    level: float = 0.95,
    samples: int = SAMPLES,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile interval of the mean of `values` when pictures are drawn with replacement.

    Args:
        values: (n,) one an item.
        images: (n,) the picture of each item.
        level: of confidence, 0..1.
    """
    sums, counts = _by_image(values, images)
    random = np.random.default_rng(seed)
    step = max(1, _AT_ONCE // len(sums))
    means = []
    for start in range(0, samples, step):
        drawn = random.integers(len(sums), size=(min(step, samples - start), len(sums)))
        means.append(sums[drawn].sum(1) / counts[drawn].sum(1))
    low, high = np.quantile(np.concatenate(means), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def paired_test(
    first: NDArray[np.floating],
    second: NDArray[np.floating],
    images: Sequence[str],
    *,
    samples: int = 10_000,
    seed: int = 0,
) -> float:
    """Two-sided p-value that two models with these values of the same items are equally good.

    A permutation test: if they are, the sign of each picture's summed difference is a coin's.

    Args:
        first, second: (n,) one an item.
        images: (n,) the picture of each item.
    """
    differences, _ = _by_image(np.subtract(first, second, dtype=np.float64), images)
    differences = differences[differences != 0]
    if not len(differences):
        return 1.0
    random = np.random.default_rng(seed)
    seen, step = abs(differences.sum()), max(1, _AT_ONCE // len(differences))
    as_large = 0
    for start in range(0, samples, step):
        signs = random.integers(2, size=(min(step, samples - start), len(differences))) * 2 - 1
        as_large += int((abs(signs @ differences) >= seen - 1e-9).sum())
    return (as_large + 1) / (samples + 1)


def _by_image(
    values: NDArray[np.floating], images: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    place = np.unique(np.asarray(images, dtype=object).astype(str), return_inverse=True)[1]
    sums = np.bincount(place, weights=np.asarray(values, np.float64))
    return sums.astype(np.float64), np.bincount(place).astype(np.float64)
