"""a model → results of benchmarks, with chance and text-only controls beside every score.

Example:
    python pipelines/evaluate.py --model runs/photos/models/first --data runs/held-out
    python pipelines/evaluate.py --model M --benchmark fgovd --annotations 1_attributes.jsonl \\
        --images coco
    python pipelines/evaluate.py --model M --recipe my-benchmarks.yaml
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro

from datagen.command import command
from datagen.evaluation.adapters import Crops
from datagen.evaluation.benchmark import Choices, Outcome, Source, find
from datagen.evaluation.cache import CachedEncoder, EmbeddingStore
from datagen.evaluation.detection_choices import DetectionChoices
from datagen.evaluation.encoder import Encoder
from datagen.evaluation.item_scores import compare, write_items
from datagen.evaluation.items import EvaluationError
from datagen.evaluation.metrics import Ties
from datagen.evaluation.open_clip_models import OpenClipEncoder
from datagen.evaluation.published import markdown
from datagen.evaluation.region_negatives import Duplicates, Fewer
from datagen.evaluation.result import Result, write_results, write_whole
from datagen.evaluation.transformers_models import TransformersEncoder
from datagen.images.fit import Fit, Interpolation
from datagen.training.encoder import ModelEncoder


@dataclass(frozen=True, kw_only=True)
class Run:
    """One benchmark of a recipe."""

    benchmark: str
    annotations: str = ""
    images: str = ""
    data: str = ""
    proposals: str = ""
    columns: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Config:
    """Arguments of evaluate.py."""

    model: str
    """Folder or name of a CLIP or FG-CLIP model, or the output folder of a training."""
    benchmark: str = ""
    """Name of a benchmark; without it, fgovd for annotations and tables for a dataset."""
    annotations: str = ""
    """The benchmark's annotations, in the format of its authors."""
    images: str = ""
    """Folder of the images that the annotations name."""
    data: str = ""
    """Folder or URL of a dataset whose tables are the benchmark."""
    proposals: str = ""
    """Boxes for open-vocabulary detection, a JSON file in the form of COCO's results;
    pipelines/propose.py makes one with a detector."""
    columns: dict[str, str] = field(default_factory=dict)
    """Other names of the annotations' fields: official name and yours."""
    several: Annotated[tuple[Run, ...], tyro.conf.Suppress] = ()
    """In a recipe: several benchmarks, each with benchmark, annotations, images, data,
    proposals, columns."""
    output: str = ""
    """JSON file for the results; if not given, evaluation.json in the model's folder, or for a
    model from a hub in a folder organisation--model. A Markdown table and a Parquet file with a row
    an item are written beside it."""
    against: str = ""
    """Parquet file of items of another evaluation, to compare with item by item."""
    ties: Ties | None = None
    """How an item counts whose positive shares the highest score with negatives; without it, as
    the benchmark's published scores do."""
    duplicates: Duplicates | None = None
    """What becomes of a positive among its negatives; without it, as published."""
    fewer_negatives: Fewer | None = None
    """What becomes of items with fewer than ten negatives; without it, as published."""
    long_text: bool | None = None
    """Encode phrases as long texts; without it, as published."""
    max_skipped: float = 0.01
    """Share of the items that may be left out because their image or box is not usable."""
    detection: DetectionChoices = field(default_factory=DetectionChoices)
    controls: bool = True
    """Compute the text-only controls."""
    resize: Fit | None = None
    """How a picture becomes the model's square: stretched, or its shorter side fitted and the
    middle cut out; without it, as published for FG-CLIP, or as the model's image processor does."""
    interpolation: Interpolation | None = None
    """Of the resize; without it as published, or as the model's image processor does."""
    cache: str = ""
    """Folder in which embeddings are kept, so that nothing is encoded twice and a run that was
    killed goes on; by default beside the output. "none": in memory only."""
    regions: Literal["dense", "crop"] = "dense"
    """Features of regions: from the model's dense features, or of crops; the only way with models
    of transformers and open_clip is crop."""
    loader: Literal["fgclip", "transformers", "open_clip"] = "fgclip"
    """Whose code runs the model: ours, for FG-CLIP and CLIP, that of transformers, for CLIP,
    SigLIP and SigLIP 2, or that of open_clip, if it is installed."""
    device: str = "cpu"
    threads: int = 0
    """Of torch on a CPU; 0: as many as it likes."""


