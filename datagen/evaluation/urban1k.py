"""Long retrieval on Urban-1k (Zhang et al. 2024): a folder of images and one of texts.

`--annotations Urban1k/caption --images Urban1k/image`; a text and its image have one name.
"""

from __future__ import annotations

from pathlib import Path

from datagen.evaluation.annotation_files import no_columns, parsed
from datagen.evaluation.benchmark import Choices, Outcome, Source
from datagen.evaluation.encoder import Encoder
from datagen.evaluation.items import EvaluationError
from datagen.evaluation.retrieval import Captioned, run_files


def run(encoder: Encoder, source: Source, choices: Choices) -> Outcome:
    """R@k both ways. See `Benchmark`."""
    files = parsed(source, "urban1k", _read)
    return run_files(encoder, files, source, choices, name="urban1k", long=True)


def _read(source: Source) -> list[Captioned]:
    no_columns(source, "urban1k")
    texts = sorted(Path(source.annotations).glob("*.txt"))
    if not texts:
        raise EvaluationError(f"{source.annotations} is no folder with captions as .txt files.")
    images = {file.stem: file for file in Path(source.images).iterdir()}
    return [
        Captioned(
            images.get(text.stem, Path(source.images) / f"{text.stem}.jpg"),
            [text.read_text(encoding="utf-8").strip()],
        )
        for text in texts
    ]
