"""The figures of the report: what is counted in a dataset, and the plots of it, by stage."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from duckdb import DuckDBPyConnection
from markupsafe import Markup

from datagen.report import plots
from datagen.report.summary import Summary

MAX_POINTS = 400  # of a training curve
MAX_CURVES = 6
LOSSES = ("loss", "total", "long", "short", "region", "hard")
BARS = 12


@dataclass(frozen=True)
class Plot:
    """A plot with what it shows, in words."""

    title: str
    svg: Markup


@dataclass(frozen=True)
class Lineage:
    """What a table was made with. More than one a table means that configurations were mixed."""

    table: str
    stage: str
    fingerprint: str
    code_version: str
    shards: int
    rows: int
    rows_in: int | None
    dead_letters: int | None
    settings: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Reason:
    """Dead letters of one stage with one class of error, and one of their messages."""

    stage: str
    error: str
    rows: int
    example: str


@dataclass(frozen=True)
class Pictures:
    """What the images are: their formats, and the smallest and largest of the longer sides."""

    formats: tuple[str, ...]
    smallest: int
    largest: int


@dataclass(frozen=True)
class Counts:
    """Rows of each table; `negatives` counts regions, `negative_items` the negatives themselves."""

    images: int
    captions: int
    regions: int
    negatives: int
    negative_items: int
    errors: int


def counts(connection: DuckDBPyConnection) -> Counts:
    """Rows of each view, from the files' metadata where that suffices."""
    return Counts(
        **{
            name: int(_rows(connection, f"SELECT count(*) FROM {name}")[0][0])  # noqa: S608
            for name in Counts.__dataclass_fields__
        }
    )


def pictures(connection: DuckDBPyConnection) -> Pictures | None:
    """What the images are; None where there is none."""
    side = "greatest(width, height)"
    query = f"SELECT list(DISTINCT format), min({side}), max({side}) FROM images"  # noqa: S608
    formats, smallest, largest = _rows(connection, query)[0]
    return Pictures(tuple(sorted(formats)), smallest, largest) if formats else None


def lineages(connection: DuckDBPyConnection) -> list[Lineage]:
    """One a table and configuration, in the order of the flow."""
    query = """
        SELECT table_name, coalesce(stage, ''), coalesce(fingerprint, ''),
            coalesce(code_version, ''), shards, "rows", rows_in, dead_letters, settings
        FROM lineage
    """
    return [
        Lineage(
            table=row[0],
            stage=row[1],
            fingerprint=row[2],
            code_version=row[3],
            shards=row[4],
            rows=row[5],
            rows_in=row[6],
            dead_letters=row[7],
            settings=tuple(_flat(json.loads(row[8] or "{}"))),
        )
        for row in _rows(connection, query)
    ]


def reasons(connection: DuckDBPyConnection) -> list[Reason]:
    """Dead letters, the most frequent reasons first, at most 50."""
    query = 'SELECT stage, error, "rows", example FROM error_reasons LIMIT 50'
    return [Reason(*row) for row in _rows(connection, query)]


def plots_of(connection: DuckDBPyConnection) -> dict[str, list[Plot]]:
    """The plots of each section that has rows to show."""
    return {
        "images": list(_image_plots(connection)),
        "captions": list(_caption_plots(connection)),
        "regions": list(_region_plots(connection)),
        "negatives": list(_negative_plots(connection)),
        "errors": list(_error_plots(connection)),
    }


def curves(folder: Path) -> list[Plot]:
    """Training curves of the `metrics.jsonl` at most three folders below: a line a run.

    Each line of a file is a JSON object with `step` and numbers, of which the losses are drawn,
    at most 400 points a run. Lines that are no JSON are left out: a run that was killed may end
    in half a line.
    """
    paths = [path for depth in range(4) for path in folder.glob("*/" * depth + "metrics.jsonl")]
    found: dict[str, dict[str, tuple[list[float], list[float]]]] = {}
    for path in sorted(paths)[: len(plots.SERIES)]:
        for name, points in _losses(path).items():
            kept = points[:: math.ceil(len(points) / MAX_POINTS)]
            if any(y for _, y in kept):  # a loss that the run does not use is 0 all the time
                run = path.parent.relative_to(folder).name or folder.name
                found.setdefault(name, {})[run] = ([x for x, _ in kept], [y for _, y in kept])
    names = sorted(found, key=lambda name: (LOSSES.index(name) if name in LOSSES else 99, name))
    return [
        Plot(
            _spoken(name) if "loss" in name else f"Loss: {name}",
            plots.lines(f"curve-{name}", found[name], "step"),
        )
        for name in names[:MAX_CURVES]
    ]


def experiment_plot(summary: Summary) -> Plot | None:
    """Region accuracy of each run beside the text-only control and chance."""
    wanted = ("region_accuracy", "text_only", "chance")
    groups = {
        str(row.get("run", number)): {
            _spoken(name): float(row[name])
            for name in wanted
            if isinstance(row.get(name), int | float)
        }
        for number, row in enumerate(summary.experiment, start=1)
    }
    groups = {run: values for run, values in groups.items() if values}
    if not groups:
        return None
    return Plot("Region against its negatives, by run, in %", plots.shares("experiment", groups))


