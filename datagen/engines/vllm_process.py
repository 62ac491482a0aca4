"""Works inside vLLM's own processes: notes why one failed, and lets none outlive its parent.

vLLM's engine tells its parent only that it failed, and lives on, with all its memory, when the
parent is killed (vllm-project/vllm issue 55510). vLLM lets us into its processes by its logging
configuration, which each of them applies first of all.
"""

from __future__ import annotations

import copy
import json
import logging
import math
import multiprocessing
import os
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

_watching = False


class ProcessLog(logging.Handler):
    """A handler of vLLM's logger.

    Args:
        owner: process that started the engine; nothing is done in it.
        errors: file to which the exceptions of the other processes are appended.
    """

    def __init__(self, owner: int, errors: str) -> None:
        super().__init__(logging.ERROR)
        self._errors = Path(errors)
        self._owner = owner
        global _watching
        if os.getpid() != owner and not _watching:
            _watching = True
            threading.Thread(target=_end_with_parent, daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Note the exception of a record, if it has one, in one line."""
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and os.getpid() != self._owner:
            text = f"{time.time()} {type(error).__name__}: {' '.join(str(error).split())}"
            try:
                with self._errors.open("a", encoding="utf-8") as file:
                    file.write(text + "\n")
            except OSError:
                self.handleError(record)


class ProcessNotes:
    """The parent's side: the logging configuration to give to vLLM, and what was noted."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="datagen-vllm-")
        self._errors = Path(self._folder.name) / "errors.txt"

    def logging_config(self, default: dict[str, Any]) -> str:
        """Path of `default` (of `logging.config.dictConfig`) with a `ProcessLog` added."""
        config = copy.deepcopy(default)
        config["handlers"]["notes"] = {
            "class": f"{ProcessLog.__module__}.{ProcessLog.__name__}",
            "owner": os.getpid(),
            "errors": str(self._errors),
        }
        config["loggers"]["vllm"]["handlers"].append("notes")
        file = Path(self._folder.name) / "logging.json"
        file.write_text(json.dumps(config), encoding="utf-8")
        return str(file)

    def first_error(self, within_s: float = math.inf) -> str | None:
        """The exception that came first in the last so many seconds: others are its consequences.

        Older ones were of requests, and harmed nobody else.
        """
        try:
            noted = self._errors.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return None
        for line in noted:
            when, _, text = line.partition(" ")
            if time.time() - float(when) <= within_s:
                return text
        return None

    def close(self) -> None:
        """Remove the files."""
        self._folder.cleanup()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
