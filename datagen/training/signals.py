"""SIGTERM asks a training to stop: it saves first, at the end of the step."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

import torch
import torch.distributed as dist

from datagen.training.distributed import group_device, world_size


class StopSignal:
    """While it is open, SIGTERM is noted instead of ending the process."""

    def __init__(self) -> None:
        self._noted = False
        self._before: Any = None

    def __enter__(self) -> StopSignal:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)

    def wanted(self) -> bool:
        """Whether any of the processes that train together got the signal. All must ask."""
        if world_size() == 1:
            return self._noted
        noted = torch.tensor(float(self._noted), device=group_device())
        dist.all_reduce(noted, dist.ReduceOp.MAX)
        return bool(noted)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._noted = True
