"""Throughput of the import when a thousandth of the images is corrupt, against none.

Shards of 1,000 pictures are imported one after the other by one actor on one core, so nothing
hides behind anything. Of each four, the second and third hold a picture that is cut off in the
middle; all else in them is equal. What else the machine does changes more slowly than that, and
so falls on both kinds alike. A shard's time goes from its first read to the next shard's, with
its commit and its dead letters.

`throughput_kept` is rows a second of the corrupt shards over rows a second of the clean ones, of
the sums of all seconds; `cpu_kept` the same of the actor's CPU seconds; `…_median` the medians
of the single fours, and `…_error` the standard error of their mean.

    python -m benchmarks.corrupt
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from datagen.dataset import Dataset
from datagen.images.sources.base import RawImage
from datagen.images.stage import ImagesStage, ImportConfig
from datagen.runner import RunConfig, run_stage

SIDE, SHARD_ROWS, DISTINCT = 256, 1000, 500
CORRUPT = (False, True, True, False)
"""Kinds of four shards in a row."""


@dataclass(frozen=True, kw_only=True)
class Moment:
    """Wall-clock and CPU seconds of an actor when it begins a shard."""

    wall: float
    cpu: float


@dataclass(frozen=True, kw_only=True)
class Four:
    """Seconds of the two clean and of the two corrupt shards of a four."""

    clean: Moment
    corrupt: Moment


class TimedImport(ImagesStage):
    """Says at its end when it began each shard."""

    def __init__(self, config: ImportConfig, told: Path) -> None:
        super().__init__(config)
        self._told = told
        self._moments: list[Moment] = []

    def read(self, dataset: Dataset, shard: int) -> Iterator[RawImage]:
        """See `Stage.read`."""
        self._moments.append(Moment(wall=time.monotonic(), cpu=time.process_time()))
        yield from super().read(dataset, shard)

    async def close(self) -> None:
        """See `Stage.close`."""
        self._told.write_text(json.dumps([asdict(moment) for moment in self._moments]))


def write_source(path: Path, fours: int) -> None:
    """Smooth noise as JPEG; no two files are equal. One four more than `fours`, to warm up on,
    and one shard more at the end."""
    dice = np.random.default_rng(0)
    some = []
    for _ in range(DISTINCT):
        small = Image.fromarray(dice.integers(0, 255, (16, 16, 3), np.uint8))
        buffer = io.BytesIO()
        small.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
        some.append(buffer.getvalue())
    schema = pa.schema({"image": pa.binary()})
    with pq.ParquetWriter(path, schema) as writer:
        for shard in range(4 * (fours + 1) + 1):
            # What follows a picture's end is not looked at.
            files = [
                some[number % DISTINCT] + (shard * SHARD_ROWS + number).to_bytes(4, "big")
                for number in range(SHARD_ROWS)
            ]
            if CORRUPT[shard % 4]:
                cut = files[SHARD_ROWS // 2]
                files[SHARD_ROWS // 2] = cut[: len(cut) // 2] + cut[-4:]
            writer.write_table(pa.table({"image": files}, schema))


def measure(source: Path, fours: int) -> list[Four]:
    """Import the source into a new dataset."""
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder, "moments.json")
        stage = TimedImport(ImportConfig(images=str(source), shard_rows=SHARD_ROWS), told)
        run = RunConfig(shards_in_flight=1, rows_in_flight=32)
        summary = run_stage(stage, Dataset(f"{folder}/data"), run)
        assert summary.dead_letters == 2 * (fours + 1), summary.line()
        moments = [Moment(**moment) for moment in json.loads(told.read_text())]
    assert len(moments) == 4 * (fours + 1) + 1, "a shard was begun twice"
    spent = [
        Moment(wall=after.wall - before.wall, cpu=after.cpu - before.cpu)
        for before, after in pairwise(moments)
    ]
    return [
        Four(clean=_sum(spent[n], spent[n + 3]), corrupt=_sum(spent[n + 1], spent[n + 2]))
        for n in range(4, len(spent), 4)
    ]


def main() -> None:
    """Print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--fours", type=int, default=10, help="fours of shards a round")
    options = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    fours: list[Four] = []
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "images.parquet")
        write_source(source, options.fours)
        for number in range(options.rounds):
            done = measure(source, options.fours)
            fours += done
            kept = _kept([f.clean.wall for f in done], [f.corrupt.wall for f in done])
            print(f"round {number + 1}: {kept}", flush=True)
    seconds = sum(four.clean.wall for four in fours)
    figures = {
        "images_per_second": round(2 * SHARD_ROWS * len(fours) / seconds, 1),
        "fours": len(fours),
    }
    for name, unit in (("throughput", "wall"), ("cpu", "cpu")):
        clean = [getattr(four.clean, unit) for four in fours]
        corrupt = [getattr(four.corrupt, unit) for four in fours]
        ratios = [c / b for c, b in zip(clean, corrupt, strict=True)]
        figures[f"{name}_kept"] = _kept(clean, corrupt)
        figures[f"{name}_kept_median"] = round(statistics.median(ratios), 4)
        error = statistics.stdev(ratios) / len(ratios) ** 0.5
        figures[f"{name}_kept_error"] = round(error, 4)
    print(json.dumps(figures))


def _kept(clean: Sequence[float], corrupt: Sequence[float]) -> float:
    return round(sum(clean) / sum(corrupt), 4)


def _sum(one: Moment, other: Moment) -> Moment:
    return Moment(wall=one.wall + other.wall, cpu=one.cpu + other.cpu)


if __name__ == "__main__":
    main()
