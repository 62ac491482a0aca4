"""Long retrieval on ShareGPT4V (Chen et al. 2023): the first 1,000 conversations, one caption each.

`--annotations share-captioner_coco_lcs_sam_1246k_1107.json --images sa_000000/images`. The images
are looked for by their file names alone, as the published evaluator does.
"""

from __future__ import annotations

from pathlib import Path

from datagen.evaluation.annotation_files import parsed, read_json
from datagen.evaluation.benchmark import Choices, Outcome, Source
from datagen.evaluation.encoder import Encoder
from datagen.evaluation.retrieval import Captioned, run_files

FIRST = 1000


def run(encoder: Encoder, source: Source, choices: Choices) -> Outcome:
    """R@k both ways. See `Benchmark`."""
    files = parsed(source, "sharegpt4v", _read)
    return run_files(encoder, files, source, choices, name="sharegpt4v", long=True)


def _read(source: Source) -> list[Captioned]:
    return [
        Captioned(
            Path(source.images) / Path(record["image"]).name,
            [record["conversations"][1]["value"]],
        )
        for record in read_json(source.annotations, source.columns)[:FIRST]
    ]
