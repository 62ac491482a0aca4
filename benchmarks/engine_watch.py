"""How long vLLM's engine worked, waited for a core, and had nothing to do, by the kernel's count.

On a machine that does other things too, a side's rate says more about them than about the side.
The engine's own thread knows better (Linux: /proc/…/schedstat): time in which it wanted a core and
got none is the disturbance; time in which it slept is what whoever feeds it is to blame for.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

EVERY_S = 0.1
BUSY = 0.3
"""Share of an interval that the engine works, or would, at least while it has requests."""


@dataclass(frozen=True, kw_only=True)
class EngineTime:
    """Seconds of the engine's thread: at work, waiting for a core, with nothing to do.

    `lead` is what passed before its first work, waiting for a core included.
    """

    work: float = 0.0
    disturbed: float = 0.0
    idle: float = 0.0
    lead: float = 0.0

    @property
    def seen(self) -> bool:
        """Whether the engine was found at work."""
        return self.work > 0

    def plus(self, other: EngineTime) -> EngineTime:
        """The sum of two."""
        return EngineTime(
            work=self.work + other.work,
            disturbed=self.disturbed + other.disturbed,
            idle=self.idle + other.idle,
            lead=self.lead + other.lead,
        )


class EngineWatch:
    """Looks for the engine among the descendants of a process and watches it to its end."""

    def __init__(self, parent: int) -> None:
        self._parent = psutil.Process(parent)
        self._seen: list[tuple[float, float, float]] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def last(self, seconds: float) -> EngineTime:
        """Of the `seconds` before the engine's last work. Call it when the process has ended."""
        self._ended.set()
        self._thread.join()
        pairs = zip(self._seen, self._seen[1:], strict=False)
        busy = [(a, b) for a, b in pairs if sum(b[1:]) - sum(a[1:]) > BUSY * (b[0] - a[0])]
        if not busy:
            return EngineTime()
        end, work1, wait1 = busy[-1][1]
        began = end - seconds
        start, work0, wait0 = next(a for a, _ in busy if a[0] >= began)
        work, disturbed = work1 - work0, wait1 - wait0
        return EngineTime(
            work=work,
            disturbed=disturbed,
            idle=max(end - start - work - disturbed, 0.0),
            lead=start - began,
        )

    def _watch(self) -> None:
        engine: int | None = None
        while not self._ended.wait(EVERY_S):
            try:
                engine = engine or self._find()
                if engine is not None:
                    stat = Path(f"/proc/{engine}/task/{engine}/schedstat").read_text()
                    work, wait, _ = map(int, stat.split())
                    self._seen.append((time.monotonic(), work / 1e9, wait / 1e9))
            except (psutil.Error, OSError):
                engine = None

    def _find(self) -> int | None:
        for process in self._parent.children(recursive=True):
            with suppress(psutil.Error):  # it has just ended, or is a zombie
                if "VLLM::EngineCore" in " ".join(process.cmdline()):
                    return process.pid
        return None
