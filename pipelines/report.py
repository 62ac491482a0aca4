"""Write a report: one HTML file that needs no network.

python pipelines/report.py --data runs/demo/data --output runs/demo/report.html
python pipelines/report.py --output hard.html --pictures coco \
    --evaluation A/evaluation.parquet --against B/evaluation.parquet --maps A B
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import duckdb
import tyro
from PIL import Image

from datagen.dataset import DatasetError
from datagen.errors import UserError
from datagen.report.evaluated import Comparison, Evaluated, Maps, phrases_of
from datagen.report.items import Choice, ItemFiles
from datagen.report.page import write_report
from datagen.report.pictures import find_pictures


def main(
    output: Annotated[Path, tyro.conf.arg(help="the HTML file to write")],
    data: Annotated[str, tyro.conf.arg(help="the dataset: a folder or a URL")] = "",
    summary: Annotated[
        Path | None,
        tyro.conf.arg(help="measured figures of the run (default: summary.json beside the data)"),
    ] = None,
    runs: Annotated[
        Path | None,
        tyro.conf.arg(help="folder with metrics.jsonl of training runs (default: beside the data)"),
    ] = None,
    images: Annotated[int, tyro.conf.arg(help="how many images the gallery shows at most")] = 24,
    evaluation: Annotated[
        Path | None, tyro.conf.arg(help="evaluation.parquet of a model: its items are shown")
    ] = None,
    against: Annotated[
        Path | None, tyro.conf.arg(help="that of another model, compared item by item")
    ] = None,
    pictures: Annotated[
        str,
        tyro.conf.arg(help="pictures of the items: the benchmark's folder of images, or a dataset"),
    ] = "",
    items: Annotated[int, tyro.conf.arg(help="how many items of a kind are shown at most")] = 8,
    maps: Annotated[
        tuple[str, ...],
        tyro.conf.arg(help="models whose similarity maps are drawn, in the evaluations' order"),
    ] = (),
) -> int:
    """Write a report of a dataset, of evaluations, or of both: one HTML file."""
    beside = Path(data).absolute().parent if data and "://" not in data else None
    if summary is None and beside and (beside / "summary.json").is_file():
        summary = beside / "summary.json"
    try:
        evaluated = _evaluated(evaluation, against, pictures, items, maps)
        if not data and evaluated is None:
            raise DatasetError("There is nothing to report: give --data, or --evaluation, or both.")
        write_report(
            data, output, summary=summary, images=images, runs=runs or beside, evaluated=evaluated
        )
    except (UserError, duckdb.Error, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{output}: {output.stat().st_size / 1e6:.1f} MB")
    return 0


def _evaluated(
    evaluation: Path | None, against: Path | None, place: str, number: int, models: Sequence[str]
) -> Evaluated | None:
    paths = [path for path in (evaluation, against) if path is not None]
    if len(models) > len(paths) or (against and not evaluation):
        raise DatasetError("--against and --maps belong to an --evaluation, each model to its own.")
    if not paths:
        return None
    files = ItemFiles(paths, _names(paths))
    comparisons = _compared(*paths) if len(paths) == 2 else []
    choices = files.choose(number)
    ids = [item.image_id for choice in choices for item in choice.items]
    found = find_pictures(place, ids)
    return Evaluated(
        files=files,
        choices=choices,
        comparisons=comparisons,
        pictures=found,
        maps=_maps(models, choices, found),
    )


def _names(paths: Sequence[Path]) -> list[str]:
    """Of the models: their folders' names, or, where these are the same, the files' too."""
    folders = [path.absolute().parent.name for path in paths]
    if len(set(folders)) == len(folders):
        return folders
    return [f"{path.absolute().parent.name}/{path.stem}" for path in paths]


def _compared(first: Path, second: Path) -> list[Comparison]:
    from datagen.evaluation.item_scores import compare

    found = []
    for result in compare(first, second):
        details = result.details
        task = result.metric.removesuffix("difference").rstrip("_")
        found.append(
            Comparison(
                benchmark=f"{result.benchmark}, {task}" if task else result.benchmark,
                items=result.n,
                first=details["first"],
                second=details["second"],
                difference=result.value,
                low=result.low or 0.0,
                high=result.high or 0.0,
                p_value=details["p_value"],
                only_first=int(details["only_first_right"]),
                only_second=int(details["only_second_right"]),
            )
        )
    return found


def _maps(
    models: Sequence[str], choices: Sequence[Choice], pictures: dict[str, Image.Image | str]
) -> Maps:
    """Of what is right and of the best of what is wrong, for each item with a box."""
    if not models:
        return {}
    from datagen.evaluation.maps import similarity_maps
    from datagen.training.encoder import ModelEncoder

    found = {}
    for model, name in enumerate(models):
        encoder = ModelEncoder.load(name)
        for item in {item: None for choice in choices for item in choice.items}:
            picture = pictures[item.image_id]
            if item.task not in ("negatives", "classes") or isinstance(picture, str):
                continue
            phrases = phrases_of(item.answers[model])
            drawn = similarity_maps(encoder, picture, phrases, encoder.grid)
            for phrase, values in zip(phrases, drawn, strict=True):
                found[model, item.image_id, phrase] = values
    return found


if __name__ == "__main__":
    sys.exit(tyro.cli(main))
