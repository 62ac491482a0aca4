"""What the page shows of evaluated items: scores, comparison, and a card for each chosen item."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from datagen.report import plots
from datagen.report.figures import Plot
from datagen.report.heat import overlay
from datagen.report.items import Answer, Choice, Item, ItemFiles
from datagen.report.pictures import png, small_jpeg

SHOWN = 11  # candidates of an item
MAX_SIDE = 560  # pixels of a picture
Maps = Mapping[tuple[int, str, str], NDArray[np.floating]]
"""Similarity maps, (rows, columns), by the model's number, the picture's id and the phrase."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two models on the items that both answered; shares are 0..1, `low` to `high` is 95 %."""

    benchmark: str
    items: int
    first: float
    second: float
    difference: float
    low: float
    high: float
    p_value: float
    only_first: int
    only_second: int


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """All that the report is told of evaluations."""

    files: ItemFiles
    choices: Sequence[Choice]
    comparisons: Sequence[Comparison] = ()
    pictures: Mapping[str, Image.Image | str] = field(default_factory=dict)
    """By id; a text says why a picture cannot be shown."""
    maps: Maps = field(default_factory=dict)


@dataclass(frozen=True)
class Mark:
    """A model's score of a candidate; `place` is in % of the item's scores, lowest to highest."""

    score: float
    place: float
    first: bool
    """It is the model's choice."""


@dataclass(frozen=True)
class Candidate:
    """A candidate; its text is cut where it differs from what is right: (piece, differs)."""

    right: bool
    pieces: tuple[tuple[str, bool], ...]
    marks: tuple[Mark | None, ...]


@dataclass(frozen=True)
class MapRow:
    """The maps of one model, in colours that mean the same: `low` is dark, `high` is bright."""

    name: str
    low: float
    high: float
    maps: tuple[tuple[str, bool, str], ...]
    """(phrase, whether it is right, data: URI of the overlay)"""


@dataclass(frozen=True)
class ItemCard:
    """An item as it is shown; the box is in pixels of the picture in the page."""

    benchmark: str
    image_id: str
    picture: int | None
    """Number of the picture in `Shown.pictures`."""
    problem: str
    size: tuple[int, int]
    box: tuple[float, float, float, float] | None
    candidates: tuple[Candidate, ...]
    more: int
    """Candidates with lower scores that are not shown."""
    rows: tuple[MapRow, ...]


@dataclass(frozen=True)
class Group:
    """The cards of one choice."""

    title: str
    lead: str
    total: int
    cards: tuple[ItemCard, ...]


@dataclass(frozen=True)
class Shown:
    """The section of evaluated items. Each picture is in it once: (data: URI, width, height)."""

    names: tuple[str, ...]
    scores: tuple[tuple[str, ...], ...]
    comparisons: tuple[Comparison, ...]
    plots: tuple[Plot, ...]
    pictures: tuple[tuple[str, int, int], ...]
    groups: tuple[Group, ...]
    maps: bool

    @property
    def count(self) -> int:
        """Of the items shown."""
        return sum(len(group.cards) for group in self.groups)


def show(evaluated: Evaluated) -> Shown:
    """Everything as the template wants it."""
    album = _Album(evaluated.pictures)
    groups = tuple(
        Group(
            choice.title,
            choice.lead,
            choice.total,
            tuple(
                _card(item, album, evaluated.maps, evaluated.files.names) for item in choice.items
            ),
        )
        for choice in evaluated.choices
    )
    return Shown(
        names=evaluated.files.names,
        scores=tuple(_scores(evaluated.files)),
        comparisons=tuple(evaluated.comparisons),
        plots=tuple(_plots(evaluated.files)),
        pictures=tuple(album.shown),
        groups=groups,
        maps=any(card.rows for group in groups for card in group.cards),
    )


class _Album:
    """Small pictures, each once."""

    def __init__(self, pictures: Mapping[str, Image.Image | str]) -> None:
        self._pictures = pictures
        self._numbers: dict[str, int] = {}
        self.shown: list[tuple[str, int, int]] = []

    def find(self, image_id: str) -> tuple[int | None, str]:
        """The picture's number, or what is wrong with it."""
        picture = self._pictures.get(image_id, "it is not there")
        if isinstance(picture, str):
            return None, picture
        if image_id not in self._numbers:
            self._numbers[image_id] = len(self.shown)
            factor = min(1.0, MAX_SIDE / max(picture.size))
            width, height = (max(1, round(side * factor)) for side in picture.size)
            self.shown.append((small_jpeg(picture, MAX_SIDE), width, height))
        return self._numbers[image_id], ""


