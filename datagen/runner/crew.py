"""The crew: a fixed number of Ray actors that are handed shards, and replaced when they die.

The driver keeps no row and no picture, only which actor has which shards. An actor that dies
(its engine died, its machine went away, it was killed) loses nothing: its shards go back to the
front of the queue and another actor starts in its place.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError

from datagen.dataset import Dataset
from datagen.engines.chat import Usage
from datagen.errors import UserError
from datagen.runner.worker import ShardResult, ShardTask, ShardWorker, WorkerCounts
from datagen.stage import Stage

POLL_EVERY_S = 1.0
CLOSE_WITHIN_S = 10.0
OPEN_TRIES = 3
"""So often an engine may fail to start before its seat is given up."""
BACK_OFF_S = 2.0
"""Wait before a second try to start an engine, in seconds; doubled each time."""
DEATH_BACK_OFF_S = 0.05
"""Wait before an actor starts in a dead one's place; doubled with each that finishes no shard."""
CAREFUL_AFTER_DEATHS = 3
"""A shard that was in the hands of so many dying actors is done alone, row by row."""
DEATHS_WITHOUT_PROGRESS = 20
SHARD_TRIES = 3
"""So often a shard is tried whose input or output cannot be reached."""
NO_ROOM_AFTER_S = 120.0


class StageError(UserError):
    """A stage cannot run, or cannot go on; the message is for the user."""


@dataclass(frozen=True, kw_only=True)
class CrewConfig:
    """Size of the crew and what its members get."""

    actors: int
    cpus_per_actor: float
    gpus_per_actor: float
    shards_in_flight: int
    rows_in_flight: int
    row_timeout_s: float


@dataclass(frozen=True, kw_only=True)
class CrewStatus:
    """Where the crew is. Rows and dead letters are of shards that are not committed yet."""

    rows: int
    dead_letters: int
    reasons: Counter[str]
    usage: Usage
    actors: int
    restarts: int

    def committed(self) -> CrewStatus:
        """The same when nothing is in flight any more."""
        return replace(self, rows=0, dead_letters=0, reasons=Counter())


@dataclass(eq=False)
class _Seat:
    """A place of the crew and the actor that has it."""

    actor: Any = None
    opening: Any = None
    """Reference to the call of `open`; None when it has been answered."""
    failures: int = 0
    """Actors of this seat, one after the other, that did not open."""
    start_at: float = 0.0
    tasks: dict[Any, ShardTask] = field(default_factory=dict)
    poll: Any = None
    counts: WorkerCounts = field(
        default_factory=lambda: WorkerCounts(rows=0, dead_letters=0, reasons={}, usage=Usage())
    )
    given_up: bool = False

    @property
    def ready(self) -> bool:
        return self.actor is not None and self.opening is None

    def takes(self, task: ShardTask, limit: int) -> bool:
        """A careful task is alone with its actor."""
        if not self.ready or any(other.careful for other in self.tasks.values()):
            return False
        return not self.tasks if task.careful else len(self.tasks) < limit


