"""The Parquet file with one row an item, and the comparison of two models item by item."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from datagen.evaluation.items import EvaluationError
from datagen.evaluation.region_negatives import ScoredItem
from datagen.evaluation.result import Result
from datagen.evaluation.statistics import bootstrap_interval, paired_test

SCHEMA = pa.schema(
    [
        ("benchmark", pa.string()),
        ("image_id", pa.string()),
        ("box", pa.list_(pa.float64(), 4)),
        ("positive", pa.string()),
        ("negatives", pa.list_(pa.string())),
        ("scores", pa.list_(pa.float32())),
        ("credit", pa.float64()),
        ("positive_among_negatives", pa.bool_()),
    ],
    metadata={
        "box": "x1, y1, x2, y2 in 0..1 of the picture",
        "scores": "cosine of the region and each candidate, the positive first",
        "credit": "0 to 1: 1 is right",
    },
)
_KEY = ("benchmark", "image_id", "box", "positive", "negatives")


def write_items(path: str | Path, items: Mapping[str, Sequence[ScoredItem]]) -> None:
    """Write the items of each benchmark, by its name."""
    rows = [
        {
            "benchmark": name,
            "image_id": found.item.image_id,
            "box": list(found.item.box),
            "positive": found.item.positive,
            "negatives": list(found.item.negatives),
            "scores": found.scores.tolist(),
            "credit": found.credit,
            "positive_among_negatives": found.duplicate,
        }
        for name, scored in items.items()
        for found in scored
    ]
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial")
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), partial, compression="zstd")
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
    for name in dict.fromkeys(key[0] for key in ours if key in theirs):
        keys = [key for key in ours if key[0] == name and key in theirs]
        a, b = (np.array([side[key] for key in keys]) for side in (ours, theirs))
        images = [str(key[1]) for key in keys]
        low, high = bootstrap_interval(a - b, images)
        results.append(
            Result(
                benchmark=str(name),
                metric="difference",
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
    if not Path(path).is_file():
        raise EvaluationError(f"There is no file of items {path}.")
    try:
        rows = pq.read_table(path, columns=[*_KEY, "credit"]).to_pylist()
    except (pa.ArrowInvalid, KeyError) as error:
        raise EvaluationError(f"{path} is no file of evaluated items: {error}.") from None
    return {
        (
            row["benchmark"],
            row["image_id"],
            tuple(row["box"]),
            row["positive"],
            tuple(row["negatives"]),
        ): row["credit"]
        for row in rows
    }
