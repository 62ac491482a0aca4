"""The report: one HTML file of a dataset that shows everything without a network or a script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from duckdb import DuckDBPyConnection
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from datagen.dataset import DatasetError, Table
from datagen.report import figures
from datagen.report.evaluated import Evaluated, show
from datagen.report.figures import Counts, Lineage, Pictures, Plot
from datagen.report.gallery import cards
from datagen.report.summary import StageCost, Summary, read_summary
from datagen.report.views import open_views, tables_present

TITLES = {
    "images": ("Images", "Decoded and checked once; the bytes are kept as they came."),
    "captions": ("Captions", "A long and a short description of each image, by a language model."),
    "regions": ("Regions", "Phrases of the long caption, and the boxes that they name."),
    "negatives": (
        "Negatives",
        "For each region, phrases that differ from the true one in one attribute or more.",
    ),
    "training": ("Training", "The model learns from captions, regions and negatives."),
    "evaluation": (
        "Evaluation",
        "Trained models on unseen images, with a control that sees the text alone.",
    ),
}
LABELS = {
    "object_recall": "objects named",
    "finish_recall": "objects named, finish too",
    "held_out.object_recall": "objects named, of pairs never trained",
    "attribute_accuracy": "attributes right",
    "invented": "invented objects",
    "recall": "boxes found",
    "precision": "boxes right",
    "mean_iou": "mean IoU",
    "grounded": "phrases with a box",
    "exam.rejected": "phrases one attribute off rejected",
    "planted.found": "planted inventions found",
    "valid": "valid negatives",
    "false_negative_rate": "true of the image after all",
    "blind_accuracy": "text-only guess",
    "chance": "chance",
    "region_accuracy": "region accuracy",
    "text_only": "text only",
}
PLAIN = {"mean_iou"}  # in 0..1, but no share
COUNTED = {"negatives", "negatives_per_region"}  # the report counts these itself
DETAILED = ("exam.", "planted.", "shown.", "held_out.")
"""Of these only what has a label is shown; summary.json holds the rest."""


@dataclass(frozen=True)
class Tile:
    """One number with what it is."""

    value: str
    label: str


@dataclass(frozen=True)
class Section:
    """One arrow of the flow."""

    key: str
    title: str
    lead: str
    count: str
    facts: tuple[str, ...]
    tiles: tuple[Tile, ...]
    plots: tuple[Plot, ...]
    lineages: tuple[Lineage, ...]


@dataclass(frozen=True)
class Experiment:
    """The table of training runs, as text; `best` marks the cells that are their column's best."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    best: frozenset[tuple[int, int]]


