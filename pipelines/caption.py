"""images → captions: imports a source of images into shards, then captions them on Ray.

Example:
    python pipelines/caption.py --images photos --data runs/photos \\
        --model Qwen/Qwen2.5-VL-7B-Instruct
"""

from __future__ import annotations

from dataclasses import dataclass, field

from datagen.captions.stage import CaptionsConfig, CaptionsStage
from datagen.command import command
from datagen.dataset import Dataset
from datagen.images.importing import ImportConfig, import_images
from datagen.progress import Progress
from datagen.runner import RunConfig, run_stage


@dataclass(frozen=True, kw_only=True)
class Config:
    """Arguments of caption.py."""

    data: str
    """The dataset: a folder or URL."""
    images: ImportConfig
    captions: CaptionsConfig
    run: RunConfig = field(default_factory=RunConfig)


def main(config: Config) -> None:
    """Import, then caption; both skip the shards that are there."""
    stage = CaptionsStage(config.captions)
    stage.check()  # before the import: a wrong model name costs nothing
    dataset = Dataset(config.data)
    with Progress("images") as progress:
        images = import_images(dataset, config.images, progress)
    print(images.line())
    print(run_stage(stage, dataset, config.run).line())


if __name__ == "__main__":
    command(Config, main, __doc__)
