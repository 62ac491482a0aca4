"""Do these negatives help? Trainings that differ in their negatives alone, on unseen scenes.

    python -m datagen.demo.rewriter --output runs/demo/models/smollm2
    python -m datagen.demo.negatives_help --output runs/negatives-help

The scenes to train on are drawn with natural skew, as the real world has it, and everything but the
negatives is written from the truth. Three ways to make negatives, besides training without any:

- free: whole phrases by the LLM, unchecked, as published pipelines keep them;
- random: one attribute changed, the new value drawn at random;
- balanced: the same candidates, chosen by the blind balance.

All three have the same number of negatives, for the same regions. The test set is of unseen scenes
in which every value is as frequent as the others, with ten negatives drawn evenly, so that texts
tell nothing. What is done is not done again; `--only balanced-0` does one training.

The region and hard terms weigh 0.1 and 0.5, as published. With the demo's 1 and 1, phrases of other
regions in the batch teach a small world's attributes alone, and no negatives make a difference.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev

from datagen.command import load_recipe
from datagen.dataset import Dataset, Negative, NegativesRow, Table
from datagen.dataset.lineage import Lineage
from datagen.demo.experiment import RECIPE, Row, train_and_evaluate
from datagen.demo.free_drafts import free_drafts
from datagen.demo.truth_tables import write_truth_dataset
from datagen.negatives.candidates import PhraseItem
from datagen.negatives.drafts import REPLACE
from datagen.negatives.in_memory import candidates, select
from datagen.negatives.lexicon import load_lexicon
from datagen.negatives.selection import SelectConfig
from datagen.training.config import TrainConfig

LEXICON = Path(__file__).with_name("lexicon.yaml")
VARIANTS = ("none", "free", "random", "balanced")
TRAINED, TESTED = 1280, 400
"""Scenes."""
ASKED, WANTED = 700, 6
"""Phrases that the LLM rewrites freely, the most frequent ones, and how often. Regions with other
phrases have no negatives, in no training."""
REGION_WEIGHT, HARD_WEIGHT = 0.1, 0.5
"""As published."""
SHOWN = {
    "region_accuracy": "top-1",
    "pairwise_colour": "colour",
    "pairwise_finish": "finish",
    "pairwise_size": "size",
}


def write_variants(output: Path, model: Path, scenes: int = TRAINED) -> dict[str, Dataset]:
    """The datasets to train on: the same but for their negatives; what is there is kept.

    Args:
        model: the LLM that rewrites freely.
    """
    truth = write_truth_dataset(str(output / "truth"), "demo-train", scenes, skewed=True)
    found = {"none": truth}
    missing = []
    for name in VARIANTS[1:]:
        found[name] = Dataset(str(output / name))
        if found[name].shards(Table.NEGATIVES) != truth.shards(Table.NEGATIVES):
            missing.append(name)
    if not missing:
        return found
    phrases = list(_phrases(truth))
    free = free_drafts([p.phrase for p in phrases], model, output / "free.json", ASKED, WANTED)
    rewritten = [phrase for phrase in phrases if phrase.phrase in free]
    chosen = {"free": [free[phrase.phrase] for phrase in rewritten], **_by_slots(rewritten)}
    number = min(sum(map(len, negatives)) for negatives in chosen.values())
    for name in missing:
        rows = {
            phrase.id: NegativesRow(
                region_id=phrase.id,
                image_id=phrase.image_id,
                positive=phrase.phrase,
                negatives=negatives,
            )
            for phrase, negatives in zip(rewritten, _thinned(chosen[name], number), strict=True)
        }
        _write(found[name], truth, rows, name)
    return found


def _by_slots(phrases: Sequence[PhraseItem]) -> dict[str, list[list[Negative]]]:
    """Of each phrase, negatives that change one attribute."""
    lexicon = load_lexicon(LEXICON)
    rows = asyncio.run(candidates(phrases, lexicon))
    config = SelectConfig(changes={REPLACE: 1.0})
    return {
        "random": select(rows, replace(config, balanced=False), lexicon),
        "balanced": select(rows, config, lexicon),
    }


def _thinned(chosen: Sequence[Sequence[Negative]], number: int) -> list[list[Negative]]:
    """So many of all, drawn evenly, which leaves a balance as it is."""
    pairs = [(row, negative) for row, some in enumerate(chosen) for negative in some]
    kept: list[list[Negative]] = [[] for _ in chosen]
    for row, negative in random.Random(0).sample(pairs, number):
        kept[row].append(negative)
    return kept


def _phrases(dataset: Dataset) -> Iterator[PhraseItem]:
    for shard in dataset.shards(Table.REGIONS):
        regions = list(dataset.read_rows(Table.REGIONS, shard))
        for region in regions:
            others = tuple(
                other.phrase
                for other in regions
                if other.image_id == region.image_id and other is not region
            )
            yield PhraseItem(region.region_id, region.image_id, region.phrase, others)


def _write(dataset: Dataset, truth: Dataset, negatives: dict[str, NegativesRow], name: str) -> None:
    """The truth's tables with other negatives, by region."""
    lineage = Lineage(stage="negatives_help", settings={"negatives": name})
    for shard in truth.shards(Table.NEGATIVES):
        for table in (Table.IMAGES, Table.CAPTIONS, Table.REGIONS):
            rows = list(truth.read_rows(table, shard))
            dataset.commit(table, shard, rows, lineage=lineage, rows_in=len(rows))
        own = [
            negatives.get(row.region_id) or replace(row, negatives=[])
            for row in truth.read_rows(Table.NEGATIVES, shard)
        ]
        dataset.commit(Table.NEGATIVES, shard, own, lineage=lineage, rows_in=len(own))


