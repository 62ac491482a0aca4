"""Flickr30k retrieval (Young et al. 2014): the test split of Karpathy's file, five captions each.

`--annotations dataset_flickr30k.json --images flickr30k-images`
"""

from __future__ import annotations

from pathlib import Path

from datagen.evaluation.annotation_files import parsed, read_json
from datagen.evaluation.benchmark import Choices, Outcome, Source
from datagen.evaluation.encoder import Encoder
from datagen.evaluation.retrieval import Captioned, run_files


def run(encoder: Encoder, source: Source, choices: Choices) -> Outcome:
    """R@k both ways. See `Benchmark`."""
    files = parsed(source, "flickr30k", _read)
    return run_files(encoder, files, source, choices, name="flickr30k", long=False)


def _read(source: Source) -> list[Captioned]:
    return [
        Captioned(
            Path(source.images) / image["filename"],
            [sentence["raw"] for sentence in image["sentences"][:5]],
        )
        for image in read_json(source.annotations, source.columns)["images"]
        if image["split"] == "test"
    ]
