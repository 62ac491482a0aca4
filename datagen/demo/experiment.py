"""Do the data and the losses help? Three trainings on one dataset, evaluated on unseen scenes.

The same model, seed, images and number of steps each time; only the losses differ: the global loss
alone, plus regions, plus hard negatives. The benchmark is written from the truth of scenes that no
other part of the small world sees.
"""

from __future__ import annotations

import json
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import torch

from datagen.command import load_recipe
from datagen.dataset import Dataset
from datagen.demo.truth_tables import write_truth_dataset
from datagen.evaluation import controls, region_negatives, retrieval
from datagen.evaluation.item_rows import rows_of_negatives
from datagen.evaluation.item_scores import write_items
from datagen.evaluation.items import read_dataset
from datagen.evaluation.result import Result, write_results
from datagen.training.config import TrainConfig
from datagen.training.encoder import ModelEncoder
from datagen.training.loop import train

RECIPE = Path(__file__).parents[2] / "pipelines" / "recipes" / "demo" / "train.yaml"
RUNS = ("global", "regions", "hard")
SCENES = 400
BENCHMARK = "evaluation"
"""Split of the small world for the benchmark, and the folder of its tables."""
ITEMS = "experiment.parquet"
"""In a run's folder: the items of the region benchmark with their scores."""
Row = dict[str, str | float]


def run_experiment(
    data: Path,
    output: Path,
    *,
    recipe: Path = RECIPE,
    split: str = BENCHMARK,
    scenes: int = SCENES,
    processes: int = 2,
) -> list[Row]:
    """Train and evaluate, one thread a run, and print the table. What is done is not done again.

    Args:
        data: dataset with all four tables.
        output: `models/<run>/` and `evaluation/` (the benchmark's tables) are written there.
        split: of the small world, for the benchmark; another one than evaluation is for tuning.
        processes: trainings at a time.

    Returns:
        One row a run: `run`, `region_accuracy`, `chance`, `text_only`, `pairwise_<attribute>`,
        `retrieval_<captions>_<way>_r<k>`; and what it cost: `train_images`, `train_seconds`,
        `evaluate_items`, `evaluate_seconds`.

    Raises:
        UserError: the data is not usable, or a run's folder belongs to another configuration.
    """
    benchmark = write_truth_dataset(str(output / split), split, scenes)
    base = replace(
        load_recipe(recipe, TrainConfig),
        data=str(data),
        threads=1,
        show="lines",
    )
    context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
    with ProcessPoolExecutor(processes, context) as pool:
        # The longest run first, so that the others fill the second process.
        futures = {
            name: pool.submit(train_and_evaluate, config, benchmark.root)
            for name, config in reversed(_configs(base, output).items())
        }
        rows = [futures[name].result() for name in RUNS]
    print(_table(rows), flush=True)
    return rows


def _configs(base: TrainConfig, output: Path) -> dict[str, TrainConfig]:
    losses = {
        "global": replace(base.loss, region_weight=0.0, hard_weight=0.0),
        "regions": replace(base.loss, hard_weight=0.0),
        "hard": base.loss,
    }
    return {
        name: replace(base, loss=losses[name], output=str(output / "models" / name))
        for name in RUNS
    }


def train_and_evaluate(config: TrainConfig, benchmark: str) -> Row:
    """One run on one thread, and its row of the table; what is done is read back.

    Args:
        config: `output` ends in the run's name.
        benchmark: folder of a dataset with all four tables.

    Raises:
        UserError: the data is not usable, or the folder belongs to another configuration.
    """
    torch.set_num_threads(1)
    trained = train(config)
    folder = trained.model.parent
    path, cost = folder / "experiment.json", folder / "cost.json"
    items = folder / ITEMS
    if not (path.is_file() and items.is_file()):
        started = time.monotonic()
        results = _evaluate(trained.model, benchmark, items)
        seconds = {
            "train_images": trained.steps * config.optim.batch_size,
            "train_seconds": round(trained.seconds, 1),
            "evaluate_items": results[0].n,
            "evaluate_seconds": round(time.monotonic() - started, 1),
        }
        cost.write_text(json.dumps(seconds), encoding="utf-8")
        write_results(path, results, str(trained.model))
    found = json.loads(path.read_text(encoding="utf-8"))["results"]
    row = _row(Path(config.output).name, [Result(**result) for result in found])
    return row | json.loads(cost.read_text(encoding="utf-8"))


def _evaluate(model: Path, benchmark: str, items: Path) -> list[Result]:
    pictures = list(read_dataset(Dataset(benchmark)))
    encoder, protocol = ModelEncoder.load(model), region_negatives.Protocol()
    scored = region_negatives.score(encoder, pictures, protocol)
    score = region_negatives.summary(scored, protocol)
    write_items(items, rows_of_negatives(score.benchmark, scored.items))
    results = [score, controls.text_only([found.item for found in scored.items])]
    for captions in ("long", "short"):
        results += retrieval.evaluate(encoder, pictures, captions=captions)
    return results


def _row(name: str, results: list[Result]) -> Row:
    score, control, *found = results
    row: Row = {
        "run": name,
        "region_accuracy": score.value,
        "text_only": control.value,
        "chance": score.chance or 0.0,
    }
    row |= {key: value for key, value in score.details.items() if key.startswith("pairwise_")}
    row |= {f"{r.benchmark}_{r.metric}": r.value for r in found}
    return {key: v if isinstance(v, str) else round(v, 4) for key, v in row.items()}


_SHOWN = {
    "region_accuracy": "region",
    "text_only": "text only",
    "chance": "chance",
    "pairwise_colour": "colour",
    "pairwise_finish": "finish",
    "pairwise_size": "size",
    "retrieval_long_i2t_r1": "long I→T R@1",
    "retrieval_long_t2i_r1": "long T→I R@1",
    "retrieval_short_i2t_r1": "short I→T R@1",
    "retrieval_short_t2i_r1": "short T→I R@1",
}


def _table(rows: list[Row]) -> str:
    names = [name for name in _SHOWN if name in rows[0]]
    lines = ["run      " + "  ".join(_SHOWN[name] for name in names)]
    for row in rows:
        cells = (f"{100 * float(row[name]):.1f}".rjust(len(_SHOWN[name])) for name in names)
        lines.append(f"{row['run']!s:<9}" + "  ".join(cells))
    return "\n".join(lines)
