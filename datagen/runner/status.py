"""Where a run is: what its progress shows and what `status.json` beside the shards says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Literal

from datagen.dataset import Dataset
from datagen.engines.chat import Usage

STATUS = "status.json"
TOP_REASONS = 5


@dataclass(frozen=True, kw_only=True)
class RunStatus:
    """A moment of a run. Rows are those of this run, not those that were there before."""

    stage: str
    state: Literal["running", "finished", "stopped", "failed"]
    message: str = ""
    rows: int = 0
    rows_total: int | None = None
    """Rows that this run has to do; None where the source does not tell before it is read."""
    dead_letters: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)
    """The commonest reasons of this run's dead letters, with their numbers."""
    shards: int = 0
    shards_total: int = 0
    seconds: float = 0.0
    engine_seconds: float = 0.0
    """Since the first engine was ready."""
    actors: int = 0
    restarts: int = 0
    usage: Usage = field(default_factory=Usage)
    updated: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    @property
    def rows_per_second(self) -> float:
        """Since the first engine was ready."""
        return self.rows / self.engine_seconds if self.engine_seconds > 0 else 0.0

    @property
    def tokens_per_second(self) -> float:
        """Tokens written by the engines."""
        seconds = self.engine_seconds
        return self.usage.output_tokens / seconds if seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """At the rate so far; None where it cannot be said."""
        if self.rows_total is None or not self.rows_per_second:
            return None
        return max(self.rows_total - self.rows, 0) / self.rows_per_second

    def line(self) -> str:
        """One line for people."""
        of = f"/{self.rows_total:,}" if self.rows_total is not None else ""
        parts = [f"{self.rows:,}{of} rows", f"{self.rows_per_second:.1f}/s"]
        if self.usage.output_tokens:
            parts.append(f"{self.tokens_per_second:.0f} tokens/s")
        parts.append(f"dead letters {self.dead_letters:,}")
        if self.seconds_left is not None and self.state == "running":
            parts.append(f"{duration(self.seconds_left)} left")
        if self.restarts:
            parts.append(f"{self.restarts} restarts")
        if self.state == "running" and not self.actors:
            parts.append("engines are starting")
        return f"{self.stage}: {', '.join(parts)}"

    def top_reasons(self) -> list[str]:
        """The commonest reasons of dead letters, one line each."""
        ordered = sorted(self.reasons.items(), key=lambda pair: -pair[1])
        return [f"{count:,} × {reason}" for reason, count in ordered[:TOP_REASONS]]

    def write(self, dataset: Dataset, table: str) -> None:
        """Replace `<table>/status.json`."""
        derived = {
            "rows_per_second": round(self.rows_per_second, 3),
            "tokens_per_second": round(self.tokens_per_second, 1),
            "seconds_left": self.seconds_left and round(self.seconds_left, 1),
            "cached_share": round(self.usage.cached_share, 4) if self.usage.requests else None,
        }
        dataset.write_json(f"{table}/{STATUS}", {**asdict(self), **derived})


def duration(seconds: float) -> str:
    """`42 s`, `3 min 20 s`, `5 h 10 min`, `12 days 3 h`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} days {whole % 86400 // 3600} h"
