"""SugarCrepe (Hsieh et al. 2023): COCO pictures against a true caption and a fluent false one.

`--annotations replace_att.json --images val2017`; each of its seven files is a benchmark.
"""

from __future__ import annotations

from pathlib import Path

from datagen.evaluation.annotation_files import parsed, read_json
from datagen.evaluation.benchmark import Choices, Outcome, Source
from datagen.evaluation.caption_pairs import Pair, run_pairs
from datagen.evaluation.encoder import Encoder


def run(encoder: Encoder, source: Source, choices: Choices) -> Outcome:
    """Accuracy with its controls. See `Benchmark`."""
    pairs = parsed(source, "sugarcrepe", _read)
    name = f"sugarcrepe_{Path(source.annotations).stem}"
    return run_pairs(encoder, pairs, source, choices, name=name)


def _read(source: Source) -> list[Pair]:
    return [
        Pair(
            f"pair {key} of {source.annotations}",
            Path(source.images) / record["filename"],
            record["caption"],
            record["negative_caption"],
        )
        for key, record in read_json(source.annotations, source.columns).items()
    ]
