"""The one format in which every benchmark answers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Result:
    """One number of one benchmark.

    `value` and `chance` are in 0..1, `n` is the number of items that were scored, `settings` holds
    the choices that move the value, `details` further numbers by name.
    """

    benchmark: str
    metric: str
    value: float
    n: int
    chance: float | None = None
    settings: dict[str, str | int | float | bool] = field(default_factory=dict)
    details: dict[str, float] = field(default_factory=dict)


def write_results(path: str | Path, results: Sequence[Result], model: str) -> None:
    """Write results as one JSON object: `{"model": …, "results": […]}`."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"model": model, "results": [asdict(r) for r in results]}, indent=2)
    partial = target.with_name(f".{target.name}.partial")
    partial.write_text(text + "\n", encoding="utf-8")
    partial.rename(target)
