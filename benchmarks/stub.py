"""What the runner's benchmarks share: images that nobody looks at, and a stage without a model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from datagen.dataset import CaptionRow, Dataset, ImageRow, Table
from datagen.dataset.lineage import Lineage
from datagen.stage import Item, Stage


class StubStage(Stage[Item]):
    """Captions from an engine that answers at once."""

    name: ClassVar[str] = "captions"
    source: ClassVar[Table | None] = Table.IMAGES
    output: ClassVar[Table] = Table.CAPTIONS
    key: ClassVar[str] = "image_id"

    @property
    def lineage(self) -> Lineage:
        """See `Stage.lineage`."""
        return Lineage(stage=self.name, settings={"model": "stub"})

    def read(self, dataset: Dataset, shard: int) -> Iterator[Item]:
        """See `Stage.read`."""
        for batch in dataset.read(Table.IMAGES, shard, ["image_id"]):
            for name in batch["image_id"].to_pylist():
                yield Item(name)

    async def process(self, item: Item) -> Sequence[CaptionRow]:
        """See `Stage.process`."""
        return self.rows(item)

    def rows(self, item: Item) -> list[CaptionRow]:
        """A caption of usual length."""
        return [
            CaptionRow(
                image_id=item.id,
                long=f"{item.id} shows a large red metal mug beside a small blue bowl. " * 10,
                short=f"{item.id} a mug and a bowl",
                long_finish_reason="stop",
                short_finish_reason="stop",
                prompt_tokens=100,
                long_tokens=150,
                short_tokens=20,
            )
        ]


def make_images(root: Path, rows: int, shards: int) -> Dataset:
    """Images without bytes; `image_id` counts from 0 in eight digits."""
    dataset, lineage = Dataset(str(root)), Lineage(stage="images", settings={})
    for shard in range(shards):
        ids = [f"{n:08d}" for n in range(rows * shard // shards, rows * (shard + 1) // shards)]
        table = [
            ImageRow(image_id=name, uri=name, bytes=b"", width=1, height=1, format="PNG", phash="0")
            for name in ids
        ]
        dataset.commit(Table.IMAGES, shard, table, lineage=lineage, rows_in=len(table))
    return dataset