def _image_plots(connection: DuckDBPyConnection) -> Iterator[Plot]:
    sides = _histogram(connection, "greatest(width, height)", "images", wanted=24)
    if sides:
        svg = plots.histogram("sides", {"images": sides[1]}, sides[0], "longer side, pixels")
        yield Plot("Size of the images", svg)
    formats = _bars(connection, "SELECT format, count(*) FROM images GROUP BY 1")
    if len(formats) > 1:
        yield Plot("Formats", plots.bars("formats", formats))


def _caption_plots(connection: DuckDBPyConnection) -> Iterator[Plot]:
    for column in ("long", "short"):
        words = rf"len(regexp_extract_all({column}, '\S+'))"
        found = _histogram(connection, words, "captions")
        if found:
            svg = plots.histogram(f"words-{column}", {column: found[1]}, found[0], "words")
            yield Plot(f"Length of the {column} captions", svg)
    flags = _bars(
        connection,
        "SELECT flag, count(*) FROM (SELECT unnest(checks) AS flag FROM captions) GROUP BY 1",
    )
    if flags:
        yield Plot("Captions flagged by the checks", plots.bars("caption-checks", flags))


def _region_plots(connection: DuckDBPyConnection) -> Iterator[Plot]:
    number = (
        "(SELECT count(r.region_id) AS n FROM captions AS c "
        "LEFT JOIN regions AS r USING (shard, image_id) GROUP BY shard, c.image_id)"
    )
    if not _rows(connection, "SELECT 1 FROM regions LIMIT 1"):
        return
    found = _histogram(connection, "n", number)
    if found:
        svg = plots.histogram("regions-an-image", {"images": found[1]}, found[0], "regions")
        yield Plot("Regions an image", svg)
    for title, value, label in (
        ("Detector's scores", "score", "score"),
        ("Lead over the next best phrase", "margin", "margin"),
    ):
        found = _histogram(connection, value, "regions", width=0.05)
        if found:
            yield Plot(title, plots.histogram(value, {"regions": found[1]}, 0.05, label))


def _negative_plots(connection: DuckDBPyConnection) -> Iterator[Plot]:
    query = 'SELECT "type", count(*) FROM negative_items GROUP BY 1'
    types = _bars(connection, query)
    if types:
        yield Plot("Negatives by changed attribute", plots.bars("negative-types", types))
    found = _histogram(connection, "len(negatives)", "negatives")
    if found:
        svg = plots.histogram("negatives-a-region", {"regions": found[1]}, found[0], "negatives")
        yield Plot("Negatives a region", svg)


def _error_plots(connection: DuckDBPyConnection) -> Iterator[Plot]:
    query = "SELECT stage || ': ' || error, count(*) FROM errors GROUP BY 1"
    found = _bars(connection, query)
    if found:
        yield Plot("Dead letters by stage and reason", plots.bars("dead-letters", found))


def _histogram(
    connection: DuckDBPyConnection,
    value: str,
    source: str,
    width: float | None = None,
    wanted: int = 20,
) -> tuple[float, list[tuple[float, int]]] | None:
    """Width and (left edge, count) of the bins, at least two; None where all values are alike.

    Whole numbers get bins of whole numbers.
    """
    if width is None:
        top = _rows(connection, f"SELECT max({value}) FROM {source}")[0][0]  # noqa: S608
        if top is None:
            return None
        width = _round_width(top / wanted)
    bins = _rows(
        connection,
        f"SELECT floor({value} / {width} + 1e-6)::BIGINT, count(*) FROM {source} "  # noqa: S608
        f"WHERE ({value}) IS NOT NULL GROUP BY 1 ORDER BY 1",
    )
    shift = 0.5 if width == 1 else 0.0  # a bar for a whole number stands over it
    if len(bins) < 2:
        return None  # a single bar says no more than its number
    return width, [(index * width - shift, n) for index, n in bins]


def _round_width(width: float) -> float:
    """The next larger of 1, 2, 5, 10, 20, 50, …"""
    if width <= 1:
        return 1.0
    power = 10 ** math.floor(math.log10(width))
    return float(next(step * power for step in (1, 2, 5, 10) if step * power >= width))


def _bars(connection: DuckDBPyConnection, query: str) -> list[tuple[str, int]]:
    """The most frequent labels; the rest together is the last bar."""
    rows = _rows(connection, f"SELECT * FROM ({query}) AS t(label, n) ORDER BY n DESC, label")  # noqa: S608
    shown = [(str(label), int(n)) for label, n in rows[:BARS]]
    rest = sum(int(n) for _, n in rows[BARS:])
    return [*shown, ("others", rest)] if rest else shown


def _losses(path: Path) -> dict[str, list[tuple[float, float]]]:
    points: dict[str, list[tuple[float, float]]] = {}
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file):
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if not isinstance(record, dict):
                continue
            step = record.get("step", number)
            for name, value in record.items():
                wanted = name in LOSSES or "loss" in name
                if wanted and isinstance(value, int | float) and math.isfinite(value):
                    points.setdefault(name, []).append((float(step), float(value)))
    return points


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value if isinstance(value, str) else json.dumps(value)


def _spoken(name: str) -> str:
    return name.replace("_", " ").replace("/", ", ").replace(".", ", ")


def _rows(connection: DuckDBPyConnection, query: str) -> Sequence[tuple[Any, ...]]:
    return connection.sql(query).fetchall()
