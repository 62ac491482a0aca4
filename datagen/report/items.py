"""The items of a benchmark that are worth looking at, chosen from evaluations' files of items.

Only the columns that `evaluation.parquet` describes are read, by DuckDB, so a file may be large.
An item's lead is the score of what is right less the best score of what is wrong. Leads of
different models are compared in standard deviations of each model's leads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from datagen.dataset import DatasetError

COLUMNS = ("benchmark", "task", "image_id", "box", "positive", "negatives", "scores", "credit")
# What the items of two files have in common; of other tasks, what is wrong is the model's choice.
_KEY = """benchmark, task, image_id, box,
    CASE WHEN task = 'i2t' THEN '' ELSE positive END AS asked,
    CASE WHEN task = 'negatives' THEN negatives ELSE [] END AS against"""


@dataclass(frozen=True, slots=True)
class Answer:
    """What one model made of an item: the score of each candidate, and its credit, 0..1."""

    candidates: tuple[str, ...]
    """What is right, then what is wrong."""
    scores: tuple[float, ...]
    credit: float

    @property
    def preferred(self) -> str:
        """The best of what is wrong."""
        wrong = range(1, len(self.scores))
        return self.candidates[max(wrong, key=lambda place: self.scores[place])]


@dataclass(frozen=True, slots=True)
class Item:
    """An item with the answers of one or two models; `box` is x1, y1, x2, y2 in 0..1."""

    benchmark: str
    task: str
    image_id: str
    box: tuple[float, float, float, float]
    answers: tuple[Answer, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """Items that are shown together, and how many of their kind there are in all."""

    title: str
    lead: str
    items: tuple[Item, ...]
    total: int


@dataclass(frozen=True, slots=True)
class Score:
    """A model's share of right answers, 0..1, on the `items` of a benchmark's task."""

    benchmark: str
    task: str
    items: int
    value: float


class ItemFiles:
    """One or two files of items.

    Args:
        paths: of `evaluation.parquet`.
        names: of the models, as they are shown.

    Raises:
        DatasetError: a file is missing or is no file of items.
    """

    def __init__(self, paths: Sequence[Path], names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._connection = duckdb.connect()
        for number, path in enumerate(paths):
            self._open(number, path)
        if len(paths) == 2:
            self._connection.execute(
                "CREATE VIEW pairs AS SELECT a.* EXCLUDE (number), a.number AS first, "
                "b.number AS second, a.credit - b.credit AS better, "
                "a.lead / nullif(a.spread, 0) - b.lead / nullif(b.spread, 0) AS apart "
                "FROM items0 AS a JOIN items1 AS b "
                "USING (benchmark, task, image_id, box, asked, against)"
            )

    def _open(self, number: int, path: Path) -> None:
        if not path.is_file():
            raise DatasetError(
                f"There is no file of items {path}: pipelines/evaluate.py writes it."
            )
        place = str(path).replace("'", "''")
        try:
            self._connection.execute(
                f"CREATE VIEW items{number} AS SELECT {_KEY}, credit, "  # noqa: S608
                "scores[1] - list_max(scores[2:]) AS lead, "
                "stddev(scores[1] - list_max(scores[2:])) OVER () AS spread, "
                f"file_row_number AS number FROM read_parquet('{place}', file_row_number = true)"
            )
            self._connection.execute(
                f"CREATE VIEW rows{number} AS SELECT {', '.join(COLUMNS)}, file_row_number "  # noqa: S608
                f"FROM read_parquet('{place}', file_row_number = true)"
            )
        except duckdb.Error as error:
            reason = str(error).splitlines()[0]
            raise DatasetError(f"{path} is no file of evaluated items: {reason}") from None

    def scores(self, number: int) -> list[Score]:
        """What the model of that number reached, a line a benchmark and task."""
        query = (
            f"SELECT benchmark, task, count(*), avg(credit) FROM items{number} "  # noqa: S608
            "GROUP BY ALL ORDER BY benchmark, task"
        )
        return [Score(*row) for row in self._connection.execute(query).fetchall()]

    def leads(self, number: int, bins: int = 40) -> tuple[float, list[tuple[float, int]]]:
        """A histogram of the leads: the bins' width, and (left edge, count) of each."""
        low, high = self._connection.execute(
            f"SELECT min(lead), max(lead) FROM items{number}"  # noqa: S608
        ).fetchall()[0]
        if low is None or low == high:
            return 0.0, []
        width = (high - low) / bins
        rows = self._connection.execute(
            f"SELECT floor(lead / {width})::BIGINT AS bin, count(*) FROM items{number} "  # noqa: S608
            "WHERE lead IS NOT NULL GROUP BY bin ORDER BY bin"
        ).fetchall()
        return width, [(place * width, count) for place, count in rows]

    def choose(self, number: int) -> list[Choice]:
        """At most `number` items of each kind, one a picture; kinds without items are left out."""
        if len(self.names) == 1:
            return _kept([self._worst("items0", "number", number)])
        first, second = self.names
        return _kept(
            [
                self._only(first, second, "better > 0", "apart DESC", number),
                self._only(second, first, "better < 0", "apart ASC", number),
                self._worst("pairs", "first, second", number),
            ]
        )

    def _worst(self, view: str, rows: str, number: int) -> Choice:
        lead = (
            "Where what is right falls furthest behind what is wrong"
            + (f", by {self.names[0]}" if len(self.names) == 2 else "")
            + ". One item a picture."
        )
        title = f"Worst items of {self.names[0]}"
        return self._choice(title, lead, view, rows, "credit < 1", "lead ASC", number)

    def _only(self, right: str, wrong: str, where: str, order: str, number: int) -> Choice:
        lead = f"Items that {right} gets right and {wrong} does not, the clearest first."
        title = f"Only {right} is right"
        return self._choice(title, lead, "pairs", "first, second", where, order, number)

    def _choice(
        self, title: str, lead: str, view: str, rows: str, where: str, order: str, number: int
    ) -> Choice:
        source = f"FROM {view} WHERE lead IS NOT NULL AND {where}"
        total = self._connection.execute(f"SELECT count(*) {source}").fetchall()[0][0]
        chosen = self._connection.execute(
            f"SELECT {rows} {source} "
            f"QUALIFY row_number() OVER (PARTITION BY image_id ORDER BY {order}, {rows}) = 1 "
            f"ORDER BY {order}, {rows} LIMIT {int(number)}"
        ).fetchall()
        return Choice(title, lead, tuple(map(self._item, chosen)), total)

    def _item(self, places: Sequence[int]) -> Item:
        rows = [
            self._connection.execute(
                f"SELECT {', '.join(COLUMNS)} FROM rows{number} WHERE file_row_number = {place}"  # noqa: S608
            ).fetchall()[0]
            for number, place in enumerate(places)
        ]
        benchmark, task, image_id, box = rows[0][:4]
        x1, y1, x2, y2 = box
        answers = tuple(
            Answer((positive, *negatives), tuple(scores), credit)
            for *_, positive, negatives, scores, credit in rows
        )
        return Item(benchmark, task, image_id, (x1, y1, x2, y2), answers)


def _kept(choices: Sequence[Choice]) -> list[Choice]:
    return [choice for choice in choices if choice.items]
