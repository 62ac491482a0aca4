"""What a stage of generation is: it turns the items of a shard into rows of a table."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import ClassVar, Generic, TypeVar

from datagen.dataset import Dataset, Table
from datagen.dataset.lineage import Lineage
from datagen.dataset.rows import Row
from datagen.engines.chat import Usage


@dataclass(frozen=True, slots=True)
class Item:
    """One unit of work; subclasses add what the stage needs of its input rows."""

    id: str


ItemT = TypeVar("ItemT", bound=Item)


class RowError(ValueError):
    """This row cannot be done, whoever tries; it becomes a dead letter with this message."""


class Stage(ABC, Generic[ItemT]):
    """One arrow of the flow. It reads shard k of its inputs and makes shard k of its output.

    An instance is made on the driver, sent to every actor, and opened there: keep the
    constructor light and load models in `open`.
    """

    name: ClassVar[str]
    source: ClassVar[Table | None]
    """The table it reads; None for a stage that reads from outside of the dataset."""
    output: ClassVar[Table]
    beside: ClassVar[tuple[Table, ...]] = ()
    """Other tables whose rows it makes; their shards are committed before that of `output`."""
    key: ClassVar[str]
    """The column of its rows that holds `Item.id`: a retry joins old and new rows by it."""
    unique: ClassVar[str | None] = None
    """A column of the output whose values may come once in the whole table; a row whose value is
    in another shard already becomes a dead letter (`Duplicate`)."""

    @property
    @abstractmethod
    def lineage(self) -> Lineage:
        """All settings that change the rows."""

    def check(self) -> None:
        """Look, on the driver and cheaply, whether the stage can run: are the models there?

        Raises:
            ModelNotFoundError: a model is not there; the run ends with this sentence.
        """

    def check_source(self, dataset: Dataset) -> None:
        """Look, on the driver and before anything is written, whether there is what `read` needs
        from outside of the dataset.

        Raises:
            UserError: it is not there, and some of it is still to be read.
        """

    def prepare(self, dataset: Dataset) -> None:
        """On the driver, after the claim and before `shards`: write down what `read` will need."""

    def shards(self, dataset: Dataset) -> Sequence[int]:
        """Numbers of the shards that the output will have, ascending."""
        assert self.source is not None
        return dataset.shards(self.source)

    def expected_rows(self, dataset: Dataset, shards: Sequence[int]) -> Sequence[int]:
        """How many items each of these shards has, where it is known cheaply; -1 where not."""
        assert self.source is not None
        return dataset.counts(self.source, shards).rows.tolist()

    async def open(self) -> None:
        """Load models and start engines, in the actor.

        Raises:
            ModelNotFoundError: a model is not there; the run ends with this sentence.
        """

    @abstractmethod
    def read(self, dataset: Dataset, shard: int) -> Iterator[ItemT]:
        """Stream the items of one shard, joining the tables it needs by shard."""

    @abstractmethod
    async def process(self, item: ItemT) -> Sequence[Row]:
        """Make the rows of one item. Runs for many items at once, so it must not block.

        Raises:
            RowError, RequestError: the item becomes a dead letter.
            EngineDeadError: the actor ends and its shards are done again by another.
        """

    def usage(self) -> Usage:
        """Requests and tokens of this actor since `open`; for progress and estimates."""
        return Usage()

    def preview(self, item: ItemT, rows: Sequence[Row]) -> str:
        """One row and what came of it, for people (a dry run prints it)."""
        lines = [f"{self.key}: {item.id}"]
        for row in rows:
            lines += [f"  {name}: {value}" for name, value in asdict(row).items()]
        return "\n".join(lines)

    async def close(self) -> None:
        """Free what `open` took."""
