"""Export in the format of FineHARD, the data of FG-CLIP: JSON arrays, and the images beside.

`f_path` is below the output folder. As FineHARD's loader takes exactly 10 negatives a region,
`flag_short_neg` is 1 where there are 10; regions with fewer keep theirs with the flag at 0.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any

from datagen.dataset.files import Files
from datagen.export.base import Exporter, Shard
from datagen.export.records import Record, Region

NEGATIVES = 10
IMAGES_AT_ONCE = 16


class FineHardExporter(Exporter):
    """`part-000000.json` and `images/part-000000/<image_id>.jpg`, …"""

    format = "finehard"
    needs_caption = True

    def name(self, shard: Shard) -> str:
        """See `Exporter.name`."""
        return f"part-{shard.number:06d}.json"

    def write(self, files: Files, shard: Shard, records: Iterator[Record]) -> None:
        """See `Exporter.write`. The images go first."""
        folder = f"images/part-{shard.number:06d}"

        def put(record: Record) -> None:
            data = record.image.bytes
            files.write(f"{folder}/{record.file_name}", lambda file: file.write(data))

        def fill(file: IO[bytes]) -> None:
            separator = "[\n"
            with ThreadPoolExecutor(IMAGES_AT_ONCE) as pool:
                while some := list(itertools.islice(records, IMAGES_AT_ONCE)):
                    for _ in pool.map(put, some):
                        pass
                    for record in some:
                        text = json.dumps(to_finehard(record, folder), ensure_ascii=False)
                        file.write(f"{separator}{text}".encode())
                        separator = ",\n"
            file.write(b"[]\n" if separator == "[\n" else b"\n]\n")

        files.write(self.name(shard), fill)


def to_finehard(record: Record, folder: str) -> dict[str, Any]:
    """One object of a FineHARD array."""
    assert record.caption is not None
    return {
        "f_path": f"{folder}/{record.file_name}",
        "caption": record.caption.long,
        "short_caption": record.caption.short,
        "bbox_info": [_region(region) for region in record.regions],
    }


def _region(region: Region) -> dict[str, Any]:
    texts = [negative.text for negative in region.negatives[:NEGATIVES]]
    return {
        "bbox": [*region.row.bbox, region.row.score],
        "short_expr": region.row.phrase,
        "long_expr": region.row.description,
        "flag_short_neg": int(len(texts) == NEGATIVES),
        "short_expr_negs": {str(number): text for number, text in enumerate(texts)},
    }
