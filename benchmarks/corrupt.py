"""Throughput of the import when a thousandth of the images is corrupt, against none.

The same pictures, in one case each thousandth cut off in the middle, are imported in turn,
several rounds, the one or the other first. A rate is rows over seconds from the first actor's
readiness to the last commit. `throughput_kept` is the median of the rounds' ratios of rates,
`cpu_kept` the same of rows over the actor's CPU seconds, which other programs disturb less.

    python -m benchmarks.corrupt
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from datagen.dataset import Dataset
from datagen.images.stage import ImagesStage, ImportConfig
from datagen.runner import RunConfig, run_stage

SIDE, EVERY, DISTINCT = 256, 1000, 500


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Images a second of an import, and a CPU second of its actor."""

    wall: float
    cpu: float


class CountedImport(ImagesStage):
    """Says at its end what CPU time its actor took since its start."""

    def __init__(self, config: ImportConfig, told: Path) -> None:
        super().__init__(config)
        self._told = told

    async def open(self) -> None:
        """See `Stage.open`."""
        await super().open()
        self._began = time.process_time()

    async def close(self) -> None:
        """See `Stage.close`."""
        self._told.write_text(str(time.process_time() - self._began))


def pictures(rows: int, corrupt: bool) -> list[bytes]:
    """Smooth noise as JPEG; no two files are equal."""
    dice = np.random.default_rng(0)
    some = []
    for _ in range(DISTINCT):
        small = Image.fromarray(dice.integers(0, 255, (16, 16, 3), np.uint8))
        buffer = io.BytesIO()
        small.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
        some.append(buffer.getvalue())
    files = []
    for number in range(rows):
        data = some[number % DISTINCT]
        cut = corrupt and number % EVERY == 0
        # What follows a picture's end is not looked at.
        files.append(data[: len(data) // 2] if cut else data + number.to_bytes(4, "big"))
    return files


def measure(source: Path, dead_letters: int) -> Rates:
    """Import a source into a new dataset."""
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder, "cpu.txt")
        stage = CountedImport(ImportConfig(images=str(source)), told)
        run = RunConfig(shards_in_flight=2, rows_in_flight=32)
        summary = run_stage(stage, Dataset(f"{folder}/data"), run)
        assert summary.dead_letters == dead_letters, summary.line()
        return Rates(
            wall=summary.rows_in / summary.engine_seconds,
            cpu=summary.rows_in / float(told.read_text()),
        )


def main() -> None:
    """Print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--rows", type=int, default=12_000)
    options = parser.parse_args()
    rounds: list[dict[bool, Rates]] = []
    with tempfile.TemporaryDirectory() as folder:
        sources = {corrupt: Path(folder, f"{corrupt}.parquet") for corrupt in (False, True)}
        for corrupt, source in sources.items():
            table = pa.table({"image": pictures(options.rows, corrupt)})
            pq.write_table(table, source, row_group_size=512)
        letters = len(range(0, options.rows, EVERY))
        measure(sources[False], 0)  # Ray starts, files get into the page cache
        for number in range(options.rounds):
            order = (False, True) if number % 2 else (True, False)
            done = {bad: measure(sources[bad], letters * bad) for bad in order}
            rounds.append(done)
            print(f"round {number + 1}: clean {done[False]}, corrupt {done[True]}", flush=True)
    print(
        json.dumps(
            {
                "throughput_kept": _median([r[True].wall / r[False].wall for r in rounds]),
                "cpu_kept": _median([r[True].cpu / r[False].cpu for r in rounds]),
                "images_per_second": round(statistics.median(r[True].wall for r in rounds), 1),
                "rounds": options.rounds,
                "rows": options.rows,
            }
        )
    )


def _median(ratios: list[float]) -> float:
    return round(statistics.median(ratios), 4)


if __name__ == "__main__":
    main()
