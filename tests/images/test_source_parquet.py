"""Parquet with bytes, paths or URLs; rows keep their other columns and their place."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datagen.images.sources.base import SourceError
from tests.images.import_samples import Imported, png


def write(path, columns, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path, **options)


@pytest.mark.parametrize("as_struct", [False, True])
def test_bytes_keep_their_other_columns(tmp_path, as_struct):
    images = [{"bytes": png(n), "path": f"{n}.png"} if as_struct else png(n) for n in range(3)]
    columns = {"image": images, "caption": ["a", None, "c"], "licence": ["CC"] * 3}
    write(tmp_path / "in.parquet", columns | {"mask": [b"0"] * 3})
    result = Imported(tmp_path / "data", tmp_path / "in.parquet")
    assert [row.source_caption for row in result.rows] == ["a", None, "c"]
    assert [row.uri for row in result.rows] == [f"{tmp_path}/in.parquet#{n}" for n in range(3)]
    name = {"image": "0.png"} if as_struct else {}
    assert json.loads(result.rows[0].source) == {"licence": "CC"} | name, "but no columns of bytes"


def test_a_hugging_face_dataset_in_parts(tmp_path):
    """Two files in data/, lists of captions, an empty image; shards cross row groups."""
    for part in range(2):
        images = [{"bytes": png(10 * part + n), "path": None} for n in range(10)]
        images[7] = {"bytes": None, "path": None}
        columns = {"id": list(range(10)), "picture": images, "text": [["x", "y"]] * 10}
        name = f"train-{part:05d}-of-00002.parquet"
        write(tmp_path / "hf" / "data" / name, columns, row_group_size=3)
    result = Imported(tmp_path / "data", tmp_path / "hf", shard_rows=4)
    assert [len(shard) for shard in result.shards] == result.expected == [4, 4, 2, 4, 4, 2]
    assert len(result.rows) == 18
    assert {row.bytes for row in result.rows} == {png(n) for n in range(20) if n % 10 != 7}
    assert json.loads(result.rows[3].source) == {"id": 3, "text": ["x", "y"]}
    assert result.rows[3].source_caption == "x"
    assert all("column picture is empty" in reason for reason in result.refused.values())


def test_paths_stay_below_their_root(tmp_path):
    root = tmp_path / "pictures"
    (root / "a").mkdir(parents=True)
    (root / "a" / "1.png").write_bytes(png(1))
    (tmp_path / "secret.png").write_bytes(png(2))
    paths = ["a/1.png", f"{root}/a/1.png", "../secret.png", f"{tmp_path}/secret.png", "absent.png",
             "file:///etc/passwd", "s3://other/1.png", None]  # fmt: skip
    write(tmp_path / "tables" / "in.parquet", {"file_name": paths})
    result = Imported(tmp_path / "data", tmp_path / "tables", image_root=str(root))
    assert [row.bytes for row in result.rows] == [png(1), png(1)]
    assert json.loads(result.rows[0].source) == {"file_name": "a/1.png"}
    for row in (2, 3, 5, 6):
        assert "leads out of the folder of images" in result.reason(f"#{row}")
    assert "is not there" in result.reason("#4")
    assert "is empty" in result.reason("#7")


class _Web(BaseHTTPRequestHandler):
    tries: ClassVar[dict[str, int]] = {}

    def do_GET(self):
        self.tries[self.path] = self.tries.get(self.path, 0) + 1
        busy = self.path == "/busy.png" and self.tries[self.path] < 2
        status = 503 if busy else 404 if self.path == "/gone.png" else 200
        body = png(1) if self.path != "/big.png" else b"x" * 5000
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def test_urls_are_fetched(tmp_path):
    server = HTTPServer(("127.0.0.1", 0), _Web)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    base = f"http://127.0.0.1:{server.server_port}"
    names = ["good.png", "busy.png", "gone.png", "big.png"]
    urls = [f"{base}/{name}" for name in names] + ["http://127.0.0.1:9/x.png?signature=secret"]
    write(tmp_path / "in.parquet", {"url": urls, "caption": ["c"] * 5})
    try:
        result = Imported(tmp_path / "data", tmp_path / "in.parquet", max_bytes=1000)
    finally:
        server.shutdown()
        server.server_close()
    assert [json.loads(row.source)["url"] for row in result.rows] == urls[:2]
    assert "status 404" in result.reason("#2")
    assert "more than 1,000 bytes" in result.reason("#3")
    assert "cannot be downloaded" in result.reason("#4") and "secret" not in result.reason("#4")


def test_corrupt_files_lose_only_what_is_corrupt(tmp_path):
    write(tmp_path / "in" / "a.parquet", {"image": [png(n) for n in range(40)]},
          row_group_size=10, compression="zstd")  # fmt: skip
    meta = pq.read_metadata(tmp_path / "in" / "a.parquet").row_group(2).column(0)
    raw = bytearray((tmp_path / "in" / "a.parquet").read_bytes())
    middle = meta.data_page_offset + meta.total_compressed_size // 3
    raw[middle : middle + 60] = b"\xff" * 60
    (tmp_path / "in" / "a.parquet").write_bytes(raw)
    (tmp_path / "in" / "b.parquet").write_bytes(b"PAR1 and no more")
    result = Imported(tmp_path / "data", tmp_path / "in", shard_rows=8)
    assert len(result.rows) == 30
    assert "the Parquet file is corrupt here" in result.reason("a.parquet#20")
    assert "cannot be read as Parquet" in result.reason("b.parquet")
    assert len(result.refused) == 11


def test_what_cannot_be_an_import_is_said(tmp_path):
    write(tmp_path / "other.parquet", {"a": [1], "b": [2.0]})
    with pytest.raises(SourceError, match=r"no column of image bytes, paths or URLs .*a, b"):
        Imported(tmp_path / "data", tmp_path / "other.parquet")
    write(tmp_path / "in.parquet", {"image": [png(1)]})
    with pytest.raises(SourceError, match="no column photo"):
        Imported(tmp_path / "data", tmp_path / "in.parquet", image_column="photo")


def test_a_file_with_fewer_rows_than_planned_is_said(tmp_path):
    write(tmp_path / "in.parquet", {"image": [png(n) for n in range(4)]})
    Imported(tmp_path / "data", tmp_path / "in.parquet")
    write(tmp_path / "in.parquet", {"image": [png(1)]})
    with pytest.raises(SourceError, match="fewer than when the import was planned"):
        Imported(tmp_path / "data", tmp_path / "in.parquet")
    (tmp_path / "in.parquet").unlink()
    with pytest.raises(SourceError, match="There is no"):
        Imported(tmp_path / "data", tmp_path / "in.parquet")
