"""The demo's pictures as a Parquet file, as a user would bring images with more columns."""

from __future__ import annotations

import argparse
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from datagen.demo.draw import encode_jpeg
from datagen.demo.world import make_scene, to_json
from datagen.progress import Progress

SPLIT = "demo"
COUNT = 1280
"""Scenes that the demo draws: its twelve minutes are for two cores."""
_SCHEMA = pa.schema([("image", pa.binary()), ("uri", pa.string()), ("truth", pa.string())])
_CHUNK = 128


def write_scenes(path: Path, count: int) -> Path:
    """Draw the first `count` scenes of the demo's split, unless the file is there already.

    `truth` is the scene as JSON; it travels through the pipeline as a column of the source, and
    no stage reads it.
    """
    if path.is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    with Progress("scenes", count) as progress, pq.ParquetWriter(partial, _SCHEMA) as writer:
        for start in range(0, count, _CHUNK):
            scenes = [make_scene(SPLIT, i) for i in range(start, min(start + _CHUNK, count))]
            rows = [
                {
                    "image": encode_jpeg(scene),
                    "uri": f"{SPLIT}/{scene.index}",
                    "truth": to_json(scene),
                }
                for scene in scenes
            ]
            writer.write_table(pa.Table.from_pylist(rows, _SCHEMA))
            progress.advance(len(rows))
    partial.rename(path)
    return path


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="Parquet file to write")
    parser.add_argument("--count", type=int, default=COUNT, help="scenes to draw")
    arguments = parser.parse_args()
    print(write_scenes(arguments.output, arguments.count))
