"""Small plots as inline SVG that takes its colours from the page, so it is right in the dark too.

Matplotlib draws with the placeholder colours below; they leave as CSS variables. It escapes what
it writes, and mathematics in labels is off, so labels may come from data.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

_INK, _LINE, _SURFACE = "#010203", "#010204", "#010205"
SERIES = ("#010210", "#010211", "#010212", "#010213", "#010214", "#010215")
_VARIABLES = {
    _INK: "var(--soft)",
    _LINE: "var(--line)",
    _SURFACE: "var(--panel)",
    **{colour: f"var(--s{number})" for number, colour in enumerate(SERIES)},
}
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 8,
    "text.color": _INK,
    "axes.edgecolor": _LINE,
    "axes.labelcolor": _INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.axisbelow": True,
    "grid.color": _LINE,
    "grid.linewidth": 0.6,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.4,
}
WIDTH, HEIGHT = 4.4, 2.0  # inches; the page stretches the plot to its column
LONGEST_LABEL = 34


def histogram(
    name: str, series: Mapping[str, Sequence[tuple[float, int]]], bin_width: float, x_label: str
) -> Markup:
    """Bars over bins; each series is a list of (left edge of the bin, count)."""
    with matplotlib.rc_context(_STYLE):
        figure, axes = _axes()
        for number, (label, bins) in enumerate(series.items()):
            edges, counts = [b for b, _ in bins], [n for _, n in bins]
            axes.bar(
                edges,
                counts,
                width=bin_width * 0.9,
                align="edge",
                color=SERIES[number % len(SERIES)],
                label=label,
            )
        _count_axis(axes, x_label, legend=len(series) > 1)
        return _svg(figure, name)


def bars(name: str, values: Sequence[tuple[str, int]], x_label: str = "") -> Markup:
    """Horizontal bars, one a label, the first on top, with their counts written beside them."""
    with matplotlib.rc_context(_STYLE):
        figure, axes = _axes(height=0.35 + 0.22 * max(len(values), 3))
        labels = [_short(label) for label, _ in values]
        drawn = axes.barh(range(len(values)), [n for _, n in values], color=SERIES[0], height=0.66)
        axes.bar_label(drawn, [f"{n:,}" for _, n in values], padding=3, color=_INK)
        axes.set_yticks(range(len(values)), labels)
        axes.set_ylim(max(len(values), 3) - 0.5, -0.5)
        axes.margins(x=0.14)
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)
        axes.set_xlabel(x_label)
        return _svg(figure, name)


def lines(
    name: str, series: Mapping[str, tuple[Sequence[float], Sequence[float]]], x_label: str
) -> Markup:
    """One line a series of (x values, y values)."""
    with matplotlib.rc_context(_STYLE):
        figure, axes = _axes()
        for number, (label, (xs, ys)) in enumerate(series.items()):
            axes.plot(xs, ys, color=SERIES[number % len(SERIES)], label=label)
        axes.grid(axis="y")
        axes.set_xlabel(x_label)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(4))
        if len(series) > 1:
            axes.legend()
        return _svg(figure, name)


def shares(name: str, groups: Mapping[str, Mapping[str, float]]) -> Markup:
    """Horizontal bars of shares, 0..1, written in %: a group a run, in each a bar a measure."""
    measures = list(dict.fromkeys(measure for group in groups.values() for measure in group))
    step = 0.8 / max(len(measures), 1)
    with matplotlib.rc_context(_STYLE):
        figure, axes = _axes(height=0.5 + 0.15 * len(groups) * (len(measures) + 1))
        for number, measure in enumerate(measures):
            places = [i - 0.4 + (number + 0.5) * step for i in range(len(groups))]
            values = [group.get(measure, 0.0) for group in groups.values()]
            colour = SERIES[number % len(SERIES)]
            drawn = axes.barh(places, values, height=step * 0.88, color=colour, label=measure)
            axes.bar_label(drawn, [f"{100 * v:.1f}" for v in values], padding=3, color=_INK)
        axes.set_yticks(range(len(groups)), [_short(run) for run in groups])
        axes.set_ylim(len(groups) - 0.5, -0.5)
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)
        axes.margins(x=0.1)
        figure.legend(ncols=len(measures), loc="outside upper left")
        return _svg(figure, name)


def _axes(height: float = HEIGHT) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    return figure, figure.subplots()


def _count_axis(axes: Axes, x_label: str, legend: bool) -> None:
    axes.grid(axis="y")
    axes.set_xlabel(x_label)
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    if legend:
        axes.legend()


def _short(label: str) -> str:
    return label if len(label) <= LONGEST_LABEL else label[: LONGEST_LABEL - 1] + "…"


def _svg(figure: Figure, name: str) -> Markup:
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with matplotlib.rc_context({"svg.hashsalt": name, "svg.id": None}):
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r' (xmlns(:\w+)?|width|height|version)="[^"]*"', "", text, count=5)
    text = re.sub(r' id="(?!p[0-9a-f]+")[^"]*"', "", text)  # only clip paths are referred to
    text = re.sub(r" font-family: [^;]*;", "", text)  # the page's font
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, variable)
    return Markup(text)  # noqa: S704 - matplotlib escapes the labels; a test holds it to that
