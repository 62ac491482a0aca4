"""a model → results: regions against negatives with the text-only control, and retrieval.

Example:
    python pipelines/evaluate.py --model runs/photos/models/first --data runs/held-out
    python pipelines/evaluate.py --model M --annotations fgovd_hard.jsonl --images coco
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from datagen.command import command
from datagen.dataset import Dataset
from datagen.evaluation import controls, region_negatives, retrieval
from datagen.evaluation.items import EvaluationError, read_dataset, read_fgovd
from datagen.evaluation.metrics import Ties
from datagen.evaluation.result import Result, write_results
from datagen.training.encoder import ModelEncoder


@dataclass(frozen=True, kw_only=True)
class Config:
    """Arguments of evaluate.py."""

    model: str
    """Folder or name of a CLIP or FG-CLIP model, or the output folder of a training."""
    data: str = ""
    """Folder or URL of a dataset whose tables are the benchmark."""
    annotations: str = ""
    """JSON lines in the format of FG-OVD, instead of a dataset."""
    images: str = ""
    """Folder of the images that the annotations name."""
    output: str = ""
    """JSON file for the results; evaluation.json in the model's folder if not given."""
    ties: Ties = "shared"
    """How an item counts whose positive shares the highest score with negatives."""
    device: str = "cpu"
    threads: int = 0
    """Of torch on a CPU; 0: as many as it likes."""


def evaluate(config: Config) -> list[Result]:
    """All results that the source allows.

    Raises:
        UserError: the source or the model is not usable.
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


def main(config: Config) -> None:
    """Evaluate, print the results, and write them."""
    results = evaluate(config)
    for result in results:
        chance = "" if result.chance is None else f", chance {result.chance:.3f}"
        print(f"{result.benchmark} {result.metric}: {result.value:.3f} (n {result.n:,}{chance})")
    output = Path(config.output or Path(config.model) / "evaluation.json")
    write_results(output, results, config.model)
    print(f"evaluate: results in {output}")


if __name__ == "__main__":
    command(Config, main, __doc__)
