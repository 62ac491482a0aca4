"""What `engine_efficiency` asks: captions of drawn scenes, and lines to rewrite."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from benchmarks.stub import StubStage, make_images
from datagen.captions.stage import CaptionsConfig, CaptionsStage
from datagen.dataset import CaptionRow, Dataset, ImageRow, Table
from datagen.dataset.lineage import Lineage
from datagen.demo.draw import draw
from datagen.demo.world import make_scene
from datagen.engines.chat import ChatEngine, ChatReply, ChatRequest, Sampling, Usage
from datagen.engines.config import EngineConfig
from datagen.engines.open import open_engine
from datagen.images.decode import inspect
from datagen.stage import Item, RowError, Stage

ROOT = Path(__file__).parents[1]
CAPTIONER = str(ROOT / "datagen" / "demo" / "models" / "captioner")
SHARDS = 8
SOURCE_SIDE, ENGINE_SIDE = 512, 128
"""Pictures come as JPEG of one size, in pixels, and go to the engine in the other."""
SYSTEM = (
    "You rewrite captions of pictures. Say the same in other words, in one sentence, and keep "
    "every object, colour, material and number as it is. Add nothing that is not said."
)
KINDS = ("mug", "ball", "chair", "lamp", "book", "hat", "boat", "clock", "basket", "drum")
COLOURS = ("red", "green", "blue", "orange", "purple", "white", "black", "yellow")


class TextStage(StubStage):
    """Asks a text model to rewrite a line; `image_id` is the line's number."""

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        self._engine: ChatEngine | None = None

    async def open(self) -> None:
        """See `Stage.open`."""
        self._engine = open_engine(self._config)

    async def process(self, item: Item) -> Sequence[CaptionRow]:
        """One request a row."""
        assert self._engine is not None
        reply = await self._engine.chat(text_request(int(item.id)))
        return [replace(self.rows(item)[0], long=reply.text, short=reply.text)]

    def usage(self) -> Usage:
        """See `Stage.usage`."""
        return self._engine.usage if self._engine is not None else Usage()

    async def close(self) -> None:
        """See `Stage.close`."""
        if self._engine is not None:
            await self._engine.close()


def text_request(number: int) -> ChatRequest:
    """Constant text in `system`; of 32 tokens, drawn with a seed."""
    first, second = KINDS[number % 10], KINDS[number // 10 % 10]
    colour = COLOURS[number % 8]
    return ChatRequest(
        system=SYSTEM,
        text=f"Picture {number}: a {colour} {first} beside {number % 5 + 2} wooden {second}s.",
        sampling=Sampling(max_tokens=32, temperature=0.7, seed=number),
    )


def text_workload(folder: Path, model: str, rows: int) -> tuple[Stage, Dataset]:
    """The stage and its input."""
    config = EngineConfig(model=model, max_model_len=512, max_num_seqs=64)
    return TextStage(config), make_images(folder, rows, SHARDS)


def image_workload(folder: Path, rows: int) -> tuple[Stage, Dataset]:
    """The captions stage on drawn scenes, two requests a row."""
    prompts = ROOT / "prompts" / "demo"
    config = CaptionsConfig(
        engine=EngineConfig(model=CAPTIONER, dtype="float32", max_model_len=512, max_num_seqs=64),
        long_prompt=str(prompts / "caption_long.md"),
        short_prompt=str(prompts / "caption_short.md"),
        max_side=ENGINE_SIDE,
    )
    dataset, lineage = Dataset(str(folder)), Lineage(stage="images", settings={})
    for shard in range(SHARDS):
        numbers = range(rows * shard // SHARDS, rows * (shard + 1) // SHARDS)
        table = [_image(number) for number in numbers]
        dataset.commit(Table.IMAGES, shard, table, lineage=lineage, rows_in=len(table))
    return CaptionsStage(config), dataset


def _image(number: int) -> ImageRow:
    buffer = io.BytesIO()
    picture = draw(make_scene("tiny-test", number))
    picture.resize((SOURCE_SIDE, SOURCE_SIDE)).save(buffer, "JPEG", quality=90)
    info = inspect(buffer.getvalue())
    return ImageRow(
        image_id=info.image_id,
        uri=f"{number}.jpg",
        bytes=buffer.getvalue(),
        width=info.width,
        height=info.height,
        format=info.format,
        phash=info.phash,
    )


class _Recorder:
    """An engine that only writes down what it is asked."""

    def __init__(self) -> None:
        self.requests: list[ChatRequest] = []
        self.usage = Usage()

    async def chat(self, request: ChatRequest) -> ChatReply:
        self.requests.append(request)
        text = "There is a large red mug. There is a small blue ball."
        return ChatReply(text=text, finish_reason="stop", prompt_tokens=1, output_tokens=1)

    async def close(self) -> None:
        pass


def requests_of(stage: Stage, dataset: Dataset) -> list[ChatRequest]:
    """Every request that the stage makes of its input, in order, pictures decoded and resized."""
    recorder = _Recorder()
    stage._engine = recorder  # type: ignore[attr-defined]

    async def record() -> None:
        for shard in dataset.shards(Table.IMAGES):
            for item in stage.read(dataset, shard):
                with suppress(RowError):  # of a reply that is not about this picture
                    await stage.process(item)

    asyncio.run(record())
    return recorder.requests
