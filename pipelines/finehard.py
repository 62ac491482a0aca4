"""FineHARD → images, captions, regions and negatives: its own annotations, nothing generated.

Example:
    python pipelines/finehard.py --images finehard/jsonfiles --image-root finehard/images \\
        --data runs/finehard
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from datagen.command import command
from datagen.dataset import Dataset
from datagen.flow import run_stages
from datagen.images.annotations import AnnotationsStage
from datagen.images.stage import ImagesStage, ImportConfig
from datagen.runner import RunConfig


@dataclass(frozen=True, kw_only=True)
class Config:
    """Arguments of finehard.py."""

    data: str
    """The dataset: a folder or URL."""
    images: ImportConfig
    run: RunConfig = field(default_factory=RunConfig)


def main(config: Config) -> None:
    """Import the images with their records, then turn the records into tables."""
    dataset = Dataset(config.data)
    images = ImagesStage(replace(config.images, source_format="finehard"))
    importing = replace(config.run, actors=config.images.import_actors)
    run_stages([(images, importing), (AnnotationsStage(), config.run)], dataset)


if __name__ == "__main__":
    command(Config, main, __doc__)