def run(
    output: Path, model: Path, seeds: int, only: str, recipe: Path, scenes: tuple[int, int]
) -> list[Row]:
    """Train, evaluate and print the table of what is done.

    Args:
        only: one training, `<variant>-<seed>`; empty for all.
        scenes: numbers to train on and to test on.

    Returns:
        A row a training, see `run_experiment`; `run` is `<variant>-<seed>`.

    Raises:
        UserError: a folder belongs to another configuration.
    """
    datasets = write_variants(output, model, scenes[0])
    benchmark = write_truth_dataset(str(output / "test"), "evaluation", scenes[1])
    base = load_recipe(recipe, TrainConfig)
    base = replace(
        base,
        loss=replace(base.loss, region_weight=REGION_WEIGHT, hard_weight=HARD_WEIGHT),
        threads=1,
        show="lines",
    )
    rows = []
    for seed in range(seeds):
        for variant in VARIANTS:
            name = f"{variant}-{seed}"
            if only not in ("", name):
                continue
            loss = replace(base.loss, hard_weight=0.0) if variant == "none" else base.loss
            config = replace(
                base,
                data=datasets[variant].root,
                output=str(output / "models" / name),
                loss=loss,
                seed=seed,
            )
            rows.append(train_and_evaluate(config, benchmark.root))
    if not only:
        print(table(rows, datasets), flush=True)
    return rows


def table(rows: Sequence[Row], datasets: dict[str, Dataset]) -> str:
    """Mean and standard deviation over the seeds, in percent, as Markdown."""
    lines = [
        "| negatives | a region | " + " | ".join(SHOWN.values()) + " |",
        "| --- | --- |" + " --- |" * len(SHOWN),
    ]
    for variant in VARIANTS:
        own = [row for row in rows if str(row["run"]).rpartition("-")[0] == variant]
        cells = []
        for column in SHOWN:
            values = [100 * float(row[column]) for row in own]
            spread = stdev(values) if len(values) > 1 else 0.0
            cells.append(f"{mean(values):.1f} ± {spread:.1f}")
        count = "0" if variant == "none" else f"{_a_region(datasets[variant]):.1f}"
        lines.append(f"| {variant} | {count} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _a_region(dataset: Dataset) -> float:
    return mean(
        len(row.negatives)
        for shard in dataset.shards(Table.NEGATIVES)
        for row in dataset.read_rows(Table.NEGATIVES, shard)
    )


def main() -> None:
    """Command line; the last line is JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=Path("runs/negatives-help"))
    parser.add_argument("--model", type=Path, default=Path("runs/demo/models/smollm2"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", default="", help="one training, for example balanced-0")
    parser.add_argument("--recipe", type=Path, default=RECIPE, help="of training")
    parser.add_argument("--scenes", type=int, nargs=2, default=(TRAINED, TESTED))
    found = run(**vars(parser.parse_args()))
    print(json.dumps({str(row["run"]): row["region_accuracy"] for row in found}))


if __name__ == "__main__":
    main()
