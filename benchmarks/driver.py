"""What the driver costs at 1.6 million shards: the plan, handing out, counting, and a resume.

The driver, its plan, its index, its status file and Ray's calls are the real ones. The actor is
not: it answers each shard at once and writes nothing. For the resume the output's folder holds
empty files of the shards' names, all but the last thousand, and the index of their rows.

    python -m benchmarks.driver --shards 1600000
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import datagen.runner.crew
from benchmarks.stub import StubStage
from datagen.dataset import Dataset, Table
from datagen.dataset.store import shard_name
from datagen.runner import RunConfig, run_stage
from datagen.runner.plan import make_plan
from datagen.runner.worker import ShardResult, ShardTask, ShardWorker

SHARD_ROWS = 1000
LACKING = 1000


class ManyShards(StubStage):
    """A stage with so many shards that are never read."""

    def __init__(self, count: int) -> None:
        self.count = count

    def shards(self, dataset: Dataset) -> Sequence[int]:
        """See `Stage.shards`."""
        return range(self.count)

    def expected_rows(self, dataset: Dataset, shards: Sequence[int]) -> Sequence[int]:
        """See `Stage.expected_rows`."""
        return [SHARD_ROWS] * len(shards)


class InstantWorker(ShardWorker):
    """An actor that has each shard done at once."""

    async def do(self, task: ShardTask) -> ShardResult:
        """See `ShardWorker.do`."""
        return ShardResult(
            shard=task.shard, rows_in=SHARD_ROWS, rows_out=SHARD_ROWS, rows_done=SHARD_ROWS
        )


def run(folder: Path, count: int) -> dict[str, float]:
    """The first run, from an empty output."""
    datagen.runner.crew.ShardWorker = InstantWorker  # type: ignore[misc]
    before = _cpu_s()
    summary = run_stage(
        ManyShards(count), Dataset(str(folder)), RunConfig(actors=1, shards_in_flight=64)
    )
    assert summary.rows_in == count * SHARD_ROWS
    return {
        "run_s": round(summary.seconds, 1),
        "run_cpu_s": round(_cpu_s() - before, 1),
        "run_peak_mb": _peak_mb(),
    }


def resume(folder: Path, count: int) -> dict[str, float]:
    """The plan of a run that finds all shards but the last thousand."""
    dataset = Dataset(str(folder))
    started = time.monotonic()
    plan = make_plan(ManyShards(count), dataset, dataset, None, False)
    assert sum(1 for _ in plan.tasks()) == LACKING
    return {"resume_plan_s": round(time.monotonic() - started, 1), "resume_peak_mb": _peak_mb()}


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _peak_mb() -> float:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


def main() -> None:
    """Print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shards", type=int, default=1_600_000)
    parser.add_argument("--part", choices=("run", "resume"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        work = {"run": run, "resume": resume}[options.part]
        print(json.dumps(work(options.folder, options.shards)))
        return
    figures: dict[str, float] = {"shards": options.shards}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("run", "resume"):
            if part == "resume":
                for shard in range(options.shards - LACKING):
                    (folder / Table.CAPTIONS / shard_name(shard)).touch()
            command = [sys.executable, "-m", "benchmarks.driver", "--part", part]
            done = subprocess.run(  # noqa: S603  the arguments are our own
                [*command, "--folder", name, "--shards", str(options.shards)],
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            )
            figures |= json.loads(done.stdout.splitlines()[-1])
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