def evaluate(config: Config) -> dict[str, Outcome]:
    """The outcome of each benchmark, by its place and name.

    Raises:
        UserError: a source or the model is not usable.
    """
    runs = _runs(config)
    benchmarks = [find(run.benchmark) for run in runs]
    if config.threads:
        torch.set_num_threads(config.threads)
    output, model = _output(config), _encoder(config)
    folder = config.cache or str(output.with_suffix(".cache"))
    encoder = CachedEncoder(model, EmbeddingStore(None if config.cache == "none" else folder))
    choices = Choices(
        ties=config.ties,
        duplicates=config.duplicates,
        fewer_negatives=config.fewer_negatives,
        long_text=config.long_text,
        detection=config.detection,
        controls=config.controls,
    )
    outcomes = {}
    for place, (run, benchmark) in enumerate(zip(runs, benchmarks, strict=True)):
        source = Source(
            annotations=run.annotations,
            images=run.images,
            data=run.data,
            proposals=run.proposals,
            columns=run.columns,
            max_skipped=config.max_skipped,
        )
        outcome = benchmark.run(encoder, source, choices)
        results = [_with_settings(result, encoder) for result in outcome.results]
        outcomes[f"{place} {run.benchmark}"] = replace(outcome, results=results)
    return outcomes


def _with_settings(result: Result, encoder: Encoder) -> Result:
    if result.metric.startswith("text_only"):
        return result  # the model has no part in it
    return replace(result, settings={**encoder.settings, **result.settings})


def _output(config: Config) -> Path:
    if config.output:
        return Path(config.output)
    # A folder of the name of a model on a hub would be taken for the model the next time.
    own = Path(config.model)
    folder = own if own.is_dir() else Path(re.sub(r"[/:]+", "--", config.model))
    return folder / "evaluation.json"


def _encoder(config: Config) -> Encoder:
    if config.loader == "fgclip":
        found = ModelEncoder.load(
            config.model,
            config.device,
            fit=config.resize or "stretch",
            interpolation=config.interpolation or "bicubic",
        )
        return Crops(found) if config.regions == "crop" else found
    if config.regions == "dense":
        raise EvaluationError(
            f"Models of {config.loader} have no dense features: give --regions crop."
        )
    load = TransformersEncoder if config.loader == "transformers" else OpenClipEncoder
    return Crops(
        load(config.model, config.device, fit=config.resize, interpolation=config.interpolation)
    )


def _runs(config: Config) -> list[Run]:
    if config.several:
        if config.benchmark or config.annotations or config.data:
            raise EvaluationError("Give several benchmarks in a recipe, or one as arguments.")
        return list(config.several)
    if bool(config.data) == bool(config.annotations or config.images):
        raise EvaluationError("Give either --data, or --annotations with --images.")
    return [
        Run(
            benchmark=config.benchmark or ("tables" if config.data else "fgovd"),
            annotations=config.annotations,
            images=config.images,
            data=config.data,
            proposals=config.proposals,
            columns=config.columns,
        )
    ]


def main(config: Config) -> None:
    """Evaluate, print the results, and write them."""
    if config.against and not Path(config.against).is_file():
        raise EvaluationError(f"There is no file of items {config.against}.")
    output = _output(config)
    outcomes = evaluate(config)
    results = [result for outcome in outcomes.values() for result in outcome.results]
    skipped = [reason for outcome in outcomes.values() for reason in outcome.skipped]
    items = (item for outcome in outcomes.values() for item in outcome.items)
    write_items(output.with_suffix(".parquet"), items)
    if config.against:
        results += compare(output.with_suffix(".parquet"), config.against)
    for result in results:
        print(_line(result))
    if skipped:
        print(f"evaluate: left out {len(skipped):,}: " + "; ".join(skipped[:10]))
    protocol = {"regions": config.regions, "loader": config.loader}
    write_results(output, results, config.model, skipped=skipped, settings=protocol)
    write_whole(output.with_suffix(".md"), markdown(results, config.model))
    print(f"evaluate: results in {output}, and beside it as .md and .parquet")


def _line(result: Result) -> str:
    parts = [f"n {result.n:,}"]
    if result.low is not None and result.high is not None:
        parts.append(f"95 % {result.low:.3f} to {result.high:.3f}")
    if result.chance is not None:
        parts.append(f"chance {result.chance:.3f}")
    if "p_value" in result.details:
        parts.append(f"p {result.details['p_value']:.4f}")
    return f"{result.benchmark} {result.metric}: {result.value:.3f} ({', '.join(parts)})"


if __name__ == "__main__":
    command(Config, main, __doc__)
