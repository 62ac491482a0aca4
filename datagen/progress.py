"""Progress of a stage: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from tqdm import tqdm

LINE_EVERY_S = 10.0


class Progress:
    """Counts rows and dead letters of one stage and shows them as they come.

    Args:
        stage: name shown in front.
        total: rows to come, or None if unknown.
        unit: what a row is.
    """

    def __init__(self, stage: str, total: int | None = None, unit: str = "images") -> None:
        self.stage, self.total, self.unit = stage, total, unit
        self.rows = self.dead_letters = 0
        self.started = time.monotonic()
        self._said = self.started
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

    def advance(self, rows: int, dead_letters: int = 0, note: str = "") -> None:
        """Count rows that are done, dead letters among them."""
        self.rows += rows
        self.dead_letters += dead_letters
        if self._bar is not None:
            self._bar.set_postfix_str(f"dead letters {self.dead_letters} {note}".strip())
            self._bar.update(rows)
        elif time.monotonic() - self._said > LINE_EVERY_S:
            self._said = time.monotonic()
            print(self._line(note), flush=True)

    def _line(self, note: str = "") -> str:
        seconds = max(time.monotonic() - self.started, 1e-9)
        rate = self.rows / seconds
        of = f"/{self.total:,}" if self.total is not None else ""
        left = ""
        if self.total is not None and rate > 0 and self.rows < self.total:
            left = f", {max(self.total - self.rows, 0) / rate:.0f} s left"
        return (
            f"{self.stage}: {self.rows:,}{of} {self.unit}, {rate:.1f}/s, "
            f"dead letters {self.dead_letters}{left}{', ' + note if note else ''}"
        )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()
        print(self._line(), flush=True)
