"""Tars are streamed: samples by stem, hostile members as dead letters, damage said."""

import gzip
import io
import json
import tarfile

import pytest

from tests.images.import_samples import Imported, png, tar_of


def sample(key: str, shade: int, **about) -> list[tuple[str, bytes]]:
    about = {"url": f"https://x.example/{key}", "caption": f"json {key}"} | about
    return [
        (f"{key}.jpg", png(shade)),
        (f"{key}.txt", f"text {key}".encode()),
        (f"{key}.json", json.dumps(about).encode()),
    ]


@pytest.mark.parametrize("name", ["00000.tar", "00000.tar.gz"])
def test_webdataset_and_img2dataset(tmp_path, name):
    source = tmp_path / "laion"
    source.mkdir()
    members = sample("000000000", 1) + sample("000000001", 2)
    (source / name).write_bytes(tar_of(members, "w:gz" if name.endswith("gz") else "w"))
    (source / "00000_stats.json").write_text("{}")
    result = Imported(tmp_path / "data", source)
    assert result.expected == [-1], "nobody counts a tar first"
    assert [row.uri for row in result.rows] == [
        f"{source}/{name}#000000000.jpg", f"{source}/{name}#000000001.jpg",
    ]  # fmt: skip
    first = result.rows[0]
    assert (first.bytes, first.source_caption) == (png(1), "text 000000000")
    assert json.loads(first.source)["url"] == "https://x.example/000000000"


def test_samples_of_other_shapes(tmp_path):
    members = [
        ("a/x.left.png", png(1)), ("a/x.right.png", png(2)), ("a/x.cls", b"7"),
        ("b/x.png", png(3)), ("b/y.json", b"[1, 2"), ("b/y.webp", png(4)), ("b/z.mp3", b"la"),
        ("c/w.txt", b"words alone"), ("größe 名前.png", png(5)),
    ]  # fmt: skip
    (tmp_path / "in.tar").write_bytes(tar_of(members))
    result = Imported(tmp_path / "data", tmp_path / "in.tar")
    assert [row.uri.split("#")[1] for row in result.rows] == [
        "a/x.left.png", "a/x.right.png", "b/x.png", "b/y.webp", "größe 名前.png",
    ]  # fmt: skip
    assert [row.source for row in result.rows[:2]] == ['{"cls": "7"}'] * 2
    assert result.rows[2].source is None
    assert "no image among c/w.txt" in result.reason("c/w.txt")


def test_hostile_members_touch_nothing(tmp_path):
    (tmp_path / "secret.png").write_bytes(png(99))
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in ("../up.png", "/tmp/absolute.png", "a/../../up.png", "good.png", "good.png"):
            info = tarfile.TarInfo(name)
            info.size = len(png(1))
            tar.addfile(info, io.BytesIO(png(1)))
        kinds = {"soft": tarfile.SYMTYPE, "hard": tarfile.LNKTYPE, "node": tarfile.CHRTYPE}
        for stem, kind in (kinds | {"fifo": tarfile.FIFOTYPE}).items():
            name = f"{stem}.png"
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, str(tmp_path / "secret.png")
            tar.addfile(info)
        info = tarfile.TarInfo("huge.png")
        info.size = 3000
        tar.addfile(info, io.BytesIO(b"x" * 3000))
    (tmp_path / "in.tar").write_bytes(buffer.getvalue())
    before = sorted(tmp_path.rglob("*"))
    result = Imported(tmp_path / "data", tmp_path / "in.tar", max_bytes=2000)
    left = [path for path in tmp_path.rglob("*") if "data" not in path.parts]
    assert sorted(left) == before
    assert [row.uri.split("#")[1] for row in result.rows] == ["good.png"]
    for name in ("#../up.png", "absolute.png", "a/../../up.png"):
        assert "leads out of the tar" in result.reason(name)
    for name in ("soft.png", "hard.png", "node.png", "fifo.png"):
        assert "is not followed" in result.reason(name)
    assert "the limit is 2,000" in result.reason("huge.png")
    assert len(result.refused) == 9, "the second good.png among them"


def test_damaged_tars_give_what_is_whole_and_say_the_rest(tmp_path):
    good = tar_of([m for n in range(5) for m in sample(f"{n:03d}", n)])
    middle = good.index(b"003.jpg")
    flipped = bytearray(good)
    flipped[middle : middle + 100] = b"\xff" * 100
    hostile = tarfile.TarInfo("x")
    hostile.type, hostile.size = tarfile.XHDTYPE, 1 << 40
    packed = gzip.compress(good)
    files = {
        "cut.tar": good[: middle + 540], "boundary.tar": good[:middle], "flip.tar": bytes(flipped),
        "cut.tar.gz": packed[: len(packed) // 2], "flip.tar.gz": packed[:-200] + b"\0" * 200,
        "empty.tar": b"", "zeros.tar": bytes(10240), "page.tar": b"<html>" * 400,
        "bomb.tar": hostile.tobuf(tarfile.GNU_FORMAT) + bytes(4096), "whole.tar": good,
    }  # fmt: skip
    source = tmp_path / "tars"
    source.mkdir()
    for name, data in files.items():
        (source / name).write_bytes(data)
    result = Imported(tmp_path / "data", source)
    kept = {name: sum(f"/{name}#" in row.uri for row in result.rows) for name in files}
    assert (
        kept["whole.tar"] == 5 and kept["cut.tar"] == kept["boundary.tar"] == kept["flip.tar"] == 3
    )
    assert kept["zeros.tar"] == kept["page.tar"] == kept["bomb.tar"] == kept["empty.tar"] == 0
    for name in set(files) - {"whole.tar", "zeros.tar"}:
        assert "the tar is corrupt or cut off after" in result.reason(f"/{name}"), name
    assert not any("whole.tar" in uri for uri in result.refused)
