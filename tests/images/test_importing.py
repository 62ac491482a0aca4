"""A source becomes aligned shards: every file is a row or a dead letter, and nothing is lost."""

import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from datagen.dataset import Dataset, Table
from datagen.images.importing import ImportConfig, import_images
from datagen.images.sources.base import SourceError
from datagen.progress import Progress


def png(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (16, 12), (shade, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def run(dataset: Dataset, source, shard_rows: int = 2):
    return import_images(
        dataset, ImportConfig(images=str(source), shard_rows=shard_rows), Progress("images")
    )


def rows(dataset: Dataset):
    return [row for k in dataset.shards(Table.IMAGES) for row in dataset.read_rows(Table.IMAGES, k)]


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    for n in range(4):
        (folder / f"{n}.png").write_bytes(png(n))
    (folder / "0.txt").write_text("a dark square")
    (folder / "sub" / "größe 名前.PNG").write_bytes(png(9))
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no more")
    (folder / "twin.png").write_bytes(png(1))
    (folder / "notes.md").write_text("not an image, and not named like one")
    return folder


def test_a_folder_becomes_rows_and_dead_letters(folder, tmp_path):
    dataset = Dataset(str(tmp_path / "data"))
    summary = run(dataset, folder)
    assert (summary.rows_in, summary.rows_out, summary.dead_letters) == (7, 5, 2)
    found = rows(dataset)
    assert len({row.image_id for row in found}) == 5
    assert found[0].source_caption == "a dark square"
    assert found[0].bytes == png(0)
    errors = [e for k in dataset.shards(Table.IMAGES) for e in dataset.errors("images", k)]
    assert {(e.id.split("/")[-1], e.error) for e in errors} == {
        ("broken.jpg", "ImageError"),
        ("twin.png", "Duplicate"),
    }


def test_a_second_import_leaves_shards_alone_and_mends_what_is_missing(folder, tmp_path):
    dataset = Dataset(str(tmp_path / "data"))
    before = run(dataset, folder)
    kept = rows(dataset)
    (tmp_path / "data" / "images" / "part-000001.parquet").unlink()
    after = run(dataset, folder)
    assert after.skipped == 3
    assert (after.rows_in, after.dead_letters) == (before.rows_in, before.dead_letters)
    assert rows(dataset) == kept


def test_a_link_that_leads_out_of_the_folder_is_not_followed(folder, tmp_path):
    (tmp_path / "secret.png").write_bytes(png(200))
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    dataset = Dataset(str(tmp_path / "data"))
    assert run(dataset, folder).dead_letters == 3
    assert png(200) not in {row.bytes for row in rows(dataset)}


@pytest.mark.parametrize("as_struct", [False, True])
def test_parquet_with_bytes_keeps_its_other_columns(tmp_path, as_struct):
    images = [{"bytes": png(n), "path": None} if as_struct else png(n) for n in range(3)]
    table = pa.table({"image": images, "caption": ["a", None, "c"], "licence": ["CC"] * 3})
    pq.write_table(table, tmp_path / "in.parquet")
    dataset = Dataset(str(tmp_path / "data"))
    assert run(dataset, tmp_path / "in.parquet").rows_out == 3
    first, second, _ = rows(dataset)
    assert (first.source_caption, second.source_caption) == ("a", None)
    assert json.loads(first.source) == {"licence": "CC"}


def test_a_source_with_nothing_in_it_is_one_clear_sentence(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="holds no images"):
        run(Dataset(str(tmp_path / "data")), tmp_path / "empty")
    with pytest.raises(SourceError, match="There is no"):
        run(Dataset(str(tmp_path / "data")), tmp_path / "absent")
    pq.write_table(pa.table({"a": [1]}), tmp_path / "other.parquet")
    with pytest.raises(SourceError, match="no column of image bytes"):
        run(Dataset(str(tmp_path / "data")), tmp_path / "other.parquet")
    assert not (tmp_path / "data" / "images").exists() or not rows(Dataset(str(tmp_path / "data")))
