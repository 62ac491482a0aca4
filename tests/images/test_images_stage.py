"""A source becomes aligned shards: every file is a row or a dead letter, and nothing is lost."""

import shutil
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from datagen.dataset import Dataset, Table
from datagen.demo.truth_tables import write_truth_dataset
from datagen.export.base import export
from datagen.export.finehard import FineHardExporter
from datagen.images.annotations import AnnotationsStage
from datagen.images.sources.base import RawImage, SourceError
from datagen.images.stage import ImagesStage, ImportConfig
from datagen.runner import RunConfig, run_stage
from tests.images.import_samples import Imported, local_ray, look_for, png, tar_of

RUN = RunConfig(cpus_per_actor=0.5, shards_in_flight=2, rows_in_flight=8)


@pytest.fixture(scope="module")
def on_ray():
    with local_ray():
        yield


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

    shutil.rmtree(folder)
    assert run_stage(stage, dataset, RUN).rows_done == 0, "all is imported: it may be gone"
    (tmp_path / "data" / "images" / "part-000000.parquet").unlink()
    with pytest.raises(SourceError, match=f"There is no {folder}"):
        run_stage(stage, dataset, RUN)


def test_dead_letters_are_tried_again_alone(on_ray, tmp_path):
    """A tar a shard, whose number of rows nobody knows before; one picture was not there yet."""
    photos = tmp_path / "photos"
    photos.mkdir()
    table = {"path": ["a.png", "late.png", "b.png"]}
    pq.write_table(pa.table(table), tmp_path / "in.parquet")
    for n, name in enumerate(("a.png", "b.png")):
        (photos / name).write_bytes(png(n))
    dataset = Dataset(str(tmp_path / "data"))
    config = ImportConfig(images=str(tmp_path / "in.parquet"), image_root=str(photos))
    first = run_stage(ImagesStage(config), dataset, RUN)
    assert (first.rows_ok, first.dead_letters) == (2, 1)
    (letter,) = dataset.errors("images", 0)
    assert (letter.error, letter.attempts) == ("FetchError", 1) and "late.png" in letter.message
    (photos / "late.png").write_bytes(png(2))
    second = run_stage(ImagesStage(config), dataset, replace(RUN, retry_errors=True))
    assert (second.rows_ok, second.dead_letters, second.rows_done) == (3, 0, 1)
    assert [row.bytes for row in rows(dataset)] == [png(0), png(2), png(1)]


def test_tars_with_a_limit_then_whole(on_ray, tmp_path):
    for tar in range(2):
        members = [(f"{n}.png", png(10 * tar + n)) for n in range(3)]
        (tmp_path / f"{tar}.tar").write_bytes(tar_of(members))
    dataset = Dataset(str(tmp_path / "data"))
    some = run_stage(
        ImagesStage(ImportConfig(images=str(tmp_path))), dataset, replace(RUN, limit=4)
    )
    assert some.rows_ok == 4
    whole = run_stage(ImagesStage(ImportConfig(images=str(tmp_path))), dataset, RUN)
    assert (whole.rows_ok, whole.dead_letters, whole.rows_done) == (6, 0, 2)
    assert len({row.image_id for row in rows(dataset)}) == 6


def test_finehard_becomes_all_four_tables(on_ray, tmp_path):
    from_truth = write_truth_dataset(str(tmp_path / "truth"), "demo", 5, shard_size=2, size=64)
    export(from_truth, str(tmp_path / "finehard"), FineHardExporter())
    dataset = Dataset(str(tmp_path / "data"))
    run_stage(ImagesStage(ImportConfig(images=str(tmp_path / "finehard"))), dataset, RUN)
    summary = run_stage(AnnotationsStage(), dataset, RUN)
    assert (summary.rows_in, summary.dead_letters) == (5, 0)
    for table in (Table.CAPTIONS, Table.REGIONS, Table.NEGATIVES):
        counts = [
            sum(len(list(d.read_rows(table, k))) for k in d.shards(table))
            for d in (from_truth, dataset)
        ]
        assert counts[0] == counts[1] > 0


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
        look_for(tmp_path / path, tmp_path / "data")


def test_a_kind_that_holds_nothing_leaves_no_plan(tmp_path):
    (tmp_path / "a.png").write_bytes(png(1))
    stage = ImagesStage(ImportConfig(images=str(tmp_path), source_format="tar"))
    with pytest.raises(SourceError, match="holds no images"):
        stage.prepare(Dataset(str(tmp_path / "data")))
    assert not (tmp_path / "data" / "_index" / "source" / "plan.json").exists()


def test_a_key_in_a_url_is_refused(tmp_path):
    with pytest.raises(Exception, match="credentials by the environment") as error:
        look_for("s3://AKIA:secret@bucket/x", tmp_path / "data")
    assert "secret" not in str(error.value)


def test_a_dry_run_shows_no_bytes(tmp_path):
    (tmp_path / "a.png").write_bytes(png(1))
    (row,) = Imported(tmp_path / "data", tmp_path).rows
    stage = ImagesStage(ImportConfig(images=str(tmp_path)))
    shown = stage.preview(RawImage(row.uri), [row])
    assert row.phash in shown and "PNG" in shown and "IHDR" not in shown
