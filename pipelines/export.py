"""a dataset → another format: FineHARD JSON, WebDataset tars, or a Hugging Face dataset folder.

Example:
    python pipelines/export.py --data runs/photos --output exports/photos --format huggingface
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from datagen.command import command
from datagen.dataset import Dataset
from datagen.export.base import Exporter, export
from datagen.export.finehard import FineHardExporter
from datagen.export.huggingface import HuggingFaceExporter
from datagen.export.webdataset import WebDatasetExporter


@dataclass(frozen=True, kw_only=True)
class Config:
    """Arguments of export.py."""

    data: str
    """The dataset: a folder or URL."""
    output: str
    """Folder or URL to write."""
    format: Literal["finehard", "webdataset", "huggingface"]
    title: str = ""
    """Name on the card of a Hugging Face dataset; the output folder's name if not given."""
    synthetic: bool = False
    """The pictures are drawn by a program: the card says so."""


def main(config: Config) -> None:
    """Write the shards that the output lacks."""
    title = config.title or config.output.partition("?")[0].rstrip("/").rpartition("/")[2]
    exporters: dict[str, Exporter] = {
        "finehard": FineHardExporter(),
        "webdataset": WebDatasetExporter(),
        "huggingface": HuggingFaceExporter(title, config.synthetic),
    }
    print(export(Dataset(config.data), config.output, exporters[config.format]).line())


if __name__ == "__main__":
    command(Config, main, __doc__)
