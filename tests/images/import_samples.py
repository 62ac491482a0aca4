"""Small pictures, and an import that runs the stage as an actor does but without Ray."""

import asyncio
import io
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager

import ray
from PIL import Image

from datagen.dataset import Dataset, ImageRow
from datagen.images.stage import ImagesStage, ImportConfig
from datagen.stage import RowError


def encoded(picture: Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def png(shade: int) -> bytes:
    return encoded(Image.new("RGB", (16, 12), (shade, 0, 0)))


def tar_of(members: list[tuple[str, bytes]], mode: str = "w") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


@contextmanager
def local_ray() -> Iterator[None]:
    """A small Ray of its own."""
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        yield
    finally:
        ray.shutdown()


def look_for(images, data) -> None:
    """What a run does before it writes anything."""
    ImagesStage(ImportConfig(images=str(images))).check_source(Dataset(str(data)))


class Imported:
    """What an import of every shard gives: rows and {uri: reason}, and which shard has which."""

    def __init__(self, data, images, **options) -> None:
        self.dataset = Dataset(str(data))
        stage = ImagesStage(ImportConfig(images=str(images), **options))
        stage.check_source(self.dataset)
        stage.prepare(self.dataset)
        self.rows: list[ImageRow] = []
        self.refused: dict[str, str] = {}
        self.shards: list[list[str]] = []
        self.expected = list(stage.expected_rows(self.dataset, stage.shards(self.dataset)))
        asyncio.run(self._run(stage))

    async def _run(self, stage: ImagesStage) -> None:
        await stage.open()
        for shard in stage.shards(self.dataset):
            items = list(stage.read(self.dataset, shard))
            self.shards.append([item.id for item in items])
            for item in items:
                try:
                    rows = await stage.process(item)
                    assert [row.uri for row in rows] == [item.id]
                    self.rows += rows
                except RowError as error:
                    assert item.id not in self.refused, "ids are unique in a source"
                    self.refused[item.id] = f"{type(error).__name__}: {error}"

    def reason(self, end: str) -> str:
        """Why the one row whose uri ends so was refused."""
        (reason,) = (reason for uri, reason in self.refused.items() if uri.endswith(end))
        return reason
