"""One's own set: the tables of a dataset, with regions against negatives and retrieval."""

from __future__ import annotations

from typing import Literal

from datagen.dataset import Dataset
from datagen.evaluation import retrieval
from datagen.evaluation.annotation_files import no_columns
from datagen.evaluation.benchmark import Choices, Outcome, Source
from datagen.evaluation.breakdown import with_controls
from datagen.evaluation.encoder import Encoder
from datagen.evaluation.item_rows import rows_of_negatives
from datagen.evaluation.items import EvaluationError, Skipped, read_dataset
from datagen.evaluation.region_negatives import Protocol, score


def run(encoder: Encoder, source: Source, choices: Choices) -> Outcome:
    """Top-1 with its controls, then R@k of long and of short captions. See `Benchmark`."""
    if not source.data:
        raise EvaluationError("The benchmark tables needs --data, a dataset.")
    no_columns(source, "tables")
    dataset, skipped = Dataset(source.data), Skipped(limit=source.max_skipped)
    protocol = choices.protocol(Protocol())
    scored = score(encoder, read_dataset(dataset, skipped), protocol)
    results = with_controls(scored, protocol, "region_negatives", controls=choices.controls)
    items = rows_of_negatives("region_negatives", scored.items)
    kinds: tuple[Literal["long", "short"], ...] = ("long", "short")
    for captions in kinds:
        again = read_dataset(dataset, Skipped(limit=source.max_skipped))  # the same, told once
        found = retrieval.run_pictures(encoder, again, captions=captions)
        results += found.results
        items += found.items
    return Outcome(results=results, items=items, skipped=skipped.reasons)
