"""ARO (Yuksekgonul et al. 2023): Visual Genome's relations and attributes, two captions a box.

`--annotations visual_genome_relation.json --images images`, or visual_genome_attribution.json. The
picture is cut to the box that the annotation gives, as its authors do.
"""

from __future__ import annotations

from pathlib import Path

from datagen.evaluation.annotation_files import parsed, read_json
from datagen.evaluation.benchmark import Choices, Outcome, Source
from datagen.evaluation.caption_pairs import Pair, run_pairs
from datagen.evaluation.encoder import Encoder


def run(encoder: Encoder, source: Source, choices: Choices) -> Outcome:
    """Accuracy with its controls. See `Benchmark`."""
    pairs = parsed(source, "aro", _read)
    name = f"aro_{Path(source.annotations).stem.removeprefix('visual_genome_')}"
    return run_pairs(encoder, pairs, source, choices, name=name)


def _read(source: Source) -> list[Pair]:
    pairs = []
    for place, record in enumerate(read_json(source.annotations, source.columns)):
        x, y, w, h = (int(record[f"bbox_{side}"]) for side in "xywh")
        path = Path(source.images) / record["image_path"]
        box = (x, y, x + w, y + h)
        where = f"record {place} of {source.annotations}"
        pairs.append(Pair(where, path, record["true_caption"], record["false_caption"], box))
    return pairs
