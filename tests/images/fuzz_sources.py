"""Mutates valid tars, Parquet and FineHARD files and imports them, as often as ``--count`` says.

Every row must be a picture or a dead letter with an id of its own, or the file is refused as a
whole with a `SourceError`. Ends with one line of JSON.
"""

import argparse
import gzip
import io
import json
import random
import resource
import shutil
import tempfile
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from datagen.images.sources.base import SourceError
from tests.images.fuzz import MEMORY, mutate
from tests.images.import_samples import Imported, png, tar_of


def seeds() -> dict[str, tuple[str, bytes]]:
    """A valid file of each kind, and the kind's name for the import."""
    members = []
    for n in range(6):
        about = json.dumps({"url": f"u{n}"}).encode()
        members += [(f"{n}.png", png(n)), (f"{n}.txt", b"words"), (f"{n}.json", about)]
    images = [{"bytes": png(n), "path": "x.png"} for n in range(12)]
    parquet = io.BytesIO()
    pq.write_table(pa.table({"image": images, "n": list(range(12))}), parquet, row_group_size=4)
    records = [{"f_path": f"{n}.png", "caption": "c", "bbox_info": []} for n in range(8)]
    return {
        "in.tar": ("tar", tar_of(members)),
        "in.tar.gz": ("tar", gzip.compress(tar_of(members))),
        "in.parquet": ("parquet", parquet.getvalue()),
        "in.json": ("finehard", json.dumps(records).encode()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=300, help="mutants of each kind")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    chance, results = random.Random(arguments.seed), Counter()
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None  # each plan is flushed to its disk
    with tempfile.TemporaryDirectory(dir=memory) as name:
        root = Path(name)
        for n in range(8):
            (root / f"{n}.png").write_bytes(png(n))
        for file, (kind, data) in seeds().items():
            for _ in range(arguments.count):
                mutant = mutate(data, data, chance)
                (root / file).write_bytes(mutant)
                shutil.rmtree(root / "data", ignore_errors=True)
                try:
                    found = Imported(
                        root / "data", root / file, source_format=kind, image_root=name
                    )
                    results["rows"] += len(found.rows)
                    results["dead letters"] += len(found.refused)
                except SourceError:
                    results["refused"] += 1
                except BaseException:
                    print("the mutant, in hex:", file, mutant.hex())
                    raise
    print(json.dumps({**results, "mutants": 4 * arguments.count}))


if __name__ == "__main__":
    main()
