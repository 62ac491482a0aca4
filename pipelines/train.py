"""captions, regions, negatives → a model: trains FG-CLIP on a dataset's shards.

Run again, it goes on from its last checkpoint, or does nothing if the model is there.

Examples:
    python pipelines/train.py --data runs/photos --output runs/photos/models/first \\
        --recipe pipelines/recipes/gpu/train.yaml
    torchrun --nproc-per-node 8 pipelines/train.py ...      (eight processes of this machine)
    python pipelines/train.py --workers 8 ...               (the same with Ray, on any cluster)
    python pipelines/train.py --data my-pictures --output runs/mine \\
        --recipe pipelines/recipes/gpu/train-folder.yaml    (a folder of images and captions)
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from datagen.command import command
from datagen.dataset import Dataset
from datagen.evaluation import region_negatives, retrieval
from datagen.evaluation.items import read_dataset
from datagen.evaluation.result import Result
from datagen.training.config import TrainConfig
from datagen.training.encoder import ModelEncoder
from datagen.training.launch import launch


@dataclass(frozen=True)
class Evaluation:
    """Scores of a model on a dataset, for the log of a training."""

    data: str
    regions: bool

    def __call__(self, encoder: ModelEncoder) -> dict[str, float]:
        """Region accuracy and retrieval by name."""
        dataset = Dataset(self.data)
        results: list[Result] = []
        if self.regions:
            results.append(region_negatives.evaluate(encoder, read_dataset(dataset))[0])
        for captions in ("long", "short"):
            results += retrieval.evaluate(encoder, read_dataset(dataset), captions=captions)
        return {f"{r.benchmark}_{r.metric}": r.value for r in results}


def main(config: TrainConfig) -> None:
    """Train and say where the model is."""
    logging.basicConfig(format="%(message)s")
    evaluate = Evaluation(config.evaluate, config.loss.uses_regions) if config.evaluate else None
    result = launch(config, evaluate)
    print(
        f"train: {result.steps} steps in {result.seconds:.0f} s "
        f"({result.images_per_second:.1f} images/s), model in {result.model}"
    )


if __name__ == "__main__":
    command(TrainConfig, main, __doc__)
