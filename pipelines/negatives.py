"""regions → negatives: other values for one attribute of each phrase, by an LLM, on Ray.

Example:
    python pipelines/negatives.py --data runs/photos --model Qwen/Qwen2.5-7B-Instruct
"""

from __future__ import annotations

from dataclasses import dataclass, field

from datagen.command import command
from datagen.dataset import Dataset
from datagen.negatives.stage import NegativesConfig, NegativesStage
from datagen.runner import RunConfig, run_stage


@dataclass(frozen=True, kw_only=True)
class Config:
    """Arguments of negatives.py."""

    data: str
    """The dataset: a folder or URL."""
    negatives: NegativesConfig
    run: RunConfig = field(default_factory=RunConfig)


def main(config: Config) -> None:
    """Do the shards that are missing."""
    print(run_stage(NegativesStage(config.negatives), Dataset(config.data), config.run).line())


if __name__ == "__main__":
    command(Config, main, __doc__)
