"""How many requests to an object store each action of a run takes, counted at a real S3 API.

moto's server runs in this process and its log is counted: what is sent, not what it costs.

    python -m benchmarks.object_store
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections import Counter
from collections.abc import Callable

from moto.server import ThreadedMotoServer
from pyarrow import fs

from benchmarks.stub import StubStage
from datagen.dataset import Dataset, ImageRow, Table
from datagen.dataset.lineage import Lineage
from datagen.stage import Item

ROWS, IMAGE_BYTES, LISTED = 1000, 60_000, 1200
LINEAGE = Lineage(stage="captions", settings={"model": "stub"})


class Requests(logging.Handler):
    """Counts the lines of werkzeug's log by method."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.methods: Counter[str] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler.emit`."""
        if found := re.search(r"(GET|HEAD|PUT|POST|DELETE) /", record.getMessage()):
            self.methods[found[1]] += 1

    def of(self, action: Callable[[], object]) -> dict[str, int]:
        """Requests of an action, by method."""
        self.methods.clear()
        action()
        return {"all": self.methods.total(), **self.methods}


def images(dataset: Dataset) -> None:
    """Commit a shard of images, bytes inline."""
    rows = [
        ImageRow(
            image_id=f"{n:08d}", uri=str(n), bytes=os.urandom(IMAGE_BYTES), width=1, height=1,
            format="JPEG", phash="0",
        )
        for n in range(ROWS)
    ]  # fmt: skip
    dataset.commit(Table.IMAGES, 0, rows, lineage=LINEAGE, rows_in=ROWS)


def captions(dataset: Dataset, shard: int) -> None:
    """Commit a shard of captions without dead letters."""
    stage = StubStage()
    rows = [row for n in range(ROWS) for row in stage.rows(Item(f"{n:08d}"))]
    dataset.commit(Table.CAPTIONS, shard, rows, lineage=LINEAGE, rows_in=ROWS)


def read(dataset: Dataset) -> None:
    """Read ids and bytes of a shard of images, as the captions stage does."""
    for _ in dataset.read(Table.IMAGES, 0, ["image_id", "bytes"]):
        pass


def fill(dataset: Dataset, s3: fs.S3FileSystem) -> None:
    """Lay down empty files of so many shards' names."""
    for shard in range(LISTED):
        name = f"{dataset.root.removeprefix('s3://')}/regions/part-{shard:06d}.parquet"
        s3.open_output_stream(name).close()


def main() -> None:
    """Print one line of JSON."""
    log, counted = logging.getLogger("werkzeug"), Requests()
    log.setLevel(logging.INFO)
    log.propagate = False
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    log.handlers = [counted]
    host, port = server.get_host_and_port()
    os.environ |= {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    s3, _ = fs.FileSystem.from_uri("s3://bench?allow_bucket_creation=true")
    s3.create_dir("bench")
    dataset = Dataset("s3://bench/data")
    captions(dataset, 0)  # the first makes folders
    figures = {
        "commit_captions": counted.of(lambda: captions(dataset, 1)),
        "commit_images": counted.of(lambda: images(dataset)),
        "read_images": counted.of(lambda: read(dataset)),
        "count_a_shard": counted.of(lambda: dataset.counts(Table.CAPTIONS, [1])),
    }
    # The index itself is asked for once a run, whatever the number of shards.
    index = counted.of(lambda: dataset.counts(Table.CAPTIONS, []))
    figures["count_a_shard"]["all"] -= index["all"]
    fill(dataset, s3)
    figures[f"list_{LISTED}_shards"] = counted.of(lambda: dataset.shards(Table.REGIONS))
    server.stop()
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
