"""Pictures against a true caption and a false one: what SugarCrepe and ARO have in common."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from datagen.evaluation.adapters import WholeImages
from datagen.evaluation.benchmark import Choices, Outcome, Source
from datagen.evaluation.breakdown import with_controls
from datagen.evaluation.encoder import Encoder
from datagen.evaluation.item_rows import rows_of_negatives
from datagen.evaluation.items import Picture, RegionItem, Skipped
from datagen.evaluation.misfit import misfit
from datagen.evaluation.region_negatives import Protocol, score
from datagen.images.decode import ImageError, decode


@dataclass(frozen=True, slots=True)
class Pair:
    """A file, both captions, and the part of the picture (x1, y1, x2, y2, pixels) that counts.

    `where` tells the place in the annotations.
    """

    where: str
    path: Path
    positive: str
    negative: str
    crop: tuple[int, int, int, int] | None = None


def run_pairs(
    encoder: Encoder, pairs: Sequence[Pair], source: Source, choices: Choices, *, name: str
) -> Outcome:
    """Share of the pictures nearer to the true caption, with its controls; ties are shared.

    Raises:
        EvaluationError: too many files are missing or not readable.
    """
    skipped = Skipped(limit=source.max_skipped)
    protocol = choices.protocol(Protocol())
    whole = WholeImages(encoder)
    scored = score(whole, _pictures(pairs, skipped), protocol)
    results = with_controls(scored, protocol, name, controls=choices.controls)
    results = [
        r  # controls see no picture
        if r.metric.startswith("text_only")
        else replace(r, settings={**r.settings, "regions": "whole picture"})
        for r in results
    ]
    items = rows_of_negatives(name, scored.items)
    return Outcome(results=results, items=items, skipped=skipped.reasons)


def _pictures(pairs: Sequence[Pair], skipped: Skipped) -> Iterator[Picture]:
    by_part: dict[tuple[Path, tuple | None], list[Pair]] = {}
    for pair in pairs:  # before anything is encoded
        if not (pair.positive.strip() and pair.negative.strip()):
            skipped.add(f"{pair.where} has an empty caption", 1, len(pairs))
        elif not pair.path.is_file():
            skipped.add(f"there is no image {pair.path}", 1, len(pairs))
        else:
            by_part.setdefault((pair.path, pair.crop), []).append(pair)
    for (path, crop), found in by_part.items():
        try:
            image = decode(path.read_bytes())
        except (OSError, ImageError) as error:
            skipped.add(f"cannot read the image {path}: {error}", len(found), len(pairs))
            continue
        if crop and (problem := misfit(crop, (None, None), image.size)):
            skipped.add(f"{found[0].where}: {problem}", len(found), len(pairs))
            continue
        items = [
            RegionItem(
                image_id=path.name,
                box=(0.0, 0.0, 1.0, 1.0),
                positive=pair.positive,
                negatives=(pair.negative,),
                area=(crop[2] - crop[0]) * (crop[3] - crop[1]) if crop else 0.0,
            )
            for pair in found
        ]
        part = image.crop(crop) if crop else image
        yield Picture(image_id=path.name, image=part, items=tuple(items))
