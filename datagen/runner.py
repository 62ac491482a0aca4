"""The runner: a fixed pool of Ray actors takes shards, and commits each when its last row is in.

Ray Data runs over shard numbers, not over rows, so picture bytes never pass through Ray's
object store. An actor works on several shards at once with one bound on the rows in flight, so
the tail of a shard never leaves the engine idle. An actor whose engine died ends its process;
Ray starts another, and shards that were not committed are simply done again.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
import time
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import ray
from ray.data import ActorPoolStrategy, DataContext

from datagen.dataset import Dataset, DatasetError, ErrorRow, Table
from datagen.dataset.rows import Row
from datagen.engines.errors import EngineDeadError, ModelNotFoundError, RequestError
from datagen.errors import UserError
from datagen.progress import Progress
from datagen.stage import Item, RowError, Stage

ENGINE_DEAD_EXIT_CODE = 70
COUNT_EVERY_S = 1.0
SUMMARY = "summary.json"
"""Beside a table's shards: the `RunSummary` of the last run that did something."""


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """How a stage is spread over the machine or cluster; changes the speed, never the rows."""

    actors: int = 1
    """Actors, each with an engine of its own."""
    cpus_per_actor: float = 1.0
    gpus_per_actor: float = 0.0
    shards_in_flight: int = 4
    """Shards that an actor works on at once."""
    rows_in_flight: int = 128
    """Rows that an actor keeps in its engine at once."""
    row_timeout_s: float = 600.0
    """A row that takes longer becomes a dead letter."""


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """What a run did. `rows_in` = `rows_ok` + `dead_letters`, of all shards of the table.

    `rows_out` counts rows of the output table, where one row in may make several or none.
    """

    stage: str
    rows_in: int
    rows_ok: int
    rows_out: int
    dead_letters: int
    shards: int
    shards_skipped: int
    seconds: float
    engine_seconds: float

    def line(self) -> str:
        """One line for people."""
        return (
            f"{self.stage}: {self.rows_in:,} rows in = {self.rows_ok:,} done + "
            f"{self.dead_letters:,} dead letters; {self.rows_out:,} rows out in {self.shards} "
            f"shards ({self.shards_skipped} were there already), {self.seconds:.1f} s"
        )


class StageError(UserError):
    """A stage cannot run at all; the message is for the user."""


@ray.remote(num_cpus=0)
class _Counter:
    """Counts rows of all actors and carries their messages; the driver's progress reads it."""

    def __init__(self) -> None:
        self.rows = self.dead_letters = self.ready = 0
        self.messages: list[str] = []

    def add(self, rows: int, dead_letters: int) -> None:
        self.rows += rows
        self.dead_letters += dead_letters

    def engine_ready(self) -> None:
        self.ready += 1

    def say(self, message: str) -> None:
        self.messages.append(message)

    def read(self) -> tuple[int, int, int, list[str]]:
        messages, self.messages = self.messages, []
        return self.rows, self.dead_letters, self.ready, messages


class _ShardWorker:
    """The actor. Ray calls it with one shard number at a time, several calls at once."""

    def __init__(self, stage: Stage[Any], dataset: Dataset, run: RunConfig, counter: Any) -> None:
        self.stage, self.dataset, self.run, self.counter = stage, dataset, run, counter
        self._opened: asyncio.Task[None] | None = None
        self._slots = asyncio.Semaphore(run.rows_in_flight)

    async def __call__(self, batch: dict[str, Any]) -> AsyncIterator[dict[str, list[Any]]]:
        for shard in batch["shard"]:
            problem = ""
            try:
                await self._open()
                await self._do(int(shard))
            except EngineDeadError as error:
                if self._opened_well():
                    message = f"{error} Its actor ends; Ray starts another."
                    ray.get(self.counter.say.remote(message))
                    os._exit(ENGINE_DEAD_EXIT_CODE)
                problem = str(error)  # it never served: trying again would loop for ever
            except (ModelNotFoundError, DatasetError, OSError) as error:
                problem = str(error)
            yield {"shard": [int(shard)], "problem": [problem]}

    async def _open(self) -> None:
        if self._opened is None:
            self._opened = asyncio.create_task(self.stage.open())
            await self._opened
            self.counter.engine_ready.remote()
        await self._opened

    def _opened_well(self) -> bool:
        task = self._opened
        return task is not None and task.done() and task.exception() is None

    async def _do(self, shard: int) -> None:
        results: list[asyncio.Task[list[Row] | ErrorRow]] = []
        for item in self.stage.read(self.dataset, shard):
            await self._slots.acquire()
            results.append(asyncio.create_task(self._row(item)))
        rows: list[Row] = []
        errors: list[ErrorRow] = []
        for result in await asyncio.gather(*results):
            if isinstance(result, ErrorRow):
                errors.append(result)
            else:
                rows += result
        await asyncio.to_thread(
            self.dataset.commit,
            self.stage.output,
            shard,
            rows,
            lineage=self.stage.lineage,
            rows_in=len(results),
            errors=errors,
        )

    async def _row(self, item: Item) -> list[Row] | ErrorRow:
        try:
            rows = await asyncio.wait_for(self.stage.process(item), self.run.row_timeout_s)
            self.counter.add.remote(1, 0)
            return list(rows)
        except EngineDeadError:
            raise
        except TimeoutError:
            message = f"no answer within {self.run.row_timeout_s:.0f} s"
            return self._dead_letter(item, "TimeoutError", message)
        except (RowError, RequestError) as error:
            return self._dead_letter(item, type(error).__name__, str(error))
        except Exception as error:  # a defect met by one row must not stop the others
            return self._dead_letter(item, type(error).__name__, f"unexpected: {error}")
        finally:
            self._slots.release()

    def _dead_letter(self, item: Item, error: str, message: str) -> ErrorRow:
        self.counter.add.remote(1, 1)
        return ErrorRow(id=item.id, stage=self.stage.name, error=error, message=message, attempts=1)


