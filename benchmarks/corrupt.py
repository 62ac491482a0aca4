"""Throughput of the import when a thousandth of the images is corrupt, against none.

The same 4,000 drawn pictures, in one case each thousandth cut off in the middle, are imported in
turn, several rounds; rates are rows over seconds from the first actor's readiness to the last
commit, and the figure is the ratio of the medians.

    python -m benchmarks.corrupt
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from datagen.dataset import Dataset
from datagen.images.stage import ImagesStage, ImportConfig
from datagen.runner import RunConfig, run_stage

ROWS, SIDE, EVERY = 4000, 256, 1000


def pictures(corrupt: bool) -> list[bytes]:
    """Smooth noise as JPEG, each picture another one."""
    dice = np.random.default_rng(0)
    encoded = []
    for number in range(ROWS):
        small = Image.fromarray(dice.integers(0, 255, (16, 16, 3), np.uint8))
        buffer = io.BytesIO()
        small.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
        data = buffer.getvalue()
        encoded.append(data[: len(data) // 2] if corrupt and number % EVERY == 0 else data)
    return encoded


def rate(source: Path, corrupt: bool) -> float:
    """Images a second."""
    with tempfile.TemporaryDirectory() as folder:
        stage = ImagesStage(ImportConfig(images=str(source), shard_rows=250))
        run = RunConfig(shards_in_flight=2, rows_in_flight=32)
        summary = run_stage(stage, Dataset(folder), run)
        assert summary.dead_letters == (ROWS // EVERY if corrupt else 0)
        return summary.rows_in / summary.engine_seconds


def main() -> None:
    """Print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        sources = {}
        for corrupt in (False, True):
            sources[corrupt] = Path(folder, f"{corrupt}.parquet")
            pq.write_table(pa.table({"image": pictures(corrupt)}), sources[corrupt])
        rates: dict[bool, list[float]] = {False: [], True: []}
        for _ in range(rounds):
            for corrupt in rates:
                rates[corrupt].append(rate(sources[corrupt], corrupt))
    clean, dirty = statistics.median(rates[False]), statistics.median(rates[True])
    print(
        json.dumps(
            {
                "throughput_kept": round(dirty / clean, 4),
                "images_per_second": round(dirty, 1),
                "rounds": rounds,
            }
        )
    )


if __name__ == "__main__":
    main()
