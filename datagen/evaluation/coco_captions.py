"""COCO retrieval (Chen et al. 2015): val2017 with the first five captions of each image.

`--annotations captions_val2017.json --images val2017`
"""

from __future__ import annotations

from pathlib import Path

from datagen.evaluation.annotation_files import parsed, read_json
from datagen.evaluation.benchmark import Choices, Outcome, Source
from datagen.evaluation.encoder import Encoder
from datagen.evaluation.retrieval import Captioned, run_files

CAPTIONS = 5


def run(encoder: Encoder, source: Source, choices: Choices) -> Outcome:
    """R@k both ways. See `Benchmark`."""
    files = parsed(source, "coco_captions", _read)
    return run_files(encoder, files, source, choices, name="coco_captions", long=False)


def _read(source: Source) -> list[Captioned]:
    content = read_json(source.annotations, source.columns)
    captions: dict[int, list[str]] = {image["id"]: [] for image in content["images"]}
    for annotation in content["annotations"]:
        captions[annotation["image_id"]].append(annotation["caption"])
    return [
        Captioned(Path(source.images) / image["file_name"], captions[image["id"]][:CAPTIONS])
        for image in content["images"]
        if captions[image["id"]]
    ]
