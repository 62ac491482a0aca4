"""captions, regions, negatives → a model: trains FG-CLIP on a dataset's shards.

Run again, it goes on from its last checkpoint, or does nothing if the model is there.

Example:
    python pipelines/train.py --data runs/photos --output runs/photos/models/first \\
        --recipe pipelines/recipes/gpu/train.yaml
"""

from __future__ import annotations

from datagen.command import command
from datagen.training.config import TrainConfig
from datagen.training.loop import train


def main(config: TrainConfig) -> None:
    """Train and say where the model is."""
    result = train(config)
    print(
        f"train: {result.steps} steps in {result.seconds:.0f} s "
        f"({result.images_per_second:.1f} images/s), model in {result.model}"
    )


if __name__ == "__main__":
    command(TrainConfig, main, __doc__)
