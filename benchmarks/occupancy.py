"""How busy the runner keeps an engine of 64 slots whose rows take log-normal times.

4,000 rows in 16 shards run through one actor. A slot is busy while a row sleeps in it. Occupancy
is the share of slots that are busy from the first row's start to the last row's start: while
there is work, an idle slot is the runner's fault; after that it is nobody's. The same rows in
batches of 64, each begun when the one before has ended, give the barrier's occupancy.
`with_tail` is measured to the last row's end.

    python -m benchmarks.occupancy
"""

from __future__ import annotations

import asyncio
import json
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks.stub import StubStage, make_images
from datagen.dataset import CaptionRow, Dataset
from datagen.runner import RunConfig, run_stage
from datagen.stage import Item

ROWS, SHARDS, SLOTS = 4000, 16, 64
MEDIAN_S, SIGMA = 0.5, 0.6
"""Of the log-normal times: most rows take 0.3 to 0.9 s, one in a hundred above 2 s."""


class SlotStage(StubStage):
    """An engine of 64 slots; rows that come when all are taken wait. Writes down who sat when."""

    def __init__(self, log: str) -> None:
        self.log = log
        self._spans: list[tuple[float, float]] = []

    async def open(self) -> None:
        """See `Stage.open`."""
        self._free = asyncio.Semaphore(SLOTS)

    async def process(self, item: Item) -> Sequence[CaptionRow]:
        """Take a slot, sleep, leave."""
        async with self._free:
            start = time.monotonic()
            await asyncio.sleep(_seconds(item.id))
            self._spans.append((start, time.monotonic()))
        return self.rows(item)

    async def close(self) -> None:
        """Write the spans down."""
        np.save(self.log, np.array(self._spans))


def _seconds(id_: str) -> float:
    return random.Random(id_).lognormvariate(np.log(MEDIAN_S), SIGMA)


def occupancy(spans: np.ndarray, slots: int, with_tail: bool) -> float:
    """Share of slot-seconds that are busy; spans is (rows, 2), start and end in seconds."""
    first = spans[:, 0].min()
    last = spans[:, 1].max() if with_tail else spans[:, 0].max()
    busy = np.minimum(spans[:, 1], last) - spans[:, 0]
    return float(busy.sum() / (slots * (last - first)))


def barrier_spans(ids: Iterator[str]) -> np.ndarray:
    """The same rows in batches of 64 with a barrier: computed, not slept."""
    spans, now = [], 0.0
    seconds = [_seconds(name) for name in ids]
    for start in range(0, len(seconds), SLOTS):
        batch = seconds[start : start + SLOTS]
        spans += [(now, now + row) for row in batch]
        now += max(batch)
    return np.array(spans)


def main() -> None:
    """Print one line of JSON."""
    with tempfile.TemporaryDirectory() as folder:
        dataset = make_images(Path(folder, "data"), rows=ROWS, shards=SHARDS)
        log = str(Path(folder, "spans.npy"))
        run = RunConfig(rows_in_flight=2 * SLOTS, shards_in_flight=4)
        summary = run_stage(SlotStage(log), Dataset(dataset.root), run)
        spans = np.load(log)
        assert len(spans) == summary.rows_in == ROWS
        barrier = barrier_spans(f"{n:08d}" for n in range(ROWS))
        figures = {
            "occupancy": round(occupancy(spans, SLOTS, with_tail=False), 4),
            "barrier_occupancy": round(occupancy(barrier, SLOTS, with_tail=False), 4),
            "with_tail": round(occupancy(spans, SLOTS, with_tail=True), 4),
            "barrier_with_tail": round(occupancy(barrier, SLOTS, with_tail=True), 4),
        }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
