"""Reading the JSON files of benchmarks, with a sentence for whoever gave the wrong one."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from datagen.evaluation.benchmark import Source
from datagen.evaluation.items import EvaluationError

FoundT = TypeVar("FoundT")


def read_json(path: str | Path, columns: Mapping[str, str] | None = None) -> Any:
    """The content of a JSON file.

    Args:
        path: of the file.
        columns: other names of fields, by the official ones, which the content then has.

    Raises:
        EvaluationError: it cannot be read, is no JSON, or has no field of one of the names.
    """
    official = {given: name for name, given in (columns or {}).items()}
    unseen = set(official)

    def renamed(record: dict[str, Any]) -> dict[str, Any]:
        found = official.keys() & record.keys()
        unseen.difference_update(found)
        return {**record, **{official[name]: record[name] for name in found}}

    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"), object_hook=renamed)
        if unseen:
            raise EvaluationError(f"{path} has no field {min(unseen)}, which --columns names.")
        return content
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
    except KeyError as error:
        raise EvaluationError(
            f"{source.annotations} is not in the layout of {name}: it has no {error}. Fields of "
            "other names are given as --columns OFFICIAL YOURS."
        ) from None
    except (IndexError, TypeError, AttributeError) as error:
        raise EvaluationError(
            f"{source.annotations} is not in the layout of {name}: {error!r}."
        ) from None


def no_columns(source: Source, name: str) -> None:
    """For benchmarks whose annotations are no JSON.

    Raises:
        EvaluationError: columns are named all the same.
    """
    if source.columns:
        raise EvaluationError(f"The benchmark {name} has no fields that --columns could name.")
