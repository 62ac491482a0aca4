"""Progress for people: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from tqdm import tqdm

LINE_EVERY_S = 10.0


class Progress:
    """Shows how many rows of a stage are done.

    Args:
        stage: name shown in front.
        total: rows to come, or None if unknown.
        unit: what a row is.
    """

    def __init__(self, stage: str, total: int | None = None, unit: str = "images") -> None:
        self.stage, self.total, self.unit = stage, total, unit
        self.rows = 0
        self._line = f"{stage}: 0 {unit}"
        self._said = time.monotonic()
        self._bar = (
            tqdm(desc=stage, total=total, unit=f" {unit}", dynamic_ncols=True)
            if sys.stderr.isatty()
            else None
        )

    def __enter__(self) -> Progress:
        if self._bar is None:
            of = f" {self.total:,}" if self.total is not None else ""
            print(f"{self.stage}: started,{of} {self.unit}", flush=True)
        return self

    def show(self, rows: int, line: str = "") -> None:
        """So many rows are done; `line` says it with all else that is known."""
        of = f"/{self.total:,}" if self.total is not None else ""
        self._line = line or f"{self.stage}: {rows:,}{of} {self.unit}"
        if self._bar is not None:
            self._bar.set_postfix_str(line.partition(", ")[2], refresh=False)
            self._bar.update(rows - self.rows)
        elif time.monotonic() - self._said > LINE_EVERY_S:
            self._said = time.monotonic()
            print(self._line, flush=True)
        self.rows = rows

    def advance(self, rows: int, dead_letters: int = 0) -> None:
        """So many more rows are done."""
        self.show(self.rows + rows)

    def say(self, message: str) -> None:
        """A sentence beside the progress, on stderr."""
        if self._bar is not None:
            self._bar.write(f"{self.stage}: {message}", file=sys.stderr)
        else:
            print(f"{self.stage}: {message}", file=sys.stderr, flush=True)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()
        print(self._line, flush=True)
