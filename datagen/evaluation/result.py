"""The one format in which every benchmark answers, and the files it is written to."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Result:
    """One number of one benchmark.

    `value` and `chance` are in 0..1, `low` and `high` the 95 % interval of the value by bootstrap
    over images, `n` the number of items that were scored, `settings` the choices that move the
    value, `details` further numbers by name.
    """

    benchmark: str
    metric: str
    value: float
    n: int
    chance: float | None = None
    low: float | None = None
    high: float | None = None
    settings: dict[str, str | int | float | bool] = field(default_factory=dict)
    details: dict[str, float] = field(default_factory=dict)


def write_results(
    path: str | Path,
    results: Sequence[Result],
    model: str,
    *,
    skipped: Sequence[str] = (),
    settings: Mapping[str, str] | None = None,
) -> None:
    """Write results as one JSON object: `{"model", "settings", "results", "skipped"}`."""
    content = {
        "model": model,
        "settings": dict(settings or {}),
        "results": [asdict(result) for result in results],
        "skipped": list(skipped),
    }
    write_whole(path, json.dumps(content, indent=2) + "\n")


def write_whole(path: str | Path, text: str) -> None:
    """Write a file that is there as a whole or not at all."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.rename(target)
