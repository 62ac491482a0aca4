"""The Parquet file with one row an item, and the comparison of two models item by item."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from datagen.evaluation.item_rows import ItemRow
from datagen.evaluation.items import EvaluationError
from datagen.evaluation.result import Result
from datagen.evaluation.statistics import bootstrap_interval, paired_test

_AT_ONCE = 50_000
_DESCRIPTIONS = {
    "benchmark": "name in the results",
    "task": "negatives: a region or picture against phrases that are false of it; classes: against "
    "all classes; i2t: a picture looks for a caption of its own; t2i: a caption looks for its "
    "picture; objects: an object that detections should find",
    "image_id": "file below the folder of images, or id in the images table",
    "box": "x1, y1, x2, y2 in 0..1 of the picture; 0, 0, 1, 1 where the whole picture counts",
    "positive": "what is right: phrase, class or caption",
    "negatives": "what is wrong: all phrases that the item gives, or the nearest few of the other "
    "classes, captions or pictures",
    "scores": "cosine of the positive and of each of the negatives; of an object, the score of "
    "the detection that found it, 0 for none",
    "credit": "0 to 1: 1 is right",
    "rank": "how many candidates stand before the positive, where that is counted",
    "positive_among_negatives": "the item's own phrase is, or was, among its negatives",
}
SCHEMA = pa.schema(
    [
        pa.field(name, kind, metadata={"description": _DESCRIPTIONS[name]})
        for name, kind in (
            ("benchmark", pa.string()),
            ("task", pa.string()),
            ("image_id", pa.string()),
            ("box", pa.list_(pa.float64(), 4)),
            ("positive", pa.string()),
            ("negatives", pa.list_(pa.string())),
            ("scores", pa.list_(pa.float32())),
            ("credit", pa.float64()),
            ("rank", pa.int64()),
            ("positive_among_negatives", pa.bool_()),
        )
    ]
)
_KEYS = {
    "negatives": ("image_id", "box", "positive", "negatives"),
    "classes": ("image_id", "box", "positive"),
    "i2t": ("image_id",),
    "t2i": ("image_id", "positive"),
    "objects": ("image_id", "box", "positive"),
}
"""What makes an item the same in two files; the nearest wrong ones are the model's, not its."""


def write_items(path: str | Path, rows: Iterable[ItemRow]) -> None:
    """Write the items of one or several benchmarks; the file is there as a whole or not at all."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial")
    with pq.ParquetWriter(partial, SCHEMA, compression="zstd") as writer:
        waiting = iter(rows)
        while some := [asdict(row) for row in islice(waiting, _AT_ONCE)]:
            writer.write_table(pa.Table.from_pylist(some, SCHEMA))
    partial.rename(target)


def compare(first: str | Path, second: str | Path) -> list[Result]:
    """How much better the first model is on the items that both files hold, a result a benchmark.

    `value` is the difference of the accuracies (-1..1), `low` and `high` its interval; `details`
    holds `p_value` of a paired test, both accuracies, and how many items only one gets right.

    Raises:
        EvaluationError: a file is missing, or they hold no items in common.
    """
    ours, theirs = _credits(first), _credits(second)
    results = []
    for part in dict.fromkeys(key[:2] for key in ours if key in theirs):
        keys = [key for key in ours if key[:2] == part and key in theirs]
        name, task = part
        a, b = (np.array([side[key] for key in keys]) for side in (ours, theirs))
        images = [str(key[2]) for key in keys]
        low, high = bootstrap_interval(a - b, images)
        results.append(
            Result(
                benchmark=name,
                metric=f"{task}_difference" if task in ("i2t", "t2i") else "difference",
                value=float((a - b).mean()),
                low=low,
                high=high,
                n=len(keys),
                details={
                    "p_value": paired_test(a, b, images),
                    "first": float(a.mean()),
                    "second": float(b.mean()),
                    "only_first_right": float((a > b).sum()),
                    "only_second_right": float((b > a).sum()),
                },
            )
        )
    if not results:
        raise EvaluationError(f"{first} and {second} hold no items in common.")
    return results


def _credits(path: str | Path) -> dict[tuple, float]:
    """The credit of each item, by benchmark, task, image and what else makes it that item."""
    if not Path(path).is_file():
        raise EvaluationError(f"There is no file of items {path}.")
    columns = ["benchmark", "task", "image_id", "box", "positive", "negatives", "credit"]
    try:
        rows = pq.read_table(path, columns=columns).to_pylist()
    except (pa.ArrowInvalid, KeyError) as error:
        raise EvaluationError(f"{path} is no file of evaluated items: {error}.") from None
    return {_key(row): row["credit"] for row in rows}


def _key(row: Mapping[str, Any]) -> tuple:
    parts = (row[name] for name in _KEYS[row["task"]])
    return row["benchmark"], row["task"], *(tuple(p) if isinstance(p, list) else p for p in parts)
