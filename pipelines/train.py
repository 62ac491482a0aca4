"""Train FG-CLIP on a dataset: `python pipelines/train.py --data D --output O --recipe R.yaml`.

Run again it goes on from its last checkpoint, or does nothing if `output/model` is there.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from datagen.dataset import DatasetError
from datagen.engines.errors import ModelNotFoundError
from datagen.training.config import parse_config
from datagen.training.loop import TrainingError, train


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0 when the model is there, 1 with one sentence when it could not be made."""
    try:
        result = train(parse_config(arguments))
    except (DatasetError, ModelNotFoundError, TrainingError, ValueError) as error:
        print(f"train: {error}", file=sys.stderr)
        return 1
    print(
        f"train: {result.steps} steps in {result.seconds:.0f} s "
        f"({result.images_per_second:.1f} images/s), model in {result.model}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
