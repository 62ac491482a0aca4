"""What is left to do of a stage: the shards that lack, and those that lack rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from datagen.dataset import Dataset, DatasetError
from datagen.dataset.counts import UNKNOWN, Counts
from datagen.runner.worker import ShardTask
from datagen.stage import Stage

PARTIAL = "partial.json"
"""Beside a table's shards: numbers of those of which a limited run made only the first rows."""


@dataclass(frozen=True)
class Plan:
    """The work of a run. Arrays are of shape (shards,) and go with `counts.shards`."""

    counts: Counts
    """What the output has; shards that lack are unknown."""
    quota: np.ndarray
    """Rows of each shard that this run wants; UNKNOWN for all of a shard of unknown size."""
    expected: np.ndarray
    """Rows of each shard in the source; UNKNOWN where the source does not tell."""
    todo: np.ndarray
    """Whether there is something to do, bool."""
    retry_errors: bool

    def tasks(self) -> Iterator[ShardTask]:
        """The work, shard by shard."""
        known = self.counts.known()
        for at in np.flatnonzero(self.todo):
            whole = self.quota[at] in (UNKNOWN, self.expected[at])
            yield ShardTask(
                shard=int(self.counts.shards[at]),
                rows=None if whole else int(self.quota[at]),
                retry_errors=self.retry_errors,
                there=bool(known[at]),
            )

    def rows(self) -> int | None:
        """Rows that the work comes to; None where the source does not tell."""
        quota, there = self.quota[self.todo], self.counts.rows_in[self.todo]
        if (quota == UNKNOWN).any():
            return None
        rows = int(np.maximum(quota - np.maximum(there, 0), 0).sum())
        if self.retry_errors:
            letters = self.counts.dead_letters[self.todo]
            rows += int(letters[letters != UNKNOWN].sum())
        return rows

    def limited(self) -> dict[int, int]:
        """Shards of which this run makes the first rows only, and how many."""
        return {task.shard: task.rows for task in self.tasks() if task.rows is not None}


def make_plan(
    stage: Stage[Any], dataset: Dataset, output: Dataset, limit: int | None, retry_errors: bool
) -> Plan:
    """Compare what the source has with what the output has.

    Args:
        stage: after its `prepare`.
        dataset: the source.
        output: where the rows go.
        limit: only so many of the source's first rows; None for all.
        retry_errors: do shards with dead letters again.

    Raises:
        DatasetError: there is nothing to read, or a shard cannot be read.
    """
    wanted = np.asarray(stage.shards(dataset), np.int64)
    if not len(wanted):
        raise DatasetError(
            f"{dataset.root}/{stage.source} has no shards: run the stage that makes them first."
        )
    counts = Counts.unknown(wanted)
    there = np.intersect1d(wanted, np.asarray(output.shards(stage.output), np.int64))
    counts.take(output.counts(stage.output, there.tolist()))
    expected = np.asarray(stage.expected_rows(dataset, wanted.tolist()), np.int64)
    partial = np.isin(wanted, output.read_json(f"{stage.output}/{PARTIAL}").get("shards", []))
    size = np.where((expected == UNKNOWN) & ~partial, counts.rows_in, expected)
    quota = size if limit is None else _quota(size, limit)
    lacks = (counts.rows_in < quota) | ((quota == UNKNOWN) & (~counts.known() | partial))
    todo = (lacks | (retry_errors & (counts.dead_letters > 0))) & (quota != 0)
    return Plan(counts, quota, expected, todo, retry_errors)


def _quota(size: np.ndarray, limit: int) -> np.ndarray:
    """Spread a limit over shards from the first; one of unknown size may take all that is left."""
    most = np.where(size == UNKNOWN, limit, size)
    return np.clip(limit - (np.cumsum(most) - most), 0, most)
