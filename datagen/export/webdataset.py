"""Export as WebDataset: a tar a shard, three members an image, the same bytes at every run.

`<image_id>.jpg` (or as its format is), `.txt` with the long caption, `.json` with everything.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import asdict
from typing import IO, Any

from datagen.dataset.files import Files
from datagen.export.base import Exporter, Shard
from datagen.export.records import Record


class WebDatasetExporter(Exporter):
    """`part-000000.tar`, …"""

    format = "webdataset"

    def name(self, shard: Shard) -> str:
        """See `Exporter.name`."""
        return f"part-{shard.number:06d}.tar"

    def write(self, files: Files, shard: Shard, records: Iterator[Record]) -> None:
        """See `Exporter.write`."""

        def fill(file: IO[bytes]) -> None:
            with tarfile.open(fileobj=file, mode="w|", format=tarfile.PAX_FORMAT) as tar:
                for record in records:
                    for name, data in _members(record):
                        info = tarfile.TarInfo(name)  # no owner, no time
                        info.size = len(data)
                        tar.addfile(info, io.BytesIO(data))

        files.write(self.name(shard), fill)


def _members(record: Record) -> Iterator[tuple[str, bytes]]:
    caption = record.caption.long if record.caption else record.image.source_caption
    yield record.file_name, record.image.bytes
    if caption:
        yield f"{record.image.image_id}.txt", caption.encode()
    text = json.dumps(to_object(record), ensure_ascii=False)
    yield f"{record.image.image_id}.json", text.encode()


def to_object(record: Record) -> dict[str, Any]:
    """All columns but the bytes, as one JSON object."""
    image = asdict(record.image)
    del image["bytes"]
    source = image.pop("source")
    return {
        **image,
        "source": json.loads(source) if source else None,
        "long": record.caption.long if record.caption else None,
        "short": record.caption.short if record.caption else None,
        "regions": [
            {
                "region_id": region.row.region_id,
                "phrase": region.row.phrase,
                "bbox": list(region.row.bbox),
                "score": region.row.score,
                "description": region.row.description,
                "negatives": [
                    {"text": n.text, "type": n.type, "old": n.old, "new": n.new}
                    for n in region.negatives
                ],
            }
            for region in record.regions
        ],
    }
