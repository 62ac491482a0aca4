"""What the tests of real vLLM engines share: the tiny captioner and pictures for it."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from datagen.dataset import Dataset, ImageRow, Table
from datagen.dataset.lineage import Lineage
from datagen.demo.draw import draw
from datagen.demo.world import make_scene
from datagen.engines.chat import ChatRequest, Sampling
from datagen.engines.config import EngineConfig
from datagen.images.decode import inspect

ROOT = Path(__file__).parents[2]
CAPTIONER = str(ROOT / "datagen" / "demo" / "models" / "captioner")
LONG_PROMPT = str(ROOT / "prompts" / "demo" / "caption_long.md")
SHORT_PROMPT = str(ROOT / "prompts" / "demo" / "caption_short.md")
CONFIG = EngineConfig(model=CAPTIONER, dtype="float32", max_model_len=512, max_num_seqs=32)


def picture(number: int) -> Image.Image:
    """A scene of the small world, another for each number: what the captioner describes well."""
    return draw(make_scene("tiny-test", number))


def encoded(number: int) -> bytes:
    """The picture as PNG."""
    buffer = io.BytesIO()
    picture(number).save(buffer, "PNG")
    return buffer.getvalue()


def question(number: int, max_tokens: int = 48) -> ChatRequest:
    """The long prompt of the small world, on a picture of its own."""
    return ChatRequest(
        text="Describe every object in the picture in detail.",
        image=picture(number),
        sampling=Sampling(max_tokens=max_tokens),
    )


def make_images(root: Path, rows: int, shard_rows: int) -> Dataset:
    """A dataset whose images table holds so many pictures."""
    dataset = Dataset(str(root))
    images = []
    for number in range(rows):
        data = encoded(number)
        info = inspect(data)
        images.append(
            ImageRow(
                image_id=info.image_id,
                uri=f"{number}.png",
                bytes=data,
                width=info.width,
                height=info.height,
                format=info.format,
                phash=info.phash,
            )
        )
    lineage = Lineage(stage="images", settings={})
    for shard, start in enumerate(range(0, rows, shard_rows)):
        part = images[start : start + shard_rows]
        dataset.commit(Table.IMAGES, shard, part, lineage=lineage, rows_in=len(part))
    return dataset
