"""Reading a source takes the memory of a few rows, however large its files are."""

import os
import subprocess
import sys
import tarfile
from io import BytesIO

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

ROWS, BYTES = 400, 400_000  # 160 MB
READ = """
import sys
from pathlib import Path
from datagen.dataset import Dataset
from datagen.images.stage import ImagesStage, ImportConfig

def peak():  # of this process alone, in KiB: ru_maxrss would begin with what its parent had
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])

stage, dataset = ImagesStage(ImportConfig(images=sys.argv[1])), Dataset(sys.argv[2])
stage.check_source(dataset)
stage.prepare(dataset)
before = peak()
rows = sum(len(item.data) for shard in stage.shards(dataset) for item in stage.read(dataset, shard))
print(rows, peak() - before)
"""


@pytest.mark.parametrize("kind", ["tar", "parquet"])
def test_a_large_file_streams(tmp_path, kind):
    source = tmp_path / f"in.{kind}"
    pictures = (os.urandom(BYTES) for _ in range(ROWS))
    if kind == "tar":
        with tarfile.open(source, "w") as tar:
            for n, data in enumerate(pictures):
                info = tarfile.TarInfo(f"{n}.jpg")
                info.size = len(data)
                tar.addfile(info, BytesIO(data))
    else:  # one row group, in pages of a few rows
        table = pa.table({"image": list(pictures)})
        pq.write_table(table, source, use_dictionary=False, write_batch_size=8)
    run = subprocess.run(
        [sys.executable, "-c", READ, source, tmp_path / "data"],
        capture_output=True,
        text=True,
        check=True,
    )
    read, kibibytes = map(int, run.stdout.split())
    assert read == ROWS * BYTES
    assert kibibytes < 100_000
