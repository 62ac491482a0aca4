"""How many images a second one core imports, by kind of source, and what the time goes into.

Photos are stood in for by smooth noise of 640 × 480, JPEG at quality 90 (about 120 kB).

    python -m benchmarks.import_speed --count 400
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import imagehash
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from datagen.dataset import Dataset, Table
from datagen.images.decode import decode, image_id, inspect
from datagen.images.stage import ImagesStage, ImportConfig

SIZE = (640, 480)
DISTINCT = 16


def photos() -> list[bytes]:
    """Encoded pictures with detail at every scale."""
    random = np.random.default_rng(0)
    found = []
    for _ in range(DISTINCT):
        total = np.zeros((SIZE[1], SIZE[0], 3), np.float32)
        for cells in (4, 16, 64, 256):
            layer = Image.fromarray(random.integers(0, 255, (cells, cells, 3), np.uint8))
            total += np.asarray(layer.resize(SIZE, Image.Resampling.BICUBIC), np.float32) / 4
        buffer = io.BytesIO()
        Image.fromarray(total.astype(np.uint8)).save(buffer, "JPEG", quality=90)
        found.append(buffer.getvalue())
    return found


def write_sources(root: Path, count: int) -> dict[str, Path]:
    """The same pictures, each with a comment of its own, as a folder, a tar and Parquet."""
    some = photos()
    images = [some[n % DISTINCT] + n.to_bytes(4, "big") for n in range(count)]
    folder = root / "folder"
    folder.mkdir()
    with tarfile.open(root / "in.tar", "w") as tar:
        for n, data in enumerate(images):
            (folder / f"{n:06d}.jpg").write_bytes(data)
            info = tarfile.TarInfo(f"{n:06d}.jpg")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    pq.write_table(pa.table({"image": images}), root / "in.parquet", row_group_size=100)
    return {"folder": folder, "tar": root / "in.tar", "parquet": root / "in.parquet"}


async def import_all(source: Path, data: Path) -> tuple[int, float]:
    """Rows and CPU seconds of reading, decoding and committing every shard, in this process."""
    dataset, stage = Dataset(str(data)), ImagesStage(ImportConfig(images=str(source)))
    stage.check_source(dataset)
    stage.prepare(dataset)
    await stage.open()
    rows, started = 0, time.process_time()
    for shard in stage.shards(dataset):
        items = list(stage.read(dataset, shard))
        done = [row for item in items for row in await stage.process(item)]
        dataset.commit(Table.IMAGES, shard, done, lineage=stage.lineage, rows_in=len(items))
        rows += len(done)
    return rows, time.process_time() - started


def milliseconds(call: Callable[[], object], times: int = 50) -> float:
    """CPU time of one call."""
    call()
    started = time.process_time()
    for _ in range(times):
        call()
    return round((time.process_time() - started) / times * 1000, 2)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=400, help="images of each source")
    count = parser.parse_args().count
    result: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for kind, source in write_sources(Path(folder), count).items():
            rows, seconds = asyncio.run(import_all(source, Path(folder, f"data-{kind}")))
            result[f"{kind}_images_per_core_second"] = round(rows / seconds, 1)
    data = photos()[0]
    picture = decode(data)
    small = picture.reduce(min(SIZE) // 128)
    result |= {
        "kilobytes_an_image": round(len(data) / 1000, 1),
        "inspect_ms": milliseconds(lambda: inspect(data)),
        "of_it_decode_ms": milliseconds(lambda: decode(data)),
        "of_it_phash_ms": milliseconds(lambda: imagehash.phash(small)),
        "of_it_sha256_ms": milliseconds(lambda: image_id(data)),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
