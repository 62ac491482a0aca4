"""``summary.json`` of a run, read with every key optional: what is not there is not shown."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from datagen.dataset import DatasetError


@dataclass(frozen=True, kw_only=True)
class StageCost:
    """What a stage did and what it took; None where the run did not say."""

    rows: int | None = None
    seconds: float | None = None
    rows_per_second: float | None = None
    dead_letters: int | None = None


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The measured figures of a run.

    `measures` holds the quality of each stage (shares are 0..1), `experiment` one row a training
    run. Both keep the order of the file.
    """

    synthetic: bool = False
    stages: Mapping[str, StageCost] = field(default_factory=dict)
    measures: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    experiment: tuple[Mapping[str, str | float], ...] = ()


def read_summary(path: Path) -> Summary:
    """Read the figures of a run.

    Raises:
        DatasetError: the file cannot be read, or holds no JSON object.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DatasetError(f"Cannot read the summary {path}: {error}") from None
    if not isinstance(raw, dict):
        raise DatasetError(f"The summary {path} holds no JSON object.")
    return Summary(
        synthetic=raw.get("synthetic") is True,
        stages={name: _cost(value) for name, value in _mapping(raw.get("stages")).items()},
        measures={
            name: numbers
            for name, value in raw.items()
            if name != "stages" and (numbers := _numbers(value))
        },
        experiment=tuple(_run(row) for row in _list(raw.get("experiment")) if _mapping(row)),
    )


def _cost(value: Any) -> StageCost:
    numbers = _numbers(value)
    return StageCost(
        rows=_whole(numbers.get("rows")),
        seconds=numbers.get("seconds"),
        rows_per_second=numbers.get("rows_per_second"),
        dead_letters=_whole(numbers.get("dead_letters")),
    )


def _run(row: Mapping[str, Any]) -> dict[str, str | float]:
    flat: dict[str, str | float] = {
        name: value for name, value in row.items() if isinstance(value, str)
    }
    flat.update(_numbers(row))
    return {name: flat[name] for name in sorted(flat, key=lambda n: (n != "run", _rank(row, n)))}


def _rank(row: Mapping[str, Any], name: str) -> int:
    return list(row).index(name.partition(".")[0])


def _numbers(value: Any, prefix: str = "") -> dict[str, float]:
    """The numbers of a JSON object, those of nested objects under dotted names."""
    found: dict[str, float] = {}
    for name, item in _mapping(value).items():
        if isinstance(item, dict):
            found.update(_numbers(item, f"{prefix}{name}."))
        elif isinstance(item, int | float) and not isinstance(item, bool):
            found[f"{prefix}{name}"] = item
    return found


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)
