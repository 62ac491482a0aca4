"""What the runner itself costs a row, and whether its memory stays flat.

Rows run through an engine that answers at once, with 1,000, 100,000 and 1,000,000 rows in shards
of 1,000. CPU time is that of the driver and of the actor, user and system; peak memory is each
one's largest resident set. Every size runs in processes of its own.

    python -m benchmarks.scaling
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.stub import StubStage, make_images
from datagen.dataset import Dataset
from datagen.runner import RunConfig, run_stage

SIZES = (1_000, 100_000, 1_000_000)
SHARD_ROWS = 1_000


class CountedStage(StubStage):
    """Says at its end what its actor took."""

    def __init__(self, told: str) -> None:
        self.told = told

    async def close(self) -> None:
        """See `Stage.close`."""
        Path(self.told).write_text(json.dumps(taken()))


def taken() -> dict[str, float]:
    """CPU seconds of this process and its peak memory in MB."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {"cpu_s": usage.ru_utime + usage.ru_stime, "peak_mb": usage.ru_maxrss / 1024}


def measure(folder: Path, rows: int) -> dict[str, float]:
    """One size, in this process and its actor; what both took before the rows is not counted."""
    told = folder / "actor.json"
    run = RunConfig(rows_in_flight=256, shards_in_flight=4)
    before = taken()["cpu_s"]
    summary = run_stage(CountedStage(str(told)), Dataset(str(folder)), run)
    assert summary.rows_in == summary.rows_out == rows
    driver, actor = taken(), json.loads(told.read_text())
    return {
        "driver_cpu_s": round(driver["cpu_s"] - before, 2),
        "actor_cpu_s": round(actor["cpu_s"], 2),
        "driver_peak_mb": round(driver["peak_mb"], 1),
        "actor_peak_mb": round(actor["peak_mb"], 1),
        "rows_per_second": round(rows / summary.engine_seconds, 1),
    }


def main() -> None:
    """Print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one, options.sizes[0])))
        return
    figures = {}
    for rows in options.sizes:
        with tempfile.TemporaryDirectory() as folder:
            make_images(Path(folder), rows, max(rows // SHARD_ROWS, 1))
            command = [sys.executable, "-m", "benchmarks.scaling", "--one", folder]
            done = subprocess.run(  # noqa: S603  the arguments are our own
                [*command, "--sizes", str(rows)], stdout=subprocess.PIPE, text=True, check=True
            )
            figures[rows] = json.loads(done.stdout.splitlines()[-1])
            print(rows, figures[rows], file=sys.stderr, flush=True)
    first, *_, last = figures
    middle = list(figures)[-2]
    cpu = {rows: f["driver_cpu_s"] + f["actor_cpu_s"] for rows, f in figures.items()}
    print(
        json.dumps(
            {
                # The start of Ray, of Python and of its packages is the same at any size.
                "cpu_ms_per_row": round(1000 * (cpu[last] - cpu[first]) / (last - first), 3),
                "memory_ratio_driver": round(
                    figures[last]["driver_peak_mb"] / figures[middle]["driver_peak_mb"], 3
                ),
                "memory_ratio_actor": round(
                    figures[last]["actor_peak_mb"] / figures[middle]["actor_peak_mb"], 3
                ),
                "sizes": figures,
            }
        )
    )


if __name__ == "__main__":
    main()