def _scores(files: ItemFiles) -> list[tuple[str, ...]]:
    return [
        (
            name,
            _title(score.benchmark, score.task),
            f"{score.items:,}",
            f"{100 * score.value:.1f} %",
        )
        for number, name in enumerate(files.names)
        for score in files.scores(number)
    ]


def _plots(files: ItemFiles) -> list[Plot]:
    found = []
    for number, name in enumerate(files.names):
        width, bins = files.leads(number)
        if bins:
            svg = plots.histogram(f"leads-{number}", {name: bins}, width, "cosine")
            found.append(Plot(f"Lead of what is right, {name}", svg))
    return found


def _title(benchmark: str, task: str) -> str:
    return benchmark if task == "negatives" else f"{benchmark}, {task}"


def _card(item: Item, album: _Album, maps: Maps, names: Sequence[str]) -> ItemCard:
    number, problem = album.find(item.image_id)
    size = album.shown[number][1:] if number is not None else (1, 1)
    candidates = _candidates(item)
    return ItemCard(
        benchmark=_title(item.benchmark, item.task),
        image_id=item.image_id,
        picture=number,
        problem=problem,
        size=size,
        box=_pixels(item.box, *size),
        candidates=candidates,
        more=len(item.answers[0].candidates) - min(SHOWN, len(item.answers[0].candidates)),
        rows=tuple(
            row
            for model, (name, answer) in enumerate(zip(names, item.answers, strict=True))
            if (row := _map_row(model, name, answer, item.image_id, maps))
        ),
    )


def _pixels(
    box: tuple[float, float, float, float], width: int, height: int
) -> tuple[float, float, float, float] | None:
    """x, y, width, height; None for the whole picture."""
    if box == (0, 0, 1, 1):
        return None
    x1, y1, x2, y2 = (min(max(value, 0.0), 1.0) for value in box)
    return x1 * width, y1 * height, max(x2 - x1, 0.0) * width, max(y2 - y1, 0.0) * height


def _candidates(item: Item) -> tuple[Candidate, ...]:
    """What is right, then the best of what is wrong, in the first model's order."""
    first = item.answers[0]
    order = sorted(range(1, len(first.scores)), key=lambda place: -first.scores[place])
    texts = [first.candidates[place] for place in (0, *order[: SHOWN - 1])]
    for other in item.answers[1:]:  # what it prefers is shown in any case
        if len(other.scores) > 1 and other.preferred not in texts:
            texts[-1] = other.preferred
    columns = [_marks(answer, texts) for answer in item.answers]
    right = texts[0]
    return tuple(
        Candidate(number == 0, tuple(_pieces(right, text)), marks)
        for number, (text, marks) in enumerate(zip(texts, zip(*columns, strict=True), strict=True))
    )


def _marks(answer: Answer, texts: Sequence[str]) -> list[Mark | None]:
    scores = dict(zip(reversed(answer.candidates), reversed(answer.scores), strict=True))
    low, high = min(answer.scores), max(answer.scores)
    return [
        Mark(score, 100 * (score - low) / max(high - low, 1e-9), score == high)
        if (score := scores.get(text)) is not None
        else None
        for text in texts
    ]


def _pieces(right: str, text: str) -> list[tuple[str, bool]]:
    """The text in pieces, and of each whether it differs from what is right, word by word."""
    ours, theirs = right.split(), text.split()
    pieces = []
    for what, _, _, start, end in SequenceMatcher(None, ours, theirs, autojunk=False).get_opcodes():
        if end > start:
            pieces.append((" ".join(theirs[start:end]), what != "equal"))
    if all(differs for _, differs in pieces):
        return [(text, False)]  # nothing in common: marks would say nothing
    return pieces


def _map_row(model: int, name: str, answer: Answer, image_id: str, maps: Maps) -> MapRow | None:
    phrases = phrases_of(answer)
    found = [(phrase, maps.get((model, image_id, phrase))) for phrase in phrases]
    there = [(phrase, values) for phrase, values in found if values is not None]
    if not there:
        return None
    low = min(float(values.min()) for _, values in there)
    high = max(float(values.max()) for _, values in there)
    drawn = tuple(
        (phrase, phrase == phrases[0], png(overlay(values, low, high))) for phrase, values in there
    )
    return MapRow(name, low, high, drawn)


def phrases_of(answer: Answer) -> list[str]:
    """The phrases whose maps are shown: what is right, and the best of what is wrong."""
    return [answer.candidates[0], answer.preferred]
