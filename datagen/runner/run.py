"""The runner: what a stage lacks is handed to a crew of Ray actors, shard by shard.

Work, commit, retry and resume go by shards, and nothing but counts travels through Ray: an actor
reads shard k of the source and commits shard k of the output. The driver holds a lock on the
table, so that a second one waits, and writes `status.json` beside the shards.
"""

from __future__ import annotations

import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from datagen.dataset import Dataset
from datagen.dataset.counts import UNKNOWN
from datagen.dataset.lock import TableLock
from datagen.engines.chat import Usage
from datagen.engines.errors import ModelNotFoundError
from datagen.progress import Progress
from datagen.runner.crew import Crew, CrewConfig, CrewStatus, StageError, start_ray
from datagen.runner.plan import PARTIAL, Plan, make_plan
from datagen.runner.status import RunStatus
from datagen.runner.unique import UniqueValues
from datagen.runner.worker import ShardResult
from datagen.stage import Stage

__all__ = ["RunConfig", "RunSummary", "StageError", "run_stage"]

SUMMARY = "summary.json"
"""Beside a table's shards: the `RunSummary` of the last run that did something."""
LOOK_EVERY_S = 0.25
STATUS_EVERY_S = 5.0
INDEX_EVERY_S = 300.0
RATE_AFTER_ROWS = 100
"""`max_error_rate` is looked at when so many rows are done."""
PROBLEMS_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """How a stage is run over the machine or cluster; changes no row that is made."""

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
    limit: int | None = None
    """Only so many of the source's first rows; a later run without it does the rest."""
    retry_errors: bool = False
    """Do the rows again that are dead letters, and no others."""
    max_error_rate: float = 1.0
    """A run with a larger share of dead letters, 0..1, stops and says the commonest reasons."""
    dry_run: int = 0
    """Run so many rows, show them, estimate the whole, and write nothing to the dataset."""
    price_per_actor_hour: float = 0.0
    """For the estimate of a dry run, in any currency."""
    price_per_million_tokens: float = 0.0
    """For the estimate of a dry run, prompt and output alike, in any currency."""


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """What a run did. `rows_in` = `rows_ok` + `dead_letters`, of all shards of the table.

    `rows_out` counts rows of the output table, where one row in may make several or none.
    `rows_done` are those of `rows_in` that this run worked on.
    """

    stage: str
    rows_in: int
    rows_ok: int
    rows_out: int
    rows_done: int
    dead_letters: int
    shards: int
    shards_skipped: int
    seconds: float
    engine_seconds: float
    restarts: int = 0
    usage: Usage = field(default_factory=Usage)

    def line(self) -> str:
        """One line for people."""
        line = (
            f"{self.stage}: {self.rows_in:,} rows in = {self.rows_ok:,} done + "
            f"{self.dead_letters:,} dead letters; {self.rows_out:,} rows out in {self.shards} "
            f"shards ({self.shards_skipped} were there already), {self.seconds:.1f} s"
        )
        usage = self.usage
        if not usage.requests:
            return line
        return (
            f"{line}; {usage.requests:,} requests with {usage.prompt_tokens:,} tokens of prompts "
            f"({usage.cached_share:.0%} from the prefix cache), {usage.output_tokens:,} written"
        )


def run_stage(
    stage: Stage[Any], dataset: Dataset, run: RunConfig, output: Dataset | None = None
) -> RunSummary:
    """Run a stage over every shard of its source that its output lacks, whole or in part.

    Needs a Ray that is initialised, or starts one on this machine.

    Args:
        stage: what is run.
        dataset: what it reads.
        run: how it is run.
        output: what it writes; the same dataset unless given.

    Raises:
        DatasetError: the source table is not there, or the output is of another configuration.
        StorageError: the output cannot be written.
        StageError: the stage could not start, or had to stop; what is committed stays.
    """
    started = time.monotonic()
    output = output or dataset
    try:
        stage.check()
    except ModelNotFoundError as error:
        raise StageError(str(error)) from error
    stage.check_source(output)
    for table in (*stage.beside, stage.output):
        output.claim(table, stage.lineage)
    with ExitStack() as stack:
        progress = Progress(stage.name, unit="rows")
        lock = stack.enter_context(TableLock(output, stage.output, progress.say))
        stack.enter_context(_sigterm_interrupts())
        for table in (*stage.beside, stage.output):
            output.files.sweep(table)
        stage.prepare(dataset)
        live = _Run(stage, dataset, output, run, progress, lock, started)
        while live.plan.todo.any():
            live.do()
            if run.limit is None or not (live.plan.expected == UNKNOWN).any():
                break
            live.plan_again()  # now it is known how many rows those shards had
        return live.summary()