def write_report(
    data: str,
    output: Path,
    summary: Path | None = None,
    images: int = 24,
    runs: Path | None = None,
    evaluated: Evaluated | None = None,
) -> None:
    """Write the report of a dataset, of evaluations, or of both.

    Args:
        data: the dataset, a folder or a URL; may be empty where there are evaluations.
        output: the HTML file; its folder is made if need be.
        summary: the run's `summary.json`; without it those figures are left out.
        images: how many images the gallery shows at most.
        runs: a folder that is searched for `metrics.jsonl` of training runs.
        evaluated: evaluated items that were chosen to be looked at.

    Raises:
        DatasetError: there is no dataset, or a file of it cannot be read.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    figures_of_run = read_summary(summary) if summary else Summary()
    html = environment.get_template("template.html").render(
        title="Dataset report" if data else "Evaluation report",
        data=data,
        synthetic=figures_of_run.synthetic,
        shown=show(evaluated) if evaluated else None,
        **(_of_dataset(data, figures_of_run, images, runs) if data else _NOTHING),
    )
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(html, encoding="utf-8")


_NOTHING: Mapping[str, Any] = {
    "sections": (),
    "reasons": (),
    "error_plots": (),
    "experiment": None,
    "experiment_plot": None,
    "cards": (),
    "most_regions": 0,
}
"""What the template gets of a dataset where there is none."""


def _of_dataset(data: str, summary: Summary, images: int, runs: Path | None) -> dict[str, Any]:
    connection = open_views(data)
    present = tables_present(connection)
    if not present:
        raise DatasetError(
            f"There is nothing to report in {data}: none of {', '.join(Table)} holds a shard. "
            "Name the folder that the pipelines wrote to."
        )
    shown = list(cards(connection, images))
    plots = figures.plots_of(connection)
    plots["training"] = figures.curves(runs) if runs else []
    return {
        "sections": _sections(connection, summary, present, plots),
        "reasons": figures.reasons(connection),
        "error_plots": plots["errors"],
        "experiment": _experiment(summary),
        "experiment_plot": figures.experiment_plot(summary),
        "cards": shown,
        "most_regions": max((len(card.regions) for card in shown), default=0),
    }


def _sections(
    connection: DuckDBPyConnection,
    summary: Summary,
    present: Sequence[Table],
    plots: Mapping[str, Sequence[Plot]],
) -> list[Section]:
    counts = figures.counts(connection)
    pictures = figures.pictures(connection)
    lineages = figures.lineages(connection)
    sections = []
    for key, (title, lead) in TITLES.items():
        cost = summary.stages.get(key, StageCost())
        tiles = (*_counted(key, counts, pictures), *_measured(summary, key))
        made = tuple(lineage for lineage in lineages if lineage.table == key)
        told = key == "evaluation" and summary.experiment
        if not (key in present or tiles or plots.get(key) or cost != StageCost() or told):
            continue
        sections.append(
            Section(
                key=key,
                title=title,
                lead=lead,
                count=_count(key, counts, cost),
                facts=tuple(_facts(key, counts, cost, made)),
                tiles=tiles,
                plots=tuple(plots.get(key, ())),
                lineages=made,
            )
        )
    return sections


def _count(key: str, counts: Counts, cost: StageCost) -> str:
    rows = counts.negative_items if key == "negatives" else getattr(counts, key, cost.rows)
    return "" if rows is None else f"{rows:,}"


def _counted(key: str, counts: Counts, pictures: Pictures | None) -> list[Tile]:
    def ratio(part: int, whole: int, label: str) -> list[Tile]:
        return [Tile(f"{part / whole:.1f}", label)] if whole and part else []

    if key == "images" and pictures:
        sides = dict.fromkeys(f"{side:,}" for side in (pictures.smallest, pictures.largest))
        return [
            Tile(", ".join(pictures.formats), "format" + "s" * (len(pictures.formats) > 1)),
            Tile(f"{' to '.join(sides)} px", "longer side"),
        ]
    if key == "regions":
        return ratio(counts.regions, counts.captions, "regions an image")
    if key == "negatives" and counts.negative_items:
        return ratio(counts.negative_items, counts.negatives, "negatives a region")
    return []


def _measured(summary: Summary, key: str) -> list[Tile]:
    return [
        Tile(_number(name, value), label_of(name))
        for name, value in summary.measures.get(key, {}).items()
        if name not in COUNTED and (name in LABELS or not name.startswith(DETAILED))
    ]


def _facts(key: str, counts: Counts, cost: StageCost, made: Sequence[Lineage]) -> list[str]:
    facts = [f"for {counts.negatives:,} regions"] if key == "negatives" else []
    if cost.seconds is not None:
        facts.append(_duration(cost.seconds))
    if cost.rows_per_second is not None:
        rate = cost.rows_per_second
        facts.append(f"{rate:,.0f} rows/s" if rate >= 100 else f"{rate:,.3g} rows/s")
    dead = cost.dead_letters
    if made and all(lineage.dead_letters is not None for lineage in made):
        dead = sum(lineage.dead_letters or 0 for lineage in made)
    if dead is not None:
        facts.append(f"{dead:,} dead letter{'' if dead == 1 else 's'}")
    return facts


def _experiment(summary: Summary) -> Experiment | None:
    names = list(dict.fromkeys(name for row in summary.experiment for name in row))
    if not names:
        return None
    best = set()
    for column, name in enumerate(names):
        values = [row.get(name) for row in summary.experiment]
        numbers = [value for value in values if isinstance(value, int | float)]
        if name in ("chance", "text_only") or len(set(numbers)) < 2 or not _is_quality(name):
            continue
        best |= {(row, column) for row, value in enumerate(values) if value == max(numbers)}
    rows = tuple(tuple(_cell(name, row.get(name)) for name in names) for row in summary.experiment)
    return Experiment(tuple(label_of(name) for name in names), rows, frozenset(best))


def _is_quality(name: str) -> bool:
    return any(word in name for word in ("accuracy", "retrieval", "recall", "r@", "R@"))


def _cell(name: str, value: str | float | None) -> str:
    if value is None:
        return "–"
    return value if isinstance(value, str) else _number(name, value)


def _number(name: str, value: float) -> str:
    """Shares as percent; whole numbers as they are; the rest with three digits."""
    if isinstance(value, float) and 0 <= value <= 1:
        return f"{value:.2f}" if name in PLAIN else f"{100 * value:.1f} %"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.3g}"


def label_of(name: str) -> str:
    """The words for a name of `summary.json`."""
    return LABELS.get(name, name.replace("_", " ").replace(".", ", "))


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
