"""Reading the JSON files of benchmarks, with a sentence for whoever gave the wrong one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from datagen.evaluation.benchmark import Source
from datagen.evaluation.items import EvaluationError

FoundT = TypeVar("FoundT")


def read_json(path: str | Path) -> Any:
    """The content of a JSON file.

    Raises:
        EvaluationError: it cannot be read or is no JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise EvaluationError(f"Cannot read {path}: {error.strerror}.") from None
    except ValueError as error:
        raise EvaluationError(f"{path} is no JSON: {error}.") from None


def parsed(source: Source, name: str, read: Callable[[Source], FoundT]) -> FoundT:
    """What `read` makes of a source that has annotations and images.

    Raises:
        EvaluationError: one of them is not given, or the annotations are not of that layout.
    """
    if not source.annotations or not source.images:
        raise EvaluationError(f"The benchmark {name} needs --annotations and --images.")
    try:
        return read(source)
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise EvaluationError(
            f"{source.annotations} is not in the layout of {name}: {error!r}."
        ) from None
