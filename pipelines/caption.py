"""images → captions: imports a source of images into shards, then captions them, both on Ray.

Example:
    python pipelines/caption.py --images photos --data runs/photos \\
        --model Qwen/Qwen2.5-VL-7B-Instruct
"""

from __future__ import annotations

from dataclasses import dataclass, field

from datagen.captions.stage import CaptionsConfig, CaptionsStage
from datagen.command import command
from datagen.dataset import Dataset
from datagen.flow import run_stages
from datagen.images.stage import ImagesStage, ImportConfig
from datagen.runner import RunConfig


@dataclass(frozen=True, kw_only=True)
class Config:
    """Arguments of caption.py."""

    data: str
    """The dataset: a folder or URL."""
    images: ImportConfig
    captions: CaptionsConfig
    run: RunConfig = field(default_factory=RunConfig)


def main(config: Config) -> None:
    """Import, then caption; both do only what is missing."""
    stage = CaptionsStage(config.captions)
    stage.check()  # before the import: a wrong model name costs nothing
    dataset = Dataset(config.data)
    importing = RunConfig(
        actors=config.images.import_actors,
        shards_in_flight=2,
        rows_in_flight=32,
        limit=config.run.limit,
        retry_errors=config.run.retry_errors,
        max_error_rate=config.run.max_error_rate,
    )
    run_stages([(ImagesStage(config.images), importing), (stage, config.run)], dataset)


if __name__ == "__main__":
    command(Config, main, __doc__)
