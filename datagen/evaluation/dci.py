"""Long retrieval on DCI (Urbanek et al. 2024): a folder with one JSON file an image.

`--annotations densely_captioned_images/annotations --images densely_captioned_images/photos`
"""

from __future__ import annotations

from pathlib import Path

from datagen.evaluation.annotation_files import parsed, read_json
from datagen.evaluation.benchmark import Choices, Outcome, Source
from datagen.evaluation.encoder import Encoder
from datagen.evaluation.items import EvaluationError
from datagen.evaluation.retrieval import Captioned, run_files


def run(encoder: Encoder, source: Source, choices: Choices) -> Outcome:
    """R@k both ways. See `Benchmark`."""
    files = parsed(source, "dci", _read)
    return run_files(encoder, files, source, choices, name="dci", long=True)


def _read(source: Source) -> list[Captioned]:
    found = sorted(Path(source.annotations).glob("*.json"))
    if not found:
        raise EvaluationError(f"{source.annotations} is no folder with JSON files.")
    records = [read_json(file, source.columns) for file in found]
    return [
        Captioned(Path(source.images) / record["image"], [record["extra_caption"]])
        for record in records
    ]
