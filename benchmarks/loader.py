"""How fast batches come, and what memory they take, against ImageFolder and WebDataset.

All three read the same pictures and give batches of the same size from torch's DataLoader with the
same number of processes. The other two only decode and resize; ours also joins captions, tokenizes
and collates. ImageFolder is what torchvision calls it: a file for each picture, opened by its path,
written here in three lines, because torchvision need not be installed. The pictures are synthetic.

Example:
    python -m benchmarks.loader

prints one line of JSON: images a second of each, then for ours `start_s` (until the first batch)
and `peak_mb` (resident memory above that of the program) at 10,000 and 1,000,000 records.
"""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from datagen.command import command
from datagen.dataset import (
    CaptionRow,
    Dataset,
    ImageRow,
    Negative,
    NegativesRow,
    RegionRow,
    Table,
)
from datagen.dataset.lineage import Lineage
from datagen.training.data import DataConfig
from datagen.training.loader import RawBatches, load_batches
from datagen.training.order import Order
from datagen.training.reading import Reader
from datagen.training.texts import TextEncoder, learn_tokenizer

SIDE = 224
COLOURS = ("red", "green", "blue", "black", "white", "grey", "brown", "pink", "tan", "teal")
TABLES = (Table.IMAGES, Table.CAPTIONS, Table.REGIONS, Table.NEGATIVES)
LINEAGE = Lineage(stage="benchmark", settings={})


@dataclass(frozen=True, kw_only=True)
class Config:
    """Arguments of the benchmark."""

    pictures: int = 2000
    width: int = 640
    """Of the pictures; they are three quarters as high."""
    batch: int = 64
    processes: int = 1
    rounds: int = 3
    """The best of so many counts."""
    shard_rows: int = 1024
    records: tuple[int, ...] = (10_000, 1_000_000)
    batches: int = 100
    """Read at each number of records."""


def picture(seed: int, width: int, height: int) -> bytes:
    """A smooth random picture as JPEG: about the size of a photo's."""
    random = np.random.default_rng(seed)
    small = Image.fromarray(random.integers(0, 255, (24, 32, 3), dtype=np.uint8))
    large = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC), np.int16)
    grain = random.integers(-8, 8, large.shape, dtype=np.int16)
    out = io.BytesIO()
    Image.fromarray((large + grain).clip(0, 255).astype(np.uint8)).save(out, "JPEG", quality=90)
    return out.getvalue()


def write_shard(root: str, shard: int, pictures: list[bytes]) -> None:
    """All four tables: a caption, a region with ten negatives for each picture."""
    dataset = Dataset(root)
    rows: dict[Table, list[Any]] = {table: [] for table in TABLES}
    for i, data in enumerate(pictures):
        name = f"{shard:016x}{i:016x}"
        long = f"The picture shows a round mug number {i} on a table. " * 8
        rows[Table.IMAGES].append(
            ImageRow(
                image_id=name, uri=name, bytes=data, width=1, height=1, format="JPEG", phash="0"
            )
        )
        rows[Table.CAPTIONS].append(
            CaptionRow(
                image_id=name, long=long, short=f"a mug {i}", long_finish_reason="stop",
                short_finish_reason="stop", prompt_tokens=0, long_tokens=0, short_tokens=0,
            )
        )  # fmt: skip
        rows[Table.REGIONS].append(
            RegionRow(
                region_id=name, image_id=name, phrase="a round mug", span_start=0, span_end=1,
                bbox=(0.1, 0.2, 0.6, 0.7), score=1.0, margin=1.0, description="a mug",
            )
        )  # fmt: skip
        negatives = [
            Negative(text=f"a {c} mug", type="colour", span_start=2, span_end=3, old="", new=c)
            for c in COLOURS
        ]
        rows[Table.NEGATIVES].append(
            NegativesRow(region_id=name, image_id=name, positive="a round mug", negatives=negatives)
        )
    for table, found in rows.items():
        dataset.commit(table, shard, found, lineage=LINEAGE, rows_in=len(found))


