"""Kills parts of a run at random, again and again, and then counts whether anything was lost.

A Ray cluster of two nodes runs on this machine. A driver runs a stage on it whose rows take a
while; what is killed with SIGKILL is the driver, an actor, any of Ray's worker processes, or the
whole second node, which is then replaced. At the end the run is let finish, and the output must
hold every row once: rows in = rows out + dead letters.

    python -m tests.runner.chaos --kills 50
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import ray
from ray.cluster_utils import Cluster

from datagen.dataset import CaptionRow, Dataset, ImageRow, Table
from datagen.dataset.lineage import Lineage
from datagen.runner import RunConfig, run_stage
from datagen.stage import Item, RowError, Stage
from tests.runner.echo_stage import echoed

ROOT = Path(__file__).parents[2]
ROWS_A_SHARD = 20
BAD_EVERY = 37
"""Each so-manieth row is one that no engine can do."""
RUN = RunConfig(actors=2, cpus_per_actor=1, shards_in_flight=4, rows_in_flight=32)
BETWEEN_KILLS_S = (1.0, 8.0)
KINDS = ("driver", "actor", "worker", "node")


class Sleepy(Stage[Item]):
    """Captions after a while. It logs each shard that it begins."""

    name = "captions"
    source = Table.IMAGES
    output = Table.CAPTIONS
    key = "image_id"

    def __init__(self, log: Path, row_s: float) -> None:
        self.log, self.row_s = log, row_s

    @property
    def lineage(self) -> Lineage:
        return Lineage(stage=self.name, settings={"model": "sleepy"})

    def read(self, dataset: Dataset, shard: int) -> Iterator[Item]:
        done = shard in dataset.shards(Table.CAPTIONS)
        with self.log.open("a") as log:
            log.write(f"{shard} {'done' if done else 'open'}\n")
        for batch in dataset.read(Table.IMAGES, shard, ["image_id"]):
            for name in batch["image_id"].to_pylist():
                yield Item(name)

    async def process(self, item: Item) -> list[CaptionRow]:
        await asyncio.sleep(self.row_s * random.uniform(0.5, 1.5))
        if int(item.id) % BAD_EVERY == 0:
            raise RowError("a bad row")
        return [echoed(item.id)]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What is left after a run with kills. `redone` shards were begun more than once."""

    kills: dict[str, int]
    seconds: float
    rows_in: int
    rows_out: int
    dead_letters: int
    shards: int
    redone: int
    redone_at_most: int
    """Shards that can have been in flight at the kills."""
    begun_after_commit: int
    faults: list[str]


def make_images(root: Path, shards: int) -> Dataset:
    """A dataset whose images are not looked at; `image_id` counts from 0."""
    dataset = Dataset(str(root))
    lineage = Lineage(stage="images", settings={})
    for shard in range(shards):
        first = shard * ROWS_A_SHARD
        rows = [
            ImageRow(
                image_id=f"{first + n:08d}",
                uri=f"u{first + n}",
                bytes=b"",
                width=1,
                height=1,
                format="PNG",
                phash="0",
            )
            for n in range(ROWS_A_SHARD)
        ]
        dataset.commit(Table.IMAGES, shard, rows, lineage=lineage, rows_in=len(rows))
    return dataset


class TwoNodes:
    """The cluster, and what of it can be killed."""

    def __init__(self) -> None:
        # A folder of its own, else any ray.init() on this machine would join this cluster.
        self._before = os.environ.get("RAY_TMPDIR")
        os.environ["RAY_TMPDIR"] = tempfile.mkdtemp(prefix="cr-")  # short: sockets lie in it
        os.environ.setdefault("RAY_raylet_start_wait_time_s", "120")  # for busy machines
        arguments = {"num_cpus": 1, "include_dashboard": False}
        self.cluster = Cluster(initialize_head=True, head_node_args=arguments)
        self.second = self.cluster.add_node(num_cpus=1)

    def processes(self, prefix: str) -> list[psutil.Process]:
        """Ray's workers of this cluster whose title begins so; a node's agents are no workers."""
        mine = []
        for raylet in self._raylets():
            for child in raylet.children(recursive=True):
                try:
                    title = (child.cmdline() or [""])[0]
                    if title.startswith(prefix) and not title.endswith("Agent"):
                        mine.append(child)
                except psutil.Error:
                    continue
        return mine

    def kill_node(self) -> None:
        """The second node with all that runs on it; another one takes its place."""
        raylet = psutil.Process(self.second.all_processes["raylet"][0].process.pid)
        for process in [*raylet.children(recursive=True), raylet]:
            try:
                process.kill()
            except psutil.Error:
                continue
        self.cluster.remove_node(self.second, allow_graceful=False)
        self.second = self.cluster.add_node(num_cpus=1, wait=False)

    def close(self) -> None:
        self.cluster.shutdown()
        shutil.rmtree(os.environ.pop("RAY_TMPDIR"), ignore_errors=True)
        if self._before is not None:
            os.environ["RAY_TMPDIR"] = self._before

    def _raylets(self) -> Iterator[psutil.Process]:
        for node in (self.cluster.head_node, self.second):
            try:
                yield psutil.Process(node.all_processes["raylet"][0].process.pid)
            except (psutil.Error, KeyError):
                continue


