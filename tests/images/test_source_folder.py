"""Folders: what leads out of them is not followed, what is beside an image is kept."""

import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from datagen.images import plan
from tests.images.import_samples import Imported, png


def test_links_and_odd_files_are_dead_letters(tmp_path):
    outside, folder = tmp_path / "outside", tmp_path / "photos"
    for place in (outside, folder / "real"):
        place.mkdir(parents=True)
    (outside / "secret.png").write_bytes(png(200))
    (folder / "real" / "a.png").write_bytes(png(1))
    (folder / "inner.png").symlink_to(folder / "real" / "a.png")
    (folder / "out.png").symlink_to(outside / "secret.png")
    (folder / "gone.png").symlink_to(outside / "absent.png")
    (folder / "loop.png").symlink_to(folder / "loop.png")
    (folder / "dir").symlink_to(outside)
    (folder / "again").symlink_to(folder)
    os.mkfifo(folder / "pipe.png")
    (folder / "folder.png").mkdir()
    result = Imported(tmp_path / "data", folder)
    assert {row.bytes for row in result.rows} == {png(1)}
    assert "a link that leads out of the folder" in result.reason("out.png")
    assert "a link to nothing" in result.reason("gone.png")
    assert "loop.png" in result.reason("loop.png")
    assert "no regular file" in result.reason("pipe.png")
    assert "a link to a folder" in result.reason("photos/dir")
    assert "a link to a folder" in result.reason("photos/again")


def test_names_of_all_kinds(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    names = [
        "größe 名前 🐈.png",
        "a?b#c%20d.png",
        "new\nline.png",
        "é.png",
        "é.png",
        "ünterwegs.PNG",
    ]
    for n, name in enumerate(names):
        (folder / name).write_bytes(png(n))
    (folder / "größe 名前 🐈.txt").write_text("Katze", encoding="utf-8")
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff\xfe.png")).write_bytes(png(99))
    result = Imported(tmp_path / "data", folder)
    assert {row.uri for row in result.rows} == {f"{folder}/{name}" for name in set(names)}
    assert [row.source_caption for row in result.rows].count("Katze") == 1
    assert "its name is not UTF-8" in result.reason("\\xff\\xfe.png")


def test_img2dataset_files_keep_captions_and_urls(tmp_path):
    source = tmp_path / "laion"
    (source / "00000").mkdir(parents=True)
    about = {"caption": "a cat", "url": "https://x.example/1.jpg", "key": "000000000", "width": 16}
    (source / "00000" / "000000000.jpg").write_bytes(png(1))
    (source / "00000" / "000000000.txt").write_text("a cat")
    (source / "00000" / "000000000.json").write_text(json.dumps(about))
    (source / "00000_stats.json").write_text("{}")
    pq.write_table(
        pa.table({"url": [about["url"]], "caption": ["a cat"]}), source / "00000.parquet"
    )
    (row,) = Imported(tmp_path / "data", source).rows
    assert row.uri == f"{source}/00000/000000000.jpg"
    assert row.source_caption == "a cat"
    assert json.loads(row.source)["url"] == about["url"]


def test_many_files_make_a_plan_in_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr(plan, "PIECE_ROWS", 10)
    for n in range(33):
        (tmp_path / f"{n:03d}.png").write_bytes(png(n))
    result = Imported(tmp_path / "data", tmp_path, shard_rows=4)
    assert [len(shard) for shard in result.shards] == result.expected == [4] * 8 + [1]
    assert [row.bytes for row in result.rows] == [png(n) for n in range(33)]
    assert len(list((tmp_path / "data" / "_index" / "source").glob("*.parquet"))) == 3