def run_stage(stage: Stage[Any], dataset: Dataset, run: RunConfig) -> RunSummary:
    """Run a stage over every shard of its source that its output lacks.

    Needs a Ray that is initialised, or starts one on this machine.

    Raises:
        DatasetError: the source table is not there, or the output is of another configuration.
        StageError: the stage could not start, for example for want of a model.
    """
    started = time.monotonic()
    try:
        stage.check()
    except ModelNotFoundError as error:
        raise StageError(str(error)) from error
    wanted = dataset.shards(stage.source)
    if not wanted:
        raise DatasetError(
            f"{dataset.root}/{stage.source} has no shards: run the stage that makes them first."
        )
    dataset.claim(stage.output, stage.lineage)
    done = set(dataset.shards(stage.output))
    todo = [shard for shard in wanted if shard not in done]
    engine_seconds = 0.0
    if todo:
        total = sum(_rows(dataset, stage.source, shard) for shard in todo)
        _start_ray()
        counter = _Counter.remote()  # type: ignore[attr-defined]
        with Progress(stage.name, total, "rows") as progress, _watch(counter, progress) as watch:
            problems = _run_shards(stage, dataset, run, todo, counter)
        engine_seconds = watch.engine_seconds()
        if problems:
            raise StageError(problems[0])
    summary = _summary(stage, dataset, wanted, done, time.monotonic() - started, engine_seconds)
    if todo:
        dataset.write_json(f"{stage.output}/{SUMMARY}", asdict(summary))
    return summary


def _start_ray() -> None:
    """Engines talk a lot: what actors print stays in Ray's session folder (`/tmp/ray`)."""
    if not ray.is_initialized():
        os.environ.setdefault("RAY_raylet_start_wait_time_s", "120")  # for busy machines
        ray.init(logging_level=logging.ERROR, log_to_driver=False)
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False


def _run_shards(
    stage: Stage[Any], dataset: Dataset, run: RunConfig, todo: list[int], counter: Any
) -> list[str]:
    shards = ray.data.from_items(
        [{"shard": shard} for shard in todo], override_num_blocks=len(todo)
    )
    pool = ActorPoolStrategy(
        size=min(run.actors, len(todo)), max_tasks_in_flight_per_actor=run.shards_in_flight
    )
    with warnings.catch_warnings():
        # Ray deprecates `max_concurrency` here and names no other way to set it.
        warnings.filterwarnings("ignore", message=".*ray_remote_args.*")
        results = shards.map_batches(
            _ShardWorker,
            fn_constructor_args=(stage, dataset, run, counter),
            batch_size=1,
            compute=pool,
            max_concurrency=run.shards_in_flight,
            num_cpus=run.cpus_per_actor,
            num_gpus=run.gpus_per_actor or None,
        )
    return sorted({row["problem"] for row in results.iter_rows() if row["problem"]})


class _Watch:
    def __init__(self) -> None:
        self.ready_at: float | None = None
        self.ended_at = 0.0

    def engine_seconds(self) -> float:
        """Seconds from the first engine's readiness to the last row."""
        return self.ended_at - self.ready_at if self.ready_at is not None else 0.0


@contextmanager
def _watch(counter: Any, progress: Progress) -> Iterator[_Watch]:
    """Carry the counter's figures to the progress display until the block ends."""
    stop, watch = threading.Event(), _Watch()

    def carry() -> None:
        rows, dead, ready, messages = ray.get(counter.read.remote())
        for message in messages:
            print(f"{progress.stage}: {message}", file=sys.stderr, flush=True)
        if ready and watch.ready_at is None:
            watch.ready_at = time.monotonic()
        progress.advance(
            rows - progress.rows,
            dead - progress.dead_letters,
            note="" if ready else "the engine is starting",
        )

    def loop() -> None:
        while not stop.wait(COUNT_EVERY_S):
            carry()

    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    try:
        yield watch
    finally:
        stop.set()
        thread.join()
        carry()
        watch.ended_at = time.monotonic()


def _rows(dataset: Dataset, table: Table, shard: int) -> int:
    about = dataset.metadata(table, shard)
    return int(about.get("rows", 0))


def _summary(
    stage: Stage[Any],
    dataset: Dataset,
    wanted: list[int],
    done: set[int],
    seconds: float,
    engine_seconds: float,
) -> RunSummary:
    shards = [dataset.metadata(stage.output, shard) for shard in wanted]
    rows_in = sum(int(about["rows_in"]) for about in shards)
    dead = sum(int(about["dead_letters"]) for about in shards)
    return RunSummary(
        stage=stage.name,
        rows_in=rows_in,
        rows_ok=rows_in - dead,
        rows_out=sum(int(about["rows"]) for about in shards),
        dead_letters=dead,
        shards=len(wanted),
        shards_skipped=len(done & set(wanted)),
        seconds=seconds,
        engine_seconds=engine_seconds,
    )
