"""Zero-shot classification of whole pictures among ImageNet's 1,000 classes.

The names are those that CLIP's authors edited, from open_clip_torch. A class has the place of its
WordNet id among all 1,000 in alphabetic order, as in torchvision's ImageFolder.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from PIL import Image

from datagen.evaluation.annotation_files import no_columns
from datagen.evaluation.benchmark import Choices, Outcome, Source
from datagen.evaluation.classification import class_embeddings, rows_of_classes, top_k_results
from datagen.evaluation.encoder import Encoder
from datagen.evaluation.item_rows import WHOLE, ItemRow
from datagen.evaluation.items import EvaluationError, Skipped
from datagen.images.decode import ImageError, decode

CLASSES = 1000
SUFFIXES = (".jpeg", ".jpg", ".png")
BATCH = 64


@dataclass(frozen=True, slots=True)
class Labelled:
    """A file with the number of its class, 0 to 999."""

    path: Path
    label: int


def class_names() -> list[str]:
    """CLIP's names of the 1,000 classes, from a file of open_clip_torch that imports nothing.

    Raises:
        EvaluationError: open_clip_torch is not installed.
    """
    package = importlib.util.find_spec("open_clip")
    if package is None or not package.submodule_search_locations:
        raise EvaluationError(
            "The names of ImageNet's classes are in open_clip_torch: "
            "pip install --no-deps open_clip_torch"
        )
    file = Path(package.submodule_search_locations[0]) / "zero_shot_metadata.py"
    spec = importlib.util.spec_from_file_location("open_clip_zero_shot_metadata", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)  # open_clip itself needs torchvision, this file nothing
    return list(module.IMAGENET_CLASSNAMES)


def run_labelled(
    encoder: Encoder,
    files: Sequence[Labelled],
    source: Source,
    choices: Choices,
    *,
    name: str,
) -> Outcome:
    """Top-1 and top-5 of files with labels.

    Raises:
        EvaluationError: there is no file, or too many are missing or not readable.
    """
    no_columns(source, name)
    if not files:
        raise EvaluationError(f"{source.images} has no images for {name}.")
    names = class_names()
    skipped = Skipped(limit=source.max_skipped)
    for file in files:  # before anything is encoded
        if not file.path.is_file():
            skipped.add(f"there is no image {file.path}", 1, len(files))
    long = bool(choices.long_text)
    classes = class_embeddings(encoder, names, long=long)
    rows: list[ItemRow] = []
    opened = _opened(files, skipped)
    while group := list(islice(opened, BATCH)):
        images = encoder.encode_images([image for _, image in group], [()] * len(group))[0]
        rows += rows_of_classes(
            name,
            images,
            classes,
            names,
            [file.label for file, _ in group],
            [file.path.relative_to(source.images).as_posix() for file, _ in group],
            [WHOLE] * len(group),
        )
    results = top_k_results(rows, CLASSES, long=long)
    return Outcome(results=results, items=rows, skipped=skipped.reasons)


def in_folders(images: Path, labels: dict[str, int]) -> list[Labelled]:
    """The files of all folders with a name in `labels`, in alphabetic order."""
    return [
        Labelled(file, labels[folder.name])
        for folder in sorted(images.iterdir())
        if folder.name in labels
        for file in sorted(folder.iterdir())
        if file.suffix.lower() in SUFFIXES
    ]


def _opened(files: Sequence[Labelled], skipped: Skipped) -> Iterator[tuple[Labelled, Image.Image]]:
    for file in files:
        if not file.path.is_file():
            continue
        try:
            yield file, decode(file.path.read_bytes())
        except (OSError, ImageError) as error:
            skipped.add(f"cannot read the image {file.path}: {error}", 1, len(files))
