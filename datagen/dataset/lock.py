"""One driver a table: a second one waits until the first ends, or has shown no life for a while.

The lock is a small file beside the tables that its holder rewrites every few seconds, so it
works on any storage and needs no clock that two machines share. It saves double work; what
keeps the data right is that shards are committed whole, whoever writes them.
"""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass

import psutil

from datagen.dataset.files import DatasetError
from datagen.dataset.store import Dataset

BEAT_S = 5.0
SILENT_AFTER_S = 30.0
"""A holder that has not written for so long is gone."""
SETTLE_S = 0.5
"""Two that take a free lock at the same moment: the later write stands after this time."""


@dataclass(frozen=True, kw_only=True)
class Holder:
    """Who holds a lock. `beat` grows as long as it lives."""

    token: str
    host: str
    pid: int
    started: float
    beat: int = 0

    @classmethod
    def me(cls) -> Holder:
        """This process."""
        return cls(
            token=uuid.uuid4().hex,
            host=_host(),
            pid=os.getpid(),
            started=psutil.Process().create_time(),
        )

    def known_dead(self) -> bool:
        """It ran on this machine and does no more."""
        if self.host != _host():
            return False
        try:
            return psutil.Process(self.pid).create_time() != self.started
        except psutil.NoSuchProcess:
            return True


class TableLock:
    """Held by one driver at a time; use it as a context.

    Args:
        dataset: where the table is.
        table: its name.
        say: is told, once, that another run is waited for.
    """

    def __init__(self, dataset: Dataset, table: str, say: Callable[[str], None]) -> None:
        self._dataset, self._name, self._say = dataset, f"_locks/{table}.json", say
        self._me = Holder.me()
        self._end = threading.Event()
        self._thread: threading.Thread | None = None
        self.lost = False
        """Another run took over, since this one showed no life for too long."""

    def __enter__(self) -> TableLock:
        self._wait()
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        if self._thread is not None:
            self._thread.join()
        holder = self._read()
        if holder is not None and holder.token == self._me.token:
            self._dataset.files.remove(self._name)

    def check(self) -> None:
        """Raises DatasetError where another run has taken over."""
        if self.lost:
            raise DatasetError(
                f"Another run took over {self._dataset.root} after this one had stood still for "
                f"more than {SILENT_AFTER_S:.0f} s. What is committed stays; this run ends."
            )

    def _wait(self) -> None:
        seen, since, told = None, time.monotonic(), False
        while True:
            holder = self._read()
            silent = holder == seen and time.monotonic() - since > SILENT_AFTER_S
            if holder is None or holder.known_dead() or silent:
                self._write(0)
                time.sleep(SETTLE_S)
                holder = self._read()
                if holder is not None and holder.token == self._me.token:
                    return
            if holder != seen:
                seen, since = holder, time.monotonic()
            if holder is not None and not told:
                told = True
                self._say(
                    f"another run (process {holder.pid} on {holder.host.partition('/')[0]}) works "
                    "on this table; waiting for it to end"
                )
            time.sleep(SETTLE_S)

    def _beat(self) -> None:
        beat = 0
        while not self._end.wait(BEAT_S):
            beat += 1
            try:
                holder = self._read()
                if holder is not None and holder.token != self._me.token:
                    self.lost = True
                    return
                self._write(beat)
            except (DatasetError, OSError):
                continue  # the storage may be back at the next beat; shards' commits report it

    def _read(self) -> Holder | None:
        found = self._dataset.read_json(self._name)
        return Holder(**found) if found else None

    def _write(self, beat: int) -> None:
        self._dataset.write_json(self._name, {**asdict(self._me), "beat": beat})


def _host() -> str:
    """The machine, and the name space of its process ids where it has several (containers)."""
    try:
        return f"{socket.gethostname()}/{os.stat('/proc/self/ns/pid').st_ino}"  # noqa: PTH116
    except OSError:
        return socket.gethostname()
