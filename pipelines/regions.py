"""captions → regions: phrases by spaCy, boxes by Grounding DINO, matched, on Ray.

Example:
    python pipelines/regions.py --data runs/photos --detector IDEA-Research/grounding-dino-base
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

import tyro

from datagen.command import command
from datagen.dataset import Dataset
from datagen.flow import run_stages
from datagen.regions.descriptions import DescriptionsConfig
from datagen.regions.stage import RegionsConfig, RegionsStage
from datagen.runner import RunConfig


@dataclass(frozen=True, kw_only=True)
class Config:
    """Arguments of regions.py."""

    data: str
    """The dataset: a folder or URL."""
    regions: RegionsConfig
    describe: Annotated[DescriptionsConfig | None, tyro.conf.Suppress] = None
    """A captioner for descriptions of regions; in recipes only, since it is a second model."""
    run: RunConfig = field(default_factory=RunConfig)


def main(config: Config) -> None:
    """Do the shards that are missing."""
    run_stages([(RegionsStage(config.regions, config.describe), config.run)], Dataset(config.data))


if __name__ == "__main__":
    command(Config, main, __doc__)
