"""A stage without a model whose rows misbehave on request, and images for it."""

import asyncio
import errno
import os
import signal
from collections.abc import Iterator
from pathlib import Path

from datagen.dataset import CaptionRow, Dataset, ImageRow, Table, files
from datagen.dataset.lineage import Lineage
from datagen.engines.errors import EngineDeadError, ModelNotFoundError
from datagen.runner import RunConfig
from datagen.stage import Item, RowError, Stage

ROWS = 10
ROOT = str(Path(__file__).parents[2])
RUN = RunConfig(cpus_per_actor=0.5, rows_in_flight=8)


def no_space(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def echoed(image_id: str) -> CaptionRow:
    """A caption that repeats the image's id."""
    return CaptionRow(
        image_id=image_id,
        long=image_id,
        short=image_id,
        long_finish_reason="stop",
        short_finish_reason="stop",
        prompt_tokens=1,
        long_tokens=1,
        short_tokens=1,
    )


class Echo(Stage[Item]):
    """Captions that repeat the image's id; some ids misbehave."""

    name = "captions"
    source = Table.IMAGES
    output = Table.CAPTIONS
    key = "image_id"

    def __init__(self, marks: Path, model: str = "echo") -> None:
        self.marks, self.model = marks, model

    @property
    def lineage(self) -> Lineage:
        return Lineage(stage=self.name, settings={"model": self.model})

    async def open(self) -> None:
        if self.model == "absent":
            raise ModelNotFoundError("Model not found: absent.")

    def read(self, dataset: Dataset, shard: int) -> Iterator[Item]:
        for batch in dataset.read(Table.IMAGES, shard, ["image_id"]):
            for name in batch["image_id"].to_pylist():
                yield Item(name)

    async def process(self, item: Item) -> list[CaptionRow]:
        if item.id == "0-3":
            raise RowError("the third is bad")
        if item.id == "1-4":
            raise ZeroDivisionError("a defect")
        if item.id == "2-5" and self.model == "dies once" and not (self.marks / "died").exists():
            (self.marks / "died").touch()
            raise EngineDeadError("gone")
        if item.id == "1-7" and self.model == "poisoned":
            os.kill(os.getpid(), signal.SIGKILL)
        if item.id == "1-8" and self.model == "hangs":
            await asyncio.sleep(3600)
        if item.id[0] == "2" and self.model == "half bad" and not (self.marks / "mended").exists():
            raise RowError("not today")
        if self.model == "full disk":
            files.os.fsync = no_space
        with (self.marks / "calls").open("a") as calls:
            calls.write(item.id + "\n")
        return [echoed(item.id)]


def make_dataset(folder: Path) -> Dataset:
    """Three shards of ten images that nobody looks at."""
    dataset = Dataset(str(folder))
    for shard in range(3):
        rows = [
            ImageRow(
                image_id=f"{shard}-{n}",
                uri="u",
                bytes=b"b",
                width=1,
                height=1,
                format="PNG",
                phash="0",
            )
            for n in range(ROWS)
        ]
        dataset.commit(
            Table.IMAGES,
            shard,
            rows,
            lineage=Lineage(stage="images", settings={}),
            rows_in=ROWS,
        )
    return dataset
