"""A source becomes aligned shards: every file is a row or a dead letter, and nothing is lost."""

import pytest
import ray
from import_samples import Imported, png
from PIL import Image

from datagen.dataset import Dataset, Table
from datagen.images.sources.base import RawImage, SourceError
from datagen.images.stage import ImagesStage, ImportConfig
from datagen.runner import RunConfig, run_stage

RUN = RunConfig(cpus_per_actor=0.5, shards_in_flight=2, rows_in_flight=8)


@pytest.fixture(scope="module")
def on_ray():
    ray.init(address="local", num_cpus=2, logging_level="ERROR", log_to_driver=False)
    yield
    ray.shutdown()


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


def rows(dataset):
    return [row for k in dataset.shards(Table.IMAGES) for row in dataset.read_rows(Table.IMAGES, k)]


def test_a_folder_becomes_rows_and_dead_letters_and_is_mended(on_ray, folder, tmp_path):
    dataset = Dataset(str(tmp_path / "data"))
    stage = ImagesStage(ImportConfig(images=str(folder), shard_rows=2))
    summary = run_stage(stage, dataset, RUN)
    assert (summary.rows_in, summary.rows_out, summary.dead_letters) == (7, 5, 2)
    assert dataset.read_json("images/summary.json")["rows_out"] == 5
    found = rows(dataset)
    assert len({row.image_id for row in found}) == 5
    assert found[0].source_caption == "a dark square"
    assert found[0].bytes == png(0) and found[0].uri == f"{folder}/0.png"
    errors = [e for k in dataset.shards(Table.IMAGES) for e in dataset.errors("images", k)]
    assert {e.error for e in errors} == {"ImageError", "Duplicate"}

    again = run_stage(ImagesStage(ImportConfig(images=str(folder), shard_rows=2)), dataset, RUN)
    assert again.rows_done == 0
    (tmp_path / "data" / "images" / "part-000000.parquet").unlink()
    mended = run_stage(ImagesStage(ImportConfig(images=str(folder), shard_rows=2)), dataset, RUN)
    assert (mended.rows_in, mended.dead_letters, mended.rows_done) == (7, 2, 2)
    assert {row.image_id for row in rows(dataset)} == {row.image_id for row in found}


def test_an_import_that_goes_on_keeps_its_plan_and_says_that_files_came(folder, tmp_path, capsys):
    before = Imported(tmp_path / "data", folder, shard_rows=2)
    assert before.expected == [2, 2, 2, 1]
    (folder / "00.png").write_bytes(png(100))  # would be the second file
    (folder / "3.png").unlink()
    after = Imported(tmp_path / "data", folder, shard_rows=2)
    assert after.shards == before.shards
    assert "3.png is not there" in after.reason("3.png")
    assert "has 7 files, and had 7 when this import was planned" in capsys.readouterr().err


def test_pictures_that_engines_refuse_are_refused_here(tmp_path):
    for name, size in {"dot.png": (1, 1), "strip.png": (20_000, 20), "good.png": (40, 8)}.items():
        Image.new("RGB", size).save(tmp_path / name)
    result = Imported(tmp_path / "data", tmp_path)
    assert [row.width for row in result.rows] == [40]
    assert "1×1 pixels, a side must have at least 8" in result.reason("dot.png")
    assert "20000×20 pixels, sides may differ 200 times at most" in result.reason("strip.png")


def test_a_file_that_is_too_large_is_refused_unread(tmp_path):
    (tmp_path / "a.png").write_bytes(png(1))
    result = Imported(tmp_path / "data", tmp_path, max_bytes=20)
    assert "the limit is 20" in result.reason("a.png")


@pytest.mark.parametrize(
    ("path", "says"), [("empty", "holds no images"), ("absent", "There is no"), ("f.md", "is no")]
)
def test_a_source_with_nothing_in_it_is_one_clear_sentence(tmp_path, path, says):
    (tmp_path / "empty").mkdir()
    (tmp_path / "f.md").write_text("words")
    with pytest.raises(SourceError, match=says):
        ImagesStage(ImportConfig(images=str(tmp_path / path))).check()


def test_a_kind_that_holds_nothing_leaves_no_plan(tmp_path):
    (tmp_path / "a.png").write_bytes(png(1))
    stage = ImagesStage(ImportConfig(images=str(tmp_path), source_format="tar"))
    with pytest.raises(SourceError, match="holds no images"):
        stage.prepare(Dataset(str(tmp_path / "data")))
    assert not (tmp_path / "data" / "_index" / "source" / "plan.json").exists()


def test_a_key_in_a_url_is_refused(tmp_path):
    with pytest.raises(Exception, match="credentials by the environment") as error:
        ImagesStage(ImportConfig(images="s3://AKIA:secret@bucket/x")).check()
    assert "secret" not in str(error.value)


def test_a_dry_run_shows_no_bytes(tmp_path):
    (tmp_path / "a.png").write_bytes(png(1))
    (row,) = Imported(tmp_path / "data", tmp_path).rows
    stage = ImagesStage(ImportConfig(images=str(tmp_path)))
    shown = stage.preview(RawImage(row.uri), [row])
    assert row.phash in shown and "PNG" in shown and "IHDR" not in shown
