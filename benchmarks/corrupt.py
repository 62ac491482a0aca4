"""Throughput of the import when a thousandth of the images is corrupt, against none.

Shards of 1,000 pictures are imported one after the other by one actor on one core, so nothing
hides behind anything. Half of each eight hold a picture that is cut off in the middle; all else in
them is equal. What else the machine does changes more slowly than that, and so falls on both kinds
alike. A shard's time goes from its first read to the next shard's, with its commit and its dead
letters.

`throughput_kept` is rows a second of the corrupt shards over rows a second of the clean ones, of
the sums of all seconds; `cpu_kept` the same of the actor's CPU seconds; `…_median` the medians
of the single eights, and `…_error` the standard error of their mean.

    python -m benchmarks.corrupt
"""

from __future__ import annotations

import argparse
import io
import json
import os
import tempfile
import time
from collections.abc import Iterator
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
CORRUPT = np.array([False, True, True, False, True, False, False, True])
"""Kinds of eight shards in a row: what drifts, or comes back every second or fourth, cancels."""


class TimedImport(ImagesStage):
    """Says at its end when it began each shard, in seconds by the clock and of its CPU time."""

    def __init__(self, config: ImportConfig, told: Path) -> None:
        super().__init__(config)
        self._told = told
        self._moments: list[tuple[float, float]] = []

    def read(self, dataset: Dataset, shard: int) -> Iterator[RawImage]:
        """See `Stage.read`."""
        self._moments.append((time.monotonic(), time.process_time()))
        yield from super().read(dataset, shard)

    async def close(self) -> None:
        """See `Stage.close`."""
        self._told.write_text(json.dumps(self._moments))


def write_source(path: Path, eights: int) -> None:
    """Smooth noise as JPEG; no two files are equal. One eight more than `eights`, to warm up on,
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
        for shard in range(8 * (eights + 1) + 1):
            # What follows a picture's end is not looked at.
            files = [
                some[number % DISTINCT] + (shard * SHARD_ROWS + number).to_bytes(4, "big")
                for number in range(SHARD_ROWS)
            ]
            if CORRUPT[shard % 8]:
                cut = files[SHARD_ROWS // 2]
                files[SHARD_ROWS // 2] = cut[: len(cut) // 2] + cut[-4:]
            writer.write_table(pa.table({"image": files}, schema))


def measure(source: Path, eights: int) -> np.ndarray:
    """Import the source into a new dataset.

    Returns:
        (eights, 2, 2) seconds, of the clean and the corrupt shards, by the clock and of CPU time.
    """
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder, "moments.json")
        stage = TimedImport(ImportConfig(images=str(source), shard_rows=SHARD_ROWS), told)
        run = RunConfig(shards_in_flight=1, rows_in_flight=32)
        summary = run_stage(stage, Dataset(f"{folder}/data"), run)
        assert summary.dead_letters == 4 * (eights + 1), summary.line()
        moments = json.loads(told.read_text())
    assert len(moments) == 8 * (eights + 1) + 1, "a shard was begun twice"
    shards = np.diff(moments, axis=0).reshape(-1, 8, 2)[1:]
    return np.stack([shards[:, ~CORRUPT].sum(1), shards[:, CORRUPT].sum(1)], 1)


def main() -> None:
    """Print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--eights", type=int, default=5, help="eights of shards a round")
    options = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    rounds = []
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "images.parquet")
        write_source(source, options.eights)
        for number in range(options.rounds):
            rounds.append(measure(source, options.eights))
            clean, corrupt = rounds[-1].sum(0)
            kept, cpu_kept = clean / corrupt
            print(f"round {number + 1}: kept {kept:.4f}, of CPU {cpu_kept:.4f}", flush=True)
    seconds = np.concatenate(rounds)
    clean, corrupt = seconds.sum(0)
    ratios = seconds[:, 0] / seconds[:, 1]
    figures = {
        "images_per_second": 4 * SHARD_ROWS * len(seconds) / clean[0],
        "eights": len(seconds),
    }
    for column, name in enumerate(("throughput", "cpu")):
        of_eights = ratios[:, column]
        figures[f"{name}_kept"] = clean[column] / corrupt[column]
        figures[f"{name}_kept_median"] = np.median(of_eights)
        figures[f"{name}_kept_error"] = of_eights.std(ddof=1) / len(of_eights) ** 0.5
    print(json.dumps({name: round(float(figure), 4) for name, figure in figures.items()}))


if __name__ == "__main__":
    main()