def start_driver(address: str, data: Path, log: Path, row_s: float) -> subprocess.Popen[bytes]:
    """A driver in a process of its own, as `ray job submit` would start it."""
    command = [sys.executable, "-m", "tests.runner.chaos", "--drive", address]
    options = ["--data", str(data), "--log", str(log), "--row-s", str(row_s)]
    out = (log.parent / "drivers.log").open("ab")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen([*command, *options], cwd=ROOT, env=environment, stdout=out, stderr=out)


def drive(address: str, data: Path, log: Path, row_s: float) -> None:
    """What a driver does."""
    ray.init(
        address=address,
        log_to_driver=False,
        runtime_env={"env_vars": {"PYTHONPATH": str(ROOT)}},
    )
    print(run_stage(Sleepy(log, row_s), Dataset(str(data)), RUN).line(), flush=True)


def chaos(
    folder: Path,
    kills: int,
    shards: int,
    row_s: float,
    seed: int,
    between_s: tuple[float, float] = BETWEEN_KILLS_S,
    each_once: bool = False,
) -> Outcome:
    """Kill and resume, then look.

    Args:
        folder: empty; data and logs go there.
        kills: how many.
        shards: of `ROWS_A_SHARD` rows each; enough that the run outlasts the kills.
        row_s: mean seconds of a row.
        seed: of the dice.
        between_s: least and longest time between two kills, in seconds.
        each_once: kill one of each kind, in turn, instead of any.
    """
    dice = random.Random(seed)
    turn = list(KINDS)
    dataset, log = make_images(folder / "data", shards), folder / "begun.log"
    log.touch()
    killed: Counter[str] = Counter()
    at_most = 0
    in_flight = {
        "driver": RUN.actors * RUN.shards_in_flight,
        "node": RUN.actors * RUN.shards_in_flight,
        "actor": RUN.shards_in_flight,
        "worker": RUN.shards_in_flight,
    }
    started = time.monotonic()
    nodes = TwoNodes()
    address = nodes.cluster.address
    driver = start_driver(address, folder / "data", log, row_s)
    try:
        while sum(killed.values()) < kills:
            time.sleep(dice.uniform(*between_s))
            if driver.poll() == 0:
                break  # all is done: the kills that lack are reported as a fault
            if driver.poll() is not None:  # it gave up, as after a node's death it may not
                raise RuntimeError(f"the driver ended with {driver.returncode}")
            kind = turn[sum(killed.values())] if each_once else dice.choice(KINDS)
            if kind == "driver":
                driver.kill()
                driver.wait()
                driver = start_driver(address, folder / "data", log, row_s)
            elif kind == "node":
                nodes.kill_node()
            else:
                prefix = "ray::ShardWorker" if kind == "actor" else "ray::"
                if not (found := nodes.processes(prefix)):
                    continue
                os.kill(dice.choice(found).pid, signal.SIGKILL)
            killed[kind] += 1
            at_most += in_flight[kind]
        code = driver.wait(timeout=600)
    finally:
        if driver.poll() is None:
            driver.kill()
        nodes.close()
    begun = [line.split() for line in log.read_text().splitlines()]
    outcome = look(dataset, begun, killed, at_most, time.monotonic() - started)
    if code != 0:
        outcome.faults.append(f"the last driver ended with {code}")
    if sum(killed.values()) < kills:
        outcome.faults.append(f"only {sum(killed.values())} kills before all was done")
    return outcome


def look(
    dataset: Dataset, begun: list[list[str]], killed: Counter[str], at_most: int, seconds: float
) -> Outcome:
    """Count rows and dead letters against the images."""
    shards = dataset.shards(Table.IMAGES)
    wanted = {f"{n:08d}" for n in range(len(shards) * ROWS_A_SHARD)}
    bad = {name for name in wanted if int(name) % BAD_EVERY == 0}
    done = dataset.shards(Table.CAPTIONS)
    rows = [row.image_id for shard in done for row in dataset.read_rows(Table.CAPTIONS, shard)]
    letters = [letter.id for shard in done for letter in dataset.errors("captions", shard)]
    again = sum(count - 1 for count in Counter(shard for shard, _ in begun).values())
    late = sum(state == "done" for _, state in begun)
    faults = []
    if len(rows) != len(set(rows)):
        faults.append(f"{len(rows) - len(set(rows))} rows are there twice")
    if set(rows) != wanted - bad:
        faults.append(f"{len(wanted - bad - set(rows))} rows are lost")
    if Counter(letters) != Counter(bad):
        faults.append(f"{len(letters)} dead letters instead of {len(bad)}")
    if again > at_most:
        faults.append(f"{again} shards were done again, at most {at_most} were in flight")
    return Outcome(
        kills=dict(killed),
        seconds=round(seconds, 1),
        rows_in=len(wanted),
        rows_out=len(rows),
        dead_letters=len(letters),
        shards=len(shards),
        redone=again,
        redone_at_most=at_most,
        begun_after_commit=late,
        faults=faults,
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--shards", type=int, default=2000)
    parser.add_argument("--row-s", type=float, default=0.3, help="mean seconds of a row")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--drive", help=argparse.SUPPRESS)
    parser.add_argument("--data", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--log", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.drive:
        drive(options.drive, options.data, options.log, options.row_s)
        return
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        outcome = chaos(Path(folder), options.kills, options.shards, options.row_s, options.seed)
        if outcome.faults:
            print((Path(folder) / "drivers.log").read_text()[-5000:], file=sys.stderr)
    print(json.dumps(outcome.__dict__))
    sys.exit(bool(outcome.faults))


if __name__ == "__main__":
    main()