def ours(root: str, config: Config, *, regions: bool, stop: int) -> Iterator[int]:
    """Sizes of our batches."""
    reader = Reader(Dataset(root), with_regions=regions)
    buffer = min(4096, sum(reader.rows) // 2)  # less than all: the order of large data
    order = Order(reader.shards, reader.rows, batch=config.batch, buffer=buffer, seed=0)
    encoder = TextEncoder(learn_tokenizer(["a round mug on a table"], 300), 77, 248)
    raw = RawBatches(reader, order, 0, min(stop, order.batches))
    data = DataConfig(processes=config.processes)
    for pieces in load_batches(raw, data, encoder, seed=0, size=SIDE, regions=regions):
        yield len(pieces[0].image_ids)


class _ImageFolder(TorchDataset):
    """As torchvision's, with the transform that all share."""

    def __init__(self, root: Path) -> None:
        self._files = sorted(root.glob("*.jpg"))

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> torch.Tensor:
        with self._files[index].open("rb") as file:
            return _transformed(Image.open(file).convert("RGB"))


def _transformed(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image.resize((SIDE, SIDE), Image.Resampling.BICUBIC)))


def image_folder(root: Path, config: Config) -> Iterator[int]:
    """Sizes of its batches."""
    loader: Any = DataLoader(
        _ImageFolder(root), config.batch, shuffle=True, num_workers=config.processes
    )
    yield from map(len, loader)


def _decoded(sample: dict[str, Any]) -> torch.Tensor:
    return _transformed(Image.open(io.BytesIO(sample["jpg"])).convert("RGB"))


def web_dataset(root: Path, config: Config) -> Iterator[int]:
    """Sizes of its batches."""
    import webdataset

    tars = [str(path) for path in sorted(root.glob("*.tar"))]
    data = webdataset.WebDataset(tars, shardshuffle=len(tars)).shuffle(1000).map(_decoded)
    loader: Any = DataLoader(data, config.batch, num_workers=config.processes)
    yield from map(len, loader)


def _rate(batches: Callable[[], Iterator[int]]) -> float:
    """Images a second after the first batch, so that the start of processes does not count."""
    sizes = batches()
    next(sizes)
    started = time.monotonic()
    return sum(sizes) / (time.monotonic() - started)


def _speeds(folder: Path, config: Config) -> dict[str, float]:
    import webdataset

    made = [picture(i, config.width, config.width * 3 // 4) for i in range(config.pictures)]
    files, tars = folder / "files", folder / "tars"
    files.mkdir()
    tars.mkdir()
    with webdataset.ShardWriter(f"{tars}/%04d.tar", maxcount=500, verbose=0) as writer:
        for i, data in enumerate(made):
            (files / f"{i:06d}.jpg").write_bytes(data)
            writer.write({"__key__": f"{i:06d}", "jpg": data})
    root = str(folder / "data")
    for shard, start in enumerate(range(0, len(made), config.shard_rows)):
        write_shard(root, shard, made[start : start + config.shard_rows])
    ways = {
        "ours": lambda: ours(root, config, regions=True, stop=10**9),
        "image_folder": lambda: image_folder(files, config),
        "web_dataset": lambda: web_dataset(tars, config),
    }
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(config.rounds):
        for name, way in ways.items():
            found[name].append(_rate(way))
    return {f"{name}_images_per_s": round(max(rates), 1) for name, rates in found.items()}


def _at(root: str, records: int, config: Config) -> dict[str, float]:
    """Start and memory of a process that reads some batches of so many records."""
    base = _memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    started, first = time.monotonic(), 0.0
    for _ in ours(root, config, regions=True, stop=config.batches):
        first = first or time.monotonic() - started
    peak = round(_memory("VmHWM") - base)
    return {f"start_s_{records}": round(first, 2), f"peak_mb_{records}": peak}


def _large(folder: Path, records: int, config: Config) -> str:
    """A dataset of many records: one shard under many names, which takes no room."""
    root = folder / f"records-{records}"
    tiny = [picture(i, 64, 48) for i in range(config.shard_rows)]
    write_shard(str(root), 0, tiny)
    for table in TABLES:
        first = root / table / "part-000000.parquet"
        for shard in range(1, records // config.shard_rows):
            os.link(first, first.with_name(f"part-{shard:06d}.parquet"))
    return str(root)


def main(config: Config) -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        result = _speeds(folder, config)
        for records in config.records:
            root = _large(folder, records, config)
            alone = Config(batch=config.batch, batches=config.batches, processes=0)
            with ProcessPoolExecutor(1, context) as pool:
                result |= pool.submit(_at, root, records, alone).result()
    print(json.dumps(result))


def _memory(what: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(what)) / 1024


if __name__ == "__main__":
    command(Config, main, __doc__)
