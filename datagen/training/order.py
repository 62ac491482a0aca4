"""The order of training: which rows of which shards make the batches of an epoch.

Shards are shuffled, segments of rows in a shard are shuffled, and so all rows stand in one order
that is read from beginning to end. That order is cut into lanes of equal length, which are read
side by side; each gives an equal share of every batch, after its rows were shuffled within a
buffer. A rank reads some of the lanes. Data no larger than the buffer is shuffled as a whole. So a
batch is a function of the seed, the epoch and its number alone: not of the number of ranks or
workers, and a run goes on anywhere without reading what came before.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SEGMENT = 256  # rows


@dataclass(frozen=True, slots=True)
class Segment:
    """Consecutive rows of a shard."""

    shard: int
    first: int
    rows: int


class Order:
    """Batches of every epoch.

    Args:
        shards: their numbers.
        rows: number of rows of each.
        batch: rows of a batch, over all ranks; at most the sum of `rows`.
        buffer: rows among which the next is drawn, over all lanes.
        lanes: a divisor of `batch`; 0: its largest divisor up to 16.
        seed: all that the order depends on besides.
    """

    def __init__(
        self,
        shards: Sequence[int],
        rows: Sequence[int],
        *,
        batch: int,
        buffer: int,
        seed: int,
        lanes: int = 0,
    ) -> None:
        self.lanes = lanes or max(n for n in range(1, 17) if batch % n == 0)
        if batch % self.lanes:
            raise ValueError(f"A batch of {batch} cannot be drawn evenly from {lanes} lanes.")
        self.share = batch // self.lanes  # of a batch, from each lane
        self._shards, self._rows = np.asarray(shards), np.asarray(rows, np.int64)
        rows_of_all = int(self._rows.sum())
        self.small = rows_of_all <= buffer
        """Whether all data fits the buffer: then `row_numbers` says what is in a batch."""
        self._lane_rows = rows_of_all // self.lanes
        self._buffer = self.share * math.ceil(max(1, buffer // self.lanes) / self.share)
        self._seed = seed
        self._epochs: dict[int, _Epoch] = {}

    @property
    def batches(self) -> int:
        """Of an epoch. What is left over is another part of the data in each epoch."""
        if self.small:
            return int(self._rows.sum()) // (self.lanes * self.share)
        return self._lane_rows // self.share

    def row_numbers(self, epoch: int, batch: int) -> np.ndarray:
        """The rows of a batch of small data (batch,), counted through all shards as given."""
        size = self.lanes * self.share
        shuffled = self._random(epoch, 2).permutation(int(self._rows.sum()))
        return shuffled[batch * size : (batch + 1) * size]

    def everything(self) -> list[Segment]:
        """All rows, as they are."""
        pairs = zip(self._shards.tolist(), self._rows.tolist(), strict=True)
        return [Segment(shard, 0, rows) for shard, rows in pairs]

    def share_of(self, epoch: int, lane: int, batch: int) -> tuple[int, np.ndarray]:
        """A lane's part of a batch: the number of one of its buffers, and rows of that (share,)."""
        number, within = divmod(batch * self.share, self._buffer)
        start, stop = self._ends(lane, number)
        shuffled = self._random(epoch, 1, lane, number).permutation(stop - start)
        return number, shuffled[within : within + self.share]

    def buffer(self, epoch: int, lane: int, number: int) -> list[Segment]:
        """The rows of a buffer, as segments one after another."""
        return self._epoch(epoch).segments(*self._ends(lane, number))

    def _ends(self, lane: int, number: int) -> tuple[int, int]:
        start = lane * self._lane_rows + number * self._buffer
        return start, min(start + self._buffer, (lane + 1) * self._lane_rows)

    def first_batch(self, buffer: int) -> int:
        """The first batch of an epoch that draws from this buffer, where there are that many."""
        return buffer * self._buffer // self.share

    def _random(self, *parts: int) -> np.random.Generator:
        return np.random.default_rng([self._seed, *parts])

    def _epoch(self, number: int) -> _Epoch:
        if number not in self._epochs:
            self._epochs = {n: e for n, e in self._epochs.items() if n == number - 1}
            random = self._random(number, 0)
            places = random.permutation(len(self._shards))
            self._epochs[number] = _Epoch(self._shards[places], self._rows[places], random)
        return self._epochs[number]


class _Epoch:
    """All rows in the order of one epoch."""

    def __init__(self, shards: np.ndarray, rows: np.ndarray, random: np.random.Generator) -> None:
        self._shards, self._rows = shards, rows
        self._ends = np.cumsum(rows)
        self._seeds = random.integers(2**62, size=len(shards))

    def segments(self, start: int, stop: int) -> list[Segment]:
        """The rows `start` … `stop - 1` of the order."""
        found = []
        for place in range(int(np.searchsorted(self._ends, start, "right")), len(self._shards)):
            at = int(self._ends[place] - self._rows[place])
            if at >= stop:
                break
            for number in self._shuffled(place):
                first = int(number) * SEGMENT
                rows = min(SEGMENT, int(self._rows[place]) - first)
                low, high = max(start, at), min(stop, at + rows)
                if low < high:
                    segment = Segment(int(self._shards[place]), first + low - at, high - low)
                    found.append(segment)
                at += rows
        return found

    def _shuffled(self, place: int) -> np.ndarray:
        random = np.random.default_rng(int(self._seeds[place]))
        return random.permutation(math.ceil(int(self._rows[place]) / SEGMENT))