class _Run:
    """A run of a stage, from plan to summary."""

    def __init__(
        self,
        stage: Stage[Any],
        dataset: Dataset,
        output: Dataset,
        run: RunConfig,
        progress: Progress,
        lock: TableLock,
        started: float,
    ) -> None:
        self._stage, self._dataset, self._output, self._run = stage, dataset, output, run
        self._progress, self._lock, self._started = progress, lock, started
        self._rows = self._dead = self._shards = self._skipped = 0
        self._reasons: Counter[str] = Counter()
        self._engine_seconds = 0.0
        self._last = CrewStatus(
            rows=0, dead_letters=0, reasons=Counter(), usage=Usage(), actors=0, restarts=0
        )
        self._looked = 0.0
        self._written = self._saved = time.monotonic()
        self.plan = self._plan(run.retry_errors)
        self._skipped = int((self.plan.counts.known() & ~self.plan.todo).sum())
        self._total = self.plan.rows()

    def plan_again(self) -> None:
        """Look at what is there now, and at what a limit still asks for."""
        self.plan = self._plan(retry_errors=False)

    def _plan(self, retry_errors: bool) -> Plan:
        return make_plan(self._stage, self._dataset, self._output, self._run.limit, retry_errors)

    def do(self) -> None:
        """Do the plan's work.

        Raises:
            StageError: it had to stop.
        """
        stage, run, plan = self._stage, self._run, self.plan
        self._before(plan)
        start_ray()
        unique = UniqueValues() if stage.unique is not None else None
        if unique is not None and stage.unique is not None:
            there = plan.counts.shards[plan.counts.known()].tolist()
            unique.load(self._output, stage.output, stage.unique, there)
        crew = Crew(
            stage,
            self._dataset,
            self._output,
            CrewConfig(
                actors=run.actors,
                cpus_per_actor=run.cpus_per_actor,
                gpus_per_actor=run.gpus_per_actor,
                shards_in_flight=run.shards_in_flight,
                rows_in_flight=run.rows_in_flight,
                row_timeout_s=run.row_timeout_s,
            ),
            self._progress.say,
            unique.claim if unique is not None else None,
        )
        problems: list[str] = []
        self._progress.total = self._total
        try:
            with self._progress:
                for result in crew.results(plan.tasks(), int(plan.todo.sum())):
                    self._take(result, problems)
                    self._look(crew)
                self._looked = 0.0
                self._look(crew)
                self._last = crew.status().committed()
                self._progress.show(self._rows, self._status("finished").line())
        except BaseException as error:
            self._end("stopped" if isinstance(error, KeyboardInterrupt) else "failed", str(error))
            raise
        finally:
            if unique is not None:
                unique.close()
        if problems:
            more = f" (and {len(problems) - PROBLEMS_SHOWN} more)" * (
                len(problems) > PROBLEMS_SHOWN
            )
            message = (
                f"{len(problems)} of {int(plan.todo.sum())} shards could not be done: "
                f"{'; '.join(problems[:PROBLEMS_SHOWN])}{more}"
            )
            self._end("failed", message)
            raise StageError(message)
        self._after(plan)
        self._end("finished")

    def summary(self) -> RunSummary:
        """Of all shards of the table, and kept beside them where this run did something."""
        counts = self.plan.counts.where(self.plan.counts.known())
        rows_in, dead = int(counts.rows_in.sum()), int(counts.dead_letters.sum())
        summary = RunSummary(
            stage=self._stage.name,
            rows_in=rows_in,
            rows_ok=rows_in - dead,
            rows_out=int(counts.rows.sum()),
            rows_done=self._rows,
            dead_letters=dead,
            shards=len(counts.shards),
            shards_skipped=self._skipped,
            seconds=time.monotonic() - self._started,
            engine_seconds=self._engine_seconds,
            restarts=self._last.restarts,
            usage=self._last.usage,
        )
        if self._shards:
            self._output.write_json(f"{self._stage.output}/{SUMMARY}", asdict(summary))
        return summary

    def _before(self, plan: Plan) -> None:
        """Write down, before anything changes, what a crash would leave in doubt."""
        table = self._stage.output
        self._output.save_counts(table, plan.counts.where(plan.counts.known() & ~plan.todo))
        if limited := plan.limited():
            old = self._output.read_json(f"{table}/{PARTIAL}").get("shards", [])
            self._output.write_json(f"{table}/{PARTIAL}", {"shards": sorted({*old, *limited})})

    def _after(self, plan: Plan) -> None:
        """A shard that had fewer rows than were asked for is whole; without a limit all are."""
        name = f"{self._stage.output}/{PARTIAL}"
        limited = plan.limited()
        whole = {s for s, rows in limited.items() if plan.counts.rows_in[plan.counts.at(s)] < rows}
        shards = set(self._output.read_json(name).get("shards", [])) - whole
        if self._run.limit is None or not shards:
            self._output.files.remove(name)
        else:
            self._output.write_json(name, {"shards": sorted(shards)})

    def _take(self, result: ShardResult | None, problems: list[str]) -> None:
        if result is None:
            return
        if result.problem:
            if result.fatal:
                raise StageError(result.problem)
            problems.append(result.problem)
            return
        self.plan.counts.set(result.shard, result.rows_in, result.rows_out, result.dead_letters)
        self._shards += 1
        self._rows += result.rows_done
        self._dead += sum(result.reasons.values())
        self._reasons.update(result.reasons)

    def _look(self, crew: Crew) -> None:
        """Show where the run is, and see whether it must end."""
        now = time.monotonic()
        if now - self._looked < LOOK_EVERY_S:
            return
        self._looked = now
        self._last = crew.status()
        if crew.ready_at is not None:
            self._engine_seconds = time.monotonic() - crew.ready_at
        status = self._status("running")
        self._progress.show(status.rows, status.line())
        self._lock.check()
        done = status.rows
        same = sum(n for reason, n in status.reasons.items() if reason.startswith("Duplicate:"))
        dead = status.dead_letters - same  # a picture that is there already is no failure
        if done >= RATE_AFTER_ROWS and dead > self._run.max_error_rate * done:
            raise StageError(
                f"{dead:,} of {done:,} rows failed, more than the {self._run.max_error_rate:.1%} "
                f"of max_error_rate. The commonest reasons: {'; '.join(status.top_reasons())}. "
                "What is committed stays; retry_errors does its dead letters again."
            )
        if now - self._written > STATUS_EVERY_S:
            self._written = now
            status.write(self._output, self._stage.output)
        if now - self._saved > INDEX_EVERY_S:
            self._saved = now
            self._output.save_counts(self._stage.output, self.plan.counts)

    def _status(self, state: Any, message: str = "") -> RunStatus:
        last = self._last
        return RunStatus(
            stage=self._stage.name,
            state=state,
            message=message,
            rows=self._rows + last.rows,
            rows_total=self._total,
            dead_letters=self._dead + last.dead_letters,
            reasons=dict((self._reasons + last.reasons).most_common(20)),
            shards=self._shards,
            shards_total=int(self.plan.todo.sum()),
            seconds=round(time.monotonic() - self._started, 3),
            engine_seconds=round(self._engine_seconds, 3),
            actors=last.actors,
            restarts=last.restarts,
            usage=last.usage,
        )

    def _end(self, state: str, message: str = "") -> None:
        self._last = self._last.committed()
        self._output.save_counts(self._stage.output, self.plan.counts)
        self._status(state, message).write(self._output, self._stage.output)


@contextmanager
def _sigterm_interrupts() -> Iterator[None]:
    """A machine that is taken away says so by SIGTERM: end as on Ctrl-C, orderly."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
