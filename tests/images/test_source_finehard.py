"""FineHARD is read in a stream; its regions stay with the image."""

import json

import pytest

from tests.images.import_samples import Imported, png

RECORD = {
    "caption": "A red mug stands on a table.",
    "short_caption": "a red mug",
    "bbox_info": [
        {
            "bbox": [0.1, 0.2, 0.5, 0.6, 0.87],
            "short_expr": "a red mug",
            "long_expr": "A red mug stands",
            "flag_short_neg": 1,
            "short_expr_negs": {"0": "a blue mug", "1": "a green mug"},
        }
    ],
}


def record(path, **more) -> dict:
    return RECORD | {"f_path": path} | more


@pytest.fixture
def source(tmp_path):
    (tmp_path / "images" / "grit" / "0").mkdir(parents=True)
    for n in range(5):
        (tmp_path / "images" / "grit" / "0" / f"{n}.jpg").write_bytes(png(n))
    (tmp_path / "json").mkdir()
    return tmp_path


def test_records_and_their_images(source):
    first = [record(f"grit-20m/data-12m/grit/0/{n}.jpg") for n in range(3)]
    second = [
        record("grit/0/3.jpg", is_cn=1), record("../../secret.jpg"), record("grit/0/absent.jpg"),
        {"caption": "no path"}, "no object",
    ]  # fmt: skip
    (source / "json" / "a.json").write_text(json.dumps(first))
    cut = json.dumps(second)[:-1] + ', {"f_path": "grit/0/4.jpg", "capt'
    (source / "json" / "b.json").write_text(cut)
    result = Imported(
        source / "data", source / "json", image_root=str(source / "images"), shard_rows=4
    )
    assert [len(shard) for shard in result.shards] == result.expected == [4, 4, 1]
    assert [row.uri for row in result.rows] == [
        *(f"{source}/json/a.json#{n}" for n in range(3)), f"{source}/json/b.json#0",
    ]  # fmt: skip
    row = result.rows[0]
    assert row.bytes == png(0) and row.source_caption == RECORD["caption"]
    kept = json.loads(row.source)
    assert kept["bbox_info"] == RECORD["bbox_info"] and kept["short_caption"] == "a red mug"
    assert "leads out of the folder" in result.reason("b.json#1")
    assert "is not there" in result.reason("b.json#2")
    assert "has no f_path" in result.reason("b.json#3")
    assert "no JSON object" in result.reason("b.json#4")
    assert "no JSON array from record 5 on" in result.reason("b.json#5")


def test_other_json_is_not_taken_for_finehard(source):
    (source / "annotations").mkdir()
    (source / "annotations" / "instances.json").write_text('{"images": [], "annotations": []}')
    assert len(Imported(source / "data", source).rows) == 5, "the images beside it are"