class Crew:
    """Runs shard tasks on actors; iterate `results` to drive it.

    Args:
        stage: what the actors open.
        dataset: where they read.
        output: where they write.
        config: how many there are.
        say: is told in a sentence what people should know.
        refuse: for a stage with unique values: the places of a shard's values that other shards
            have already.
    """

    def __init__(
        self,
        stage: Stage[Any],
        dataset: Dataset,
        output: Dataset,
        config: CrewConfig,
        say: Callable[[str], None],
        refuse: Callable[[int, tuple[str, ...]], list[int]] | None = None,
    ) -> None:
        self._config, self._say, self._refuse = config, say, refuse
        self._make = lambda: (
            ray.remote(ShardWorker)
            .options(
                num_cpus=config.cpus_per_actor,
                num_gpus=config.gpus_per_actor or None,
                max_concurrency=config.shards_in_flight + 4,
                max_restarts=0,
                scheduling_strategy="SPREAD",
            )
            .remote(stage, dataset, output, config.rows_in_flight, config.row_timeout_s)
        )
        self._seats: list[_Seat] = []
        self._queue: deque[ShardTask] = deque()
        self._coming: Iterator[ShardTask] = iter(())
        self._deaths: Counter[int] = Counter()
        self._tries: Counter[int] = Counter()
        self._in_a_row = 0
        self._restarts = 0
        self._usage_of_the_dead = Usage()
        self._polled = 0.0
        self._idle_since = time.monotonic()
        self.ready_at: float | None = None
        """When the first engine was ready, by the monotonic clock."""

    def results(self, tasks: Iterable[ShardTask], count: int) -> Iterator[ShardResult | None]:
        """Do the tasks; yields what came of each, and None now and then while nothing comes.

        Args:
            tasks: taken as they are needed.
            count: how many there are.

        Raises:
            StageError: no engine could be started, or actors die without end.
        """
        self._coming = iter(tasks)
        self._seats = [_Seat() for _ in range(min(self._config.actors, count))]
        try:
            while True:
                if not self._more() and not any(seat.tasks for seat in self._seats):
                    return
                self._start_actors()
                self._hand_out()
                waiting = [
                    ref for seat in self._seats for ref in (*seat.tasks, seat.opening) if ref
                ]
                self._check_room()
                ready = _ready(waiting)
                for seat in self._seats:
                    if seat.opening in ready:
                        self._opened(seat)
                    for ref in [ref for ref in seat.tasks if ref in ready]:
                        # A death takes all tasks of the seat; the others are gone then.
                        if ref in seat.tasks and (result := self._answered(seat, ref)):
                            yield result
                self._poll()
                yield None
        finally:
            self._close()

    def status(self) -> CrewStatus:
        """Sum over the actors, as they last told."""
        counts = [seat.counts for seat in self._seats]
        reasons: Counter[str] = Counter()
        usage = self._usage_of_the_dead
        for one in counts:
            reasons.update(one.reasons)
            usage = usage.plus(one.usage)
        return CrewStatus(
            rows=sum(one.rows for one in counts),
            dead_letters=sum(one.dead_letters for one in counts),
            reasons=reasons,
            usage=usage,
            actors=sum(seat.ready for seat in self._seats),
            restarts=self._restarts,
        )

    def _more(self) -> bool:
        if not self._queue and (task := next(self._coming, None)):
            self._queue.append(task)
        return bool(self._queue)

    def _start_actors(self) -> None:
        for seat in self._seats:
            wanted = seat.actor is None and not seat.given_up and self._more()
            if wanted and time.monotonic() >= seat.start_at:
                seat.actor = self._make()
                seat.opening = seat.actor.open.remote()

    def _hand_out(self) -> None:
        for seat in self._seats:
            while self._more() and seat.takes(self._queue[0], self._config.shards_in_flight):
                task = self._queue.popleft()
                seat.tasks[seat.actor.do.remote(task)] = task

    def _opened(self, seat: _Seat) -> None:
        try:
            result: ShardResult = ray.get(seat.opening)
        except RayError as error:  # killed, or its machine went away: not the engine's fault
            self._died(seat, _reason(error))
            return
        seat.opening = None
        if result.fatal:
            raise StageError(result.problem)
        if not result.problem:
            seat.failures = 0
            self.ready_at = self.ready_at or time.monotonic()
            return
        seat.failures += 1
        self._leave(seat)
        if seat.failures < OPEN_TRIES:
            seat.start_at = time.monotonic() + BACK_OFF_S * 2 ** (seat.failures - 1)
            self._say(f"an engine did not start ({result.problem}); trying again")
            return
        seat.given_up = True
        if all(other.given_up for other in self._seats):
            raise StageError(
                f"No engine could be started, after {OPEN_TRIES} tries. {result.problem}"
            )
        self._say(f"an engine did not start {OPEN_TRIES} times; going on with fewer")

    def _answered(self, seat: _Seat, ref: Any) -> ShardResult | None:
        task = seat.tasks[ref]
        try:
            result: ShardResult = ray.get(ref)
        except RayActorError as error:
            self._died(seat, _reason(error))
            return None
        except RayError as error:
            result = ShardResult(shard=task.shard, problem=_reason(error))
        if result.engine_dead:
            self._died(seat, result.problem)
            return None
        del seat.tasks[ref]
        if result.unique is not None and self._refuse is not None:
            refused = self._refuse(task.shard, result.unique)
            seat.tasks[seat.actor.commit.remote(task.shard, refused)] = task
            return None
        if not result.problem:
            self._in_a_row = 0
            seat.counts = seat.counts.without(result)
            return result
        self._tries[task.shard] += 1
        if not result.fatal and self._tries[task.shard] < SHARD_TRIES:
            self._queue.append(task)
            return None
        return result

    def _died(self, seat: _Seat, why: str) -> None:
        self._restarts += 1
        self._in_a_row += 1
        for task in seat.tasks.values():
            self._deaths[task.shard] += 1
        careful = [t for t in seat.tasks.values() if self._deaths[t.shard] >= CAREFUL_AFTER_DEATHS]
        self._queue.extendleft(
            replace(task, careful=task in careful)
            for task in sorted(seat.tasks.values(), key=lambda task: -task.shard)
        )
        self._usage_of_the_dead = self._usage_of_the_dead.plus(seat.counts.usage)
        self._leave(seat)
        seat.start_at = time.monotonic() + min(DEATH_BACK_OFF_S * 2**self._in_a_row, 20.0)
        shards = f"; shard {careful[0].shard} goes on row by row" if careful else ""
        self._say(f"an actor ended ({why}); another starts in its place{shards}")
        if self._in_a_row > DEATHS_WITHOUT_PROGRESS * len(self._seats):
            raise StageError(
                f"{self._in_a_row} actors died one after the other and none finished a shard. "
                f"The last one: {why}"
            )

    def _leave(self, seat: _Seat) -> None:
        if seat.actor is not None:
            ray.kill(seat.actor)
        seat.actor = seat.opening = seat.poll = None
        seat.tasks = {}
        seat.counts = WorkerCounts(rows=0, dead_letters=0, reasons={}, usage=Usage())

    def _poll(self) -> None:
        for seat in self._seats:
            if seat.poll is not None and _ready([seat.poll], 0.0):
                with suppress(RayError):  # its death is met with its tasks
                    seat.counts = ray.get(seat.poll)
                seat.poll = None
        if time.monotonic() - self._polled < POLL_EVERY_S:
            return
        self._polled = time.monotonic()
        for seat in self._seats:
            if seat.ready and seat.poll is None:
                seat.poll = seat.actor.counts.remote()

    def _check_room(self) -> None:
        """Actors that wait for a machine wait for ever where none will come: say so."""
        now = time.monotonic()
        if any(seat.ready for seat in self._seats):
            self._idle_since = now
        if now - self._idle_since < NO_ROOM_AFTER_S:
            return
        self._idle_since = now
        have = ray.cluster_resources()
        self._say(
            f"no actor could be started for {NO_ROOM_AFTER_S:.0f} s: each wants "
            f"{self._config.cpus_per_actor:g} CPU and {self._config.gpus_per_actor:g} GPU, the "
            f"cluster has {have.get('CPU', 0.0):g} and {have.get('GPU', 0.0):g}"
        )

    def _close(self) -> None:
        """End all actors, politely where they answer; the last counts are theirs."""
        seats = [seat for seat in self._seats if seat.ready]
        polls = [seat.actor.counts.remote() for seat in seats]
        closes = [seat.actor.close.remote() for seat in seats]
        if closes:
            ray.wait(closes, num_returns=len(closes), timeout=CLOSE_WITHIN_S)
        usage = self._usage_of_the_dead
        for seat, poll in zip(seats, polls, strict=True):
            with suppress(RayError):
                seat.counts = ray.get(poll, timeout=0)
            usage = usage.plus(seat.counts.usage)
        for seat in self._seats:
            self._leave(seat)
        self._usage_of_the_dead = usage


def start_ray() -> None:
    """Join the Ray of this process, job or address, or start one on this machine.

    Engines talk a lot: what actors print stays in Ray's session folder (`/tmp/ray`).
    """
    if not ray.is_initialized():
        os.environ.setdefault("RAY_raylet_start_wait_time_s", "120")  # for busy machines
        # The dashboard of a Ray that lasts as long as a stage costs CPU and is looked at by nobody.
        ray.init(logging_level=logging.ERROR, log_to_driver=False, include_dashboard=False)


def _ready(refs: list[Any], timeout: float = POLL_EVERY_S / 2) -> set[Any]:
    """Those that are there; waits for the first."""
    if not refs:
        time.sleep(timeout)
        return set()
    first, rest = ray.wait(refs, timeout=timeout)
    if first and rest:
        more, _ = ray.wait(rest, num_returns=len(rest), timeout=0)
        first += more
    return set(first)


def _reason(error: BaseException) -> str:
    """What Ray says in one sentence: the error that was raised, if one was; else the first."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if any(line.lower().startswith("traceback") for line in lines):
        return lines[-1]
    sentence = re.split(r"(?<=[.!])\s", " ".join(lines), maxsplit=1)[0]
    return f"{type(error).__name__}: {sentence[:200]}"
