"""ImageNet-1k (Russakovsky et al. 2015): zero-shot classification of its validation pictures.

The pictures lie in a folder a class, named by WordNet ids, or all in one folder:

- `--images val`, with all 1,000 folders n01440764 to n15075141;
- `--images val --annotations LOC_synset_mapping.txt`, with some of the folders;
- `--images val --annotations LOC_val_solution.csv`, ILSVRC2012_val_00000001.JPEG to …50000;
- `--images val --annotations ILSVRC2012_devkit_t12`, the same, with the development kit's labels.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from pathlib import Path

from scipy.io import loadmat

from datagen.evaluation.benchmark import Choices, Outcome, Source
from datagen.evaluation.encoder import Encoder
from datagen.evaluation.imagenet_classes import CLASSES, Labelled, in_folders, run_labelled
from datagen.evaluation.items import EvaluationError

_SYNSET = re.compile(r"n\d{8}\b")


def run(encoder: Encoder, source: Source, choices: Choices) -> Outcome:
    """Top-1 and top-5. See `Benchmark`."""
    if not source.images or not Path(source.images).is_dir():
        raise EvaluationError("The benchmark imagenet needs --images, a folder.")
    return run_labelled(encoder, _read(source), source, choices, name="imagenet")


def _read(source: Source) -> list[Labelled]:
    images, notes = Path(source.images), Path(source.annotations)
    if not source.annotations:
        found = [folder.name for folder in images.iterdir() if _SYNSET.fullmatch(folder.name)]
        return in_folders(images, numbered(found, f"{images} has folders of"))
    if notes.is_dir():
        return _devkit(images, notes)
    try:
        lines = notes.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise EvaluationError(f"Cannot read {notes}: {error}.") from None
    if notes.suffix == ".csv":
        return _solution(images, notes, lines)
    found = [line[:9] for line in lines if _SYNSET.match(line)]
    return in_folders(images, numbered(found, f"{notes} names"))


def numbered(synsets: Iterable[str], what: str) -> dict[str, int]:
    """The number of each class, by its WordNet id.

    Raises:
        EvaluationError: they are not the 1,000 of ImageNet-1k, so their numbers are not known.
    """
    found = sorted(set(synsets))
    if len(found) != CLASSES:
        raise EvaluationError(
            f"{what} {len(found):,} classes with WordNet ids, where ImageNet-1k has {CLASSES:,}: "
            "which class is which cannot be told. With some of the folders, give "
            "LOC_synset_mapping.txt as --annotations; with all pictures in one folder, "
            "LOC_val_solution.csv or the folder ILSVRC2012_devkit_t12."
        )
    return {synset: number for number, synset in enumerate(found)}


def _solution(images: Path, notes: Path, lines: list[str]) -> list[Labelled]:
    rows = list(csv.DictReader(lines))
    if not rows or not {"ImageId", "PredictionString"} <= set(rows[0]):
        raise EvaluationError(f"{notes} has no columns ImageId and PredictionString.")
    synsets = {row["ImageId"]: row["PredictionString"][:9] for row in rows}
    labels = numbered(synsets.values(), f"{notes} names")
    return [Labelled(images / f"{name}.JPEG", labels[s]) for name, s in sorted(synsets.items())]


def _devkit(images: Path, kit: Path) -> list[Labelled]:
    """The kit numbers classes otherwise: its own number of a class leads to the WordNet id."""
    truth = kit / "data" / "ILSVRC2012_validation_ground_truth.txt"
    meta = kit / "data" / "meta.mat"
    if not truth.is_file() or not meta.is_file():
        raise EvaluationError(f"{kit} is no development kit: it needs {truth} and {meta}.")
    synsets = loadmat(meta, squeeze_me=True)["synsets"]
    leaves = {int(s["ILSVRC2012_ID"]): str(s["WNID"]) for s in synsets if not s["num_children"]}
    labels = numbered(leaves.values(), f"{meta} names")
    return [
        Labelled(images / f"ILSVRC2012_val_{i:08d}.JPEG", labels[leaves[int(number)]])
        for i, number in enumerate(truth.read_text().split(), start=1)
    ]
