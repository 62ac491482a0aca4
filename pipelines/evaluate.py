"""Evaluate a model: regions against negatives with the text-only control, and retrieval.

`python pipelines/evaluate.py --model M --data D --output results.json` on a dataset's tables, or
`--annotations F.jsonl --images FOLDER` on items in the format of FG-OVD.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import tyro

from datagen.dataset import Dataset, DatasetError
from datagen.engines.errors import ModelNotFoundError
from datagen.evaluation import controls, region_negatives, retrieval
from datagen.evaluation.items import EvaluationError, read_dataset, read_fgovd
from datagen.evaluation.metrics import Ties
from datagen.evaluation.result import Result, write_results
from datagen.images.decode import ImageError
from datagen.training.encoder import ModelEncoder


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """What is evaluated on what."""

    model: str
    """Folder or name of a CLIP or FG-CLIP model."""
    output: str
    """JSON file for the results."""
    data: str = ""
    """Folder or URL of a dataset whose tables are the benchmark."""
    annotations: str = ""
    """JSON lines in the format of FG-OVD, instead of a dataset."""
    images: str = ""
    """Folder of the images that the annotations name."""
    ties: Ties = "shared"
    """How an item counts whose positive shares the highest score."""
    device: str = "cpu"
    threads: int = 0
    """Of torch on a CPU; 0: as many as it likes."""


def evaluate(config: EvaluateConfig) -> list[Result]:
    """All results that the source allows.

    Raises:
        EvaluationError, DatasetError, ImageError: the source is not usable.
        ModelNotFoundError: the model is not there.
    """
    if bool(config.data) == bool(config.annotations):
        raise EvaluationError("Give either --data, or --annotations with --images.")
    if config.threads:
        torch.set_num_threads(config.threads)
    encoder = ModelEncoder.load(config.model, config.device)
    if config.annotations:
        pictures = read_fgovd(config.annotations, config.images)
        score, items = region_negatives.evaluate(encoder, pictures, name="fgovd", ties=config.ties)
        return [score, controls.text_only(items, name="fgovd", ties=config.ties)]
    dataset = Dataset(config.data)
    score, items = region_negatives.evaluate(encoder, read_dataset(dataset), ties=config.ties)
    results = [score, controls.text_only(items, ties=config.ties)]
    results += retrieval.evaluate(encoder, read_dataset(dataset), captions="long")
    return results + retrieval.evaluate(encoder, read_dataset(dataset), captions="short")


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0 when the results are written, 1 with one sentence when they could not be."""
    config = tyro.cli(EvaluateConfig, args=arguments, description=__doc__)
    try:
        results = evaluate(config)
    except (EvaluationError, DatasetError, ModelNotFoundError, ImageError, ValueError) as error:
        print(f"evaluate: {error}", file=sys.stderr)
        return 1
    write_results(config.output, results, config.model)
    for result in results:
        chance = "" if result.chance is None else f", chance {result.chance:.3f}"
        print(f"{result.benchmark} {result.metric}: {result.value:.3f} (n {result.n:,}{chance})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
