"""The Ray actor: streams the rows of a few shards at once through a stage and commits them.

One bound on the rows in flight holds for all of its shards, so the tail of a shard never leaves
the engine idle. Nothing leaves an actor but counts: rows go from shard to shard.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeVar

from datagen.dataset import Dataset, DatasetError, ErrorRow, Table
from datagen.dataset.files import StorageError
from datagen.dataset.rows import Row
from datagen.dataset.store import table_of
from datagen.engines.chat import Usage
from datagen.engines.errors import EngineDeadError, ModelNotFoundError, RequestError
from datagen.stage import Item, RowError, Stage

ENGINE_DEAD_EXIT_CODE = 70
READ_AHEAD_ROWS = 16
HUNG_AFTER_TIMEOUTS = 32
"""So many rows without an answer, one after the other, and the engine counts as dead."""
WRITE_WAITS_S = (1.0, 5.0)
"""Waits, in seconds, after a commit that failed, before the next try."""
DEATHS_OF_A_KILLER = 3
MAX_REASONS = 1000

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardTask:
    """A shard to do. What it has already is kept; the rows that lack are made."""

    shard: int
    rows: int | None = None
    """Only so many of its first rows; None for all."""
    retry_errors: bool = False
    """Do its dead letters again, too."""
    there: bool = False
    """The output has the shard, with some of its rows or with dead letters."""
    careful: bool = False
    """One row at a time, each written down before, to find the row that kills engines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardResult:
    """What came of a shard. `problem` is a sentence where it could not be done."""

    shard: int
    rows_in: int = 0
    rows_out: int = 0
    rows_done: int = 0
    """Of `rows_in`, those that this run worked on."""
    dead_letters: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)
    """The dead letters of this run by error and message, numbers left out."""
    problem: str = ""
    fatal: bool = False
    """The problem is not of this shard alone: other shards will meet it."""
    engine_dead: bool = False
    unique: tuple[str, ...] | None = None
    """Set where the shard waits for `commit` until the driver has looked at these values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerCounts:
    """Rows that are done in shards that are not committed, and what the engine has used."""

    rows: int
    dead_letters: int
    reasons: Mapping[str, int]
    usage: Usage

    def without(self, result: ShardResult) -> WorkerCounts:
        """The same when a shard has been committed that these may have counted."""
        return WorkerCounts(
            rows=max(self.rows - result.rows_done, 0),
            dead_letters=max(self.dead_letters - sum(result.reasons.values()), 0),
            reasons=Counter(self.reasons) - Counter(result.reasons),
            usage=self.usage,
        )


@dataclass(slots=True)
class _Work:
    """A shard in the making."""

    task: ShardTask
    rows: dict[Table, list[Row]]
    errors: list[ErrorRow] = field(default_factory=list)
    rows_in: int = 0
    done: int = 0
    dead: int = 0
    reasons: Counter[str] = field(default_factory=Counter)


class ShardWorker:
    """What runs in an actor. Calls overlap: `do` for several shards, `counts` in between.

    Args:
        stage: opened by `open`.
        dataset: is read from.
        output: is written to; the same dataset but in a dry run.
        rows_in_flight: bound for all shards together.
        row_timeout_s: longest time for a row, in seconds.
    """

    def __init__(
        self,
        stage: Stage[Any],
        dataset: Dataset,
        output: Dataset,
        rows_in_flight: int,
        row_timeout_s: float,
    ) -> None:
        self.stage, self.dataset, self.output = stage, dataset, output
        self._rows_in_flight, self._timeout = rows_in_flight, row_timeout_s
        self._work: dict[int, _Work] = {}
        self._timeouts = 0
        # Reading and writing wait for disks and networks: never behind the stages' decoding.
        self._io = ThreadPoolExecutor(8)

    async def open(self) -> ShardResult:
        """Load models; the result's `problem` says why they could not be."""
        self._slots = asyncio.Semaphore(self._rows_in_flight)
        try:
            await self.stage.open()
        except ModelNotFoundError as error:
            return ShardResult(shard=-1, problem=str(error), fatal=True)
        except Exception as error:
            return ShardResult(shard=-1, problem=_say(error), engine_dead=True)
        return ShardResult(shard=-1)

    async def do(self, task: ShardTask) -> ShardResult:
        """Do a shard and commit it, or hold it for `commit` where the stage has unique values."""
        try:
            work = self._work[task.shard] = _Work(task, {})
            await self._make(work)
            if self.stage.unique is not None:
                rows = work.rows.get(self.stage.output, [])
                values = tuple(getattr(row, self.stage.unique) for row in rows)
                return ShardResult(shard=task.shard, unique=values)
            return await self._commit(work)
        except Exception as error:
            return self._failed(task.shard, error)

    async def commit(self, shard: int, duplicates: Sequence[int]) -> ShardResult:
        """Commit a shard that `do` held; the rows at these places become dead letters."""
        try:
            work = self._work[shard]
            assert self.stage.unique is not None
            rows = work.rows.get(self.stage.output, [])
            for place in sorted(duplicates, reverse=True):
                row = rows.pop(place)
                work.done -= 1  # it is counted again as a dead letter
                message = f"the same {self.stage.unique} as an earlier row"
                name = f"{message} ({getattr(row, self.stage.unique)})"
                self._note(work, getattr(row, self.stage.key), "Duplicate", message, name)
            return await self._commit(work)
        except Exception as error:
            return self._failed(shard, error)

    async def counts(self) -> WorkerCounts:
        """Where this actor is."""
        reasons: Counter[str] = Counter()
        for work in self._work.values():
            reasons.update(work.reasons)
        return WorkerCounts(
            rows=sum(work.done for work in self._work.values()),
            dead_letters=sum(work.dead for work in self._work.values()),
            reasons=reasons,
            usage=self.stage.usage(),
        )

    async def close(self) -> None:
        """Free what the stage holds."""
        await self.stage.close()

    async def _make(self, work: _Work) -> None:
        task = work.task
        old, letters = await self._thread(self._old, task)
        journal, killers = None, frozenset[str]()
        if task.careful:
            journal = await self._thread(Journal, self.output, self.stage.name, task.shard)
            killers = journal.killers
        places: dict[int, Sequence[Row]] = {}
        try:
            async with asyncio.TaskGroup() as group:
                async for item in self._items(task):
                    place = work.rows_in
                    work.rows_in += 1
                    letter = letters.get(item.id)
                    if item.id in old:
                        places[place] = old[item.id]
                        continue
                    if letter is not None and not task.retry_errors:
                        work.errors.append(letter)
                        continue
                    tries = letter.attempts + 1 if letter is not None else 1
                    if item.id in killers:
                        reason = "the engine died whenever it worked on this row"
                        self._note(work, item.id, "EngineDeadError", reason, tries=tries)
                        continue
                    if journal is not None:
                        await self._thread(journal.note, item.id)
                    await self._slots.acquire()
                    row = group.create_task(self._row(work, item, place, tries, places))
                    row.add_done_callback(lambda _: self._slots.release())
                    if task.careful:
                        await row
        except ExceptionGroup as errors:
            dead, others = errors.split(EngineDeadError)
            raise (dead or others or errors).exceptions[0] from None
        for place in range(work.rows_in):
            for new in places.get(place, ()):
                work.rows.setdefault(table_of(new), []).append(new)

    async def _row(
        self,
        work: _Work,
        item: Item,
        place: int,
        tries: int,
        places: dict[int, Sequence[Row]],
    ) -> None:
        try:
            places[place] = await asyncio.wait_for(self.stage.process(item), self._timeout)
            self._timeouts = 0
            work.done += 1
        except EngineDeadError:
            raise
        except TimeoutError:
            self._timeouts += 1
            message = f"no answer within {self._timeout:g} s"
            if self._timeouts >= HUNG_AFTER_TIMEOUTS:
                raise EngineDeadError(
                    f"The engine hangs: {message} for {self._timeouts} rows, one after the other."
                ) from None
            self._note(work, item.id, "TimeoutError", message, tries=tries)
        except (RowError, RequestError) as error:
            self._note(work, item.id, type(error).__name__, str(error), tries=tries)
        except Exception as error:  # a defect met by one row must not stop the others
            self._note(work, item.id, type(error).__name__, f"unexpected: {error}", tries=tries)

    def _note(
        self, work: _Work, id_: str, error: str, reason: str, message: str = "", tries: int = 1
    ) -> None:
        letter = ErrorRow(
            id=id_,
            stage=self.stage.name,
            error=error,
            message=message or reason,
            attempts=tries,
        )
        work.errors.append(letter)
        work.done += 1
        work.dead += 1
        kind = f"{error}: {re.sub(r'[0-9]+', 'N', reason)[:160]}"
        if kind in work.reasons or len(work.reasons) < MAX_REASONS:
            work.reasons[kind] += 1

    async def _commit(self, work: _Work) -> ShardResult:
        for wait in WRITE_WAITS_S:
            try:
                await self._thread(self._write, work)
                break
            except StorageError:
                await asyncio.sleep(wait)
        else:
            await self._thread(self._write, work)
        self._work.pop(work.task.shard, None)
        return ShardResult(
            shard=work.task.shard,
            rows_in=work.rows_in,
            rows_out=len(work.rows.get(self.stage.output, ())),
            rows_done=work.done,
            dead_letters=len(work.errors),
            reasons=work.reasons,
        )

    def _write(self, work: _Work) -> None:
        shard, lineage = work.task.shard, self.stage.lineage
        # Whoever sees the stage's own table sees the others as well: it goes last.
        for table in (*self.stage.beside, self.stage.output):
            errors = work.errors if table == self.stage.output else ()
            self.output.commit(
                table,
                shard,
                work.rows.get(table, ()),
                lineage=lineage,
                rows_in=work.rows_in,
                errors=errors,
            )
        if work.task.careful:
            Journal(self.output, self.stage.name, shard).remove()

    def _failed(self, shard: int, error: Exception) -> ShardResult:
        self._work.pop(shard, None)
        if isinstance(error, EngineDeadError):
            # The driver hears of it first; the process must end in any case.
            asyncio.get_running_loop().call_later(2.0, os._exit, ENGINE_DEAD_EXIT_CODE)
            return ShardResult(shard=shard, problem=str(error), engine_dead=True)
        fatal = isinstance(error, StorageError)
        return ShardResult(shard=shard, problem=_say(error), fatal=fatal)

    def _old(self, task: ShardTask) -> tuple[dict[str, list[Row]], dict[str, ErrorRow]]:
        """Rows and dead letters that the shard has already, by the id of their item."""
        rows: dict[str, list[Row]] = {}
        if not task.there:
            return rows, {}
        for table in (*self.stage.beside, self.stage.output):
            for row in self.output.read_rows(table, task.shard):
                rows.setdefault(getattr(row, self.stage.key), []).append(row)
        letters = self.output.errors(self.stage.name, task.shard)
        return rows, {letter.id: letter for letter in letters}

    async def _items(self, task: ShardTask) -> AsyncIterator[Item]:
        items = islice(self.stage.read(self.dataset, task.shard), task.rows)
        coming = self._thread(_some, items)
        while chunk := await coming:
            coming = self._thread(_some, items)
            for item in chunk:
                yield item

    def _thread(self, function: Any, *arguments: Any) -> asyncio.Future[Any]:
        return asyncio.get_running_loop().run_in_executor(self._io, function, *arguments)


class Journal:
    """Which row a careful task is at, on disk: what is found there later died with its engine."""

    def __init__(self, dataset: Dataset, stage: str, shard: int) -> None:
        self._dataset, self._name = dataset, f"_careful/{stage}-{shard}.json"
        self._deaths: Counter[str] = Counter(dataset.read_json(self._name).get("started", {}))

    @property
    def killers(self) -> frozenset[str]:
        """Rows that were begun and never ended so often that it was no chance."""
        return frozenset(row for row, n in self._deaths.items() if n >= DEATHS_OF_A_KILLER)

    def note(self, row: str) -> None:
        """This row comes next."""
        started = self._deaths + Counter([row])
        self._dataset.write_json(self._name, {"started": started})

    def remove(self) -> None:
        """The shard is done."""
        self._dataset.files.remove(self._name)


def _some(items: Iterator[T]) -> list[T]:
    return list(islice(items, READ_AHEAD_ROWS))


def _say(error: Exception) -> str:
    if isinstance(error, DatasetError | EngineDeadError):
        return str(error)
    return f"{type(error).__name__}: {error}"
