"""What a script of generation does with its stages: run them, or try them on a few rows first."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from datagen.dataset import Dataset, Table
from datagen.dataset.counts import UNKNOWN
from datagen.dataset.rows import Row
from datagen.dataset.store import shard_name
from datagen.report.page import write_report
from datagen.runner import RunConfig, RunSummary, run_stage
from datagen.runner.status import duration
from datagen.stage import Stage

SHOWN_CHARACTERS = 2000


def run_stages(stages: Sequence[tuple[Stage[Any], RunConfig]], dataset: Dataset) -> None:
    """Run stages one after the other, each as its configuration says; prints what they did.

    Where the last one's configuration asks for a dry run, the dataset is left as it is.

    Raises:
        DatasetError, StageError: see `run_stage`.
    """
    *_, (_, last) = stages
    if last.dry_run:
        _dry_run(stages, dataset, last)
        return
    for stage, run in stages:
        print(run_stage(stage, dataset, run).line())


def _dry_run(
    stages: Sequence[tuple[Stage[Any], RunConfig]], dataset: Dataset, last: RunConfig
) -> None:
    rows = last.dry_run
    with tempfile.TemporaryDirectory(prefix="dry-run-") as folder:
        scratch = Dataset(folder)
        total: int | None = None
        for stage, run in stages:
            there = stage.source is not None and bool(dataset.shards(stage.source))
            source = dataset if there else scratch
            few = replace(run, limit=rows, dry_run=0, actors=1, retry_errors=False)
            summary = run_stage(stage, source, few, output=scratch)
            if there or stage.source is None:
                total = _total(stage, source)
            for text in _shown(stage, source, scratch, rows):
                print(f"\n{text}")
            print(f"\n{summary.line()}")
            for line in estimate(summary, total, run):
                print(f"{stage.name}: {line}")
        if "://" not in dataset.root:
            path = Path(dataset.root).absolute()
            page = path.with_name(f"{path.name}-dry-run.html")
            _link_sources(path, Path(folder), scratch.shards(stages[-1][0].output))
            write_report(folder, page, images=rows)
            print(f"\nThe pictures of these rows: {page}")


def estimate(summary: RunSummary, total: int | None, run: RunConfig) -> list[str]:
    """What the whole input will take, from a few rows; lines for people.

    Args:
        summary: of the dry run.
        total: rows of the whole input; None where the source does not tell.
        run: how it will be run; times are for its `actors`.
    """
    if not summary.rows_done:
        return ["no row was done, so nothing can be estimated"]
    what, count = ("the whole input", total) if total is not None else ("a part", 1_000_000)
    share = count / summary.rows_done
    hours = summary.engine_seconds * share / 3600
    lines = [
        f"{what} ({count:,} rows): about {duration(hours * 3600 / run.actors)} on {run.actors} "
        f"actors ({hours:,.1f} actor-hours), at the rate of these {summary.rows_done} rows; "
        "a full engine is faster"
    ]
    usage = summary.usage
    tokens = (usage.prompt_tokens + usage.output_tokens) * share
    if tokens:
        lines.append(
            f"tokens: about {usage.prompt_tokens * share:,.0f} of prompts "
            f"({usage.cached_share:.0%} of them from the prefix cache) "
            f"and {usage.output_tokens * share:,.0f} written"
        )
    cost = hours * run.price_per_actor_hour + tokens / 1e6 * run.price_per_million_tokens
    if cost:
        lines.append(f"cost: about {cost:,.2f}")
    return lines


def _link_sources(dataset: Path, scratch: Path, shards: Sequence[int]) -> None:
    """Lay the dataset's own tables beside those of the dry run, for its report."""
    for table in Table:
        for shard in shards:
            there, here = (folder / table / shard_name(shard) for folder in (dataset, scratch))
            if there.is_file() and not here.parent.joinpath("run.json").exists():
                here.parent.mkdir(exist_ok=True)
                here.symlink_to(there)


def _total(stage: Stage[Any], source: Dataset) -> int | None:
    rows = stage.expected_rows(source, stage.shards(source))
    return None if UNKNOWN in rows else sum(rows)


def _shown(stage: Stage[Any], source: Dataset, scratch: Dataset, rows: int) -> list[str]:
    made: dict[str, list[Row]] = {}
    texts: list[str] = []
    for shard in scratch.shards(stage.output):
        for row in scratch.read_rows(stage.output, shard):
            made.setdefault(getattr(row, stage.key), []).append(row)
        letters = {letter.id: letter.message for letter in scratch.errors(stage.name, shard)}
        for item in islice(stage.read(source, shard), rows - len(texts)):
            text = stage.preview(item, made.get(item.id, []))
            if item.id in letters:
                text += f"\n  dead letter: {letters[item.id]}"
            texts.append(text if len(text) < SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "…")
    return texts
