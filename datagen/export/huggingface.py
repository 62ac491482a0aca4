"""Export as a Hugging Face dataset folder: Parquet that `load_dataset` opens, and its card."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from datagen.dataset import Dataset
from datagen.dataset.files import Files
from datagen.export.base import Exporter, Shard
from datagen.export.card import render_card
from datagen.export.records import Record
from datagen.export.webdataset import to_object

GROUP_ROWS = 64
_NEGATIVE = pa.struct([(name, pa.string()) for name in ("text", "type", "old", "new")])
_REGION = pa.struct(
    [
        ("region_id", pa.string()),
        ("phrase", pa.string()),
        ("bbox", pa.list_(pa.float32())),
        ("score", pa.float32()),
        ("description", pa.string()),
        ("negatives", pa.list_(_NEGATIVE)),
    ]
)
_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_COLUMNS = pa.schema(
    [
        ("image", _IMAGE),
        ("image_id", pa.string()),
        ("uri", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("format", pa.string()),
        ("phash", pa.string()),
        ("long", pa.string()),
        ("short", pa.string()),
        ("regions", pa.list_(_REGION)),
        ("source_caption", pa.string()),
        ("source", pa.string()),
    ]
)


class HuggingFaceExporter(Exporter):
    """`data/train-00000-of-00010.parquet`, …, and `README.md`, the card, when all are there.

    Args:
        title: the dataset's name on its card.
        synthetic: whether the pictures are drawn by a program; the card says so.
    """

    format = "huggingface"

    def __init__(self, title: str, synthetic: bool = False) -> None:
        self.title, self.synthetic = title, synthetic

    def name(self, shard: Shard) -> str:
        """See `Exporter.name`."""
        return f"data/train-{shard.place:05d}-of-{shard.total:05d}.parquet"

    def write(self, files: Files, shard: Shard, records: Iterator[Record]) -> None:
        """See `Exporter.write`."""
        schema = _COLUMNS.with_metadata({"huggingface": json.dumps({"info": features()})})

        def fill(file: IO[bytes]) -> None:
            # No dictionaries and small pages: pictures are all different, and large.
            with pq.ParquetWriter(
                file, schema, compression="zstd", use_dictionary=False, write_batch_size=16
            ) as writer:
                while some := [_row(r) for r in itertools.islice(records, GROUP_ROWS)]:
                    writer.write_table(pa.Table.from_pylist(some, schema))

        files.write(self.name(shard), fill)

    def finish(self, files: Files, dataset: Dataset, about: dict[str, Any]) -> None:
        """See `Exporter.finish`."""
        card = render_card(dataset, about, self.title, self.synthetic).encode()
        files.write("README.md", lambda file: file.write(card))


def _row(record: Record) -> dict[str, Any]:
    row = to_object(record)
    row["source"] = record.image.source
    return {"image": {"bytes": record.image.bytes, "path": record.file_name}, **row}


def features() -> dict[str, Any]:
    """What the Hub's viewer and `load_dataset` go by: which column is an image."""
    return {"features": {field.name: _feature(field.type) for field in _COLUMNS}}


def _feature(kind: pa.DataType) -> Any:
    if kind == _IMAGE:
        return {"_type": "Image"}
    if pa.types.is_list(kind):
        return [_feature(kind.value_type)]
    if pa.types.is_struct(kind):
        return {field.name: _feature(field.type) for field in kind}
    names = {pa.float32(): "float32", pa.int32(): "int32", pa.string(): "string"}
    return {"_type": "Value", "dtype": names[kind]}
