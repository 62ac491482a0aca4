"""Works inside vLLM's own processes: notes why one failed, and lets none outlive its parent.

vLLM's engine tells its parent only that it failed, and lives on, with all its memory, when the
parent is killed (vllm-project/vllm issue 55510). vLLM lets us into its processes by its logging
configuration, which each of them applies first of all.
"""

from __future__ import annotations

import copy
import json
import logging
import multiprocessing
import os
import tempfile
import threading
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
            text = f"{type(error).__name__}: {' '.join(str(error).split())}"
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

    def first_error(self) -> str | None:
        """The exception that came first: those after it are its consequences."""
        try:
            return self._errors.read_text(encoding="utf-8").partition("\n")[0] or None
        except FileNotFoundError:
            return None

    def close(self) -> None:
        """Remove the files."""
        self._folder.cleanup()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
