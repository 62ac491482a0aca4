"""What is exported is read back whole: by our own sources, by DuckDB and by plain parsers."""

import asyncio
import hashlib
import io
import json
import tarfile
from dataclasses import replace
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from datagen.dataset import CaptionRow, Dataset, DatasetError, RegionRow, Table
from datagen.dataset.lineage import Lineage
from datagen.demo.truth_tables import write_truth_dataset
from datagen.export.base import export
from datagen.export.finehard import FineHardExporter
from datagen.export.huggingface import HuggingFaceExporter
from datagen.export.webdataset import WebDatasetExporter
from datagen.images.annotations import AnnotatedImage, AnnotationsStage
from datagen.images.stage import ImagesStage, ImportConfig

SCENES, SHARD = 7, 3
EXPORTERS = {
    "finehard": FineHardExporter(),
    "webdataset": WebDatasetExporter(),
    "huggingface": HuggingFaceExporter("Drawn things"),
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    return write_truth_dataset(str(root), "demo", SCENES, shard_size=SHARD, size=64)


def rows(dataset: Dataset, table: Table) -> list:
    return [row for k in dataset.shards(table) for row in dataset.read_rows(table, k)]


def reimported(path, data) -> list:
    """Rows of the images table that an import of the export gives."""

    async def run() -> list:
        stage, target = ImagesStage(ImportConfig(images=str(path))), Dataset(str(data))
        stage.check_source(target)
        stage.prepare(target)
        await stage.open()
        items = [i for k in stage.shards(target) for i in stage.read(target, k)]
        return [row for item in items for row in await stage.process(item)]

    return asyncio.run(run())


def files_of(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("name", EXPORTERS)
def test_every_format_comes_back_with_pictures_and_captions(dataset, tmp_path, name):
    summary = export(dataset, str(tmp_path / "out"), EXPORTERS[name])
    assert (summary.images, summary.records, summary.shards) == (SCENES, SCENES, 3)
    back = reimported(tmp_path / "out", tmp_path / "back")
    assert {row.bytes for row in back} == {row.bytes for row in rows(dataset, Table.IMAGES)}
    captions = {row.image_id: row for row in rows(dataset, Table.CAPTIONS)}
    for row in back:
        about = json.loads(row.source)
        long = about["long"] if name == "huggingface" else row.source_caption
        assert long == captions[row.image_id].long


@pytest.mark.parametrize("name", EXPORTERS)
def test_an_export_goes_on_where_it_was_and_is_the_same_again(dataset, tmp_path, name):
    export(dataset, str(tmp_path / "one"), EXPORTERS[name])
    first = files_of(tmp_path / "one")
    shards = [f for f in first if f.endswith((".json", ".tar", ".parquet")) and "-" in f]
    assert len(shards) == 3
    (tmp_path / "one" / shards[1]).unlink()
    again = export(dataset, str(tmp_path / "one"), EXPORTERS[name])
    assert again.skipped == 2 and files_of(tmp_path / "one") == first
    export(dataset, str(tmp_path / "two"), EXPORTERS[name])
    assert files_of(tmp_path / "two") == first
    assert not [f for f in first if f.endswith(".tmp")]


def test_finehard_has_its_fields_and_comes_back_as_the_same_tables(dataset, tmp_path):
    export(dataset, str(tmp_path / "out"), FineHardExporter())
    records = json.loads((tmp_path / "out" / "part-000000.json").read_text())
    assert len(records) == SHARD
    for record in records:
        assert set(record) == {"f_path", "caption", "short_caption", "bbox_info"}
        assert Image.open(tmp_path / "out" / record["f_path"]).size == (64, 64)
        for info in record["bbox_info"]:
            assert set(info) == {
                "bbox", "short_expr", "long_expr", "flag_short_neg", "short_expr_negs",
            }  # fmt: skip
            assert len(info["bbox"]) == 5 and all(0 <= side <= 1 for side in info["bbox"][:4])
            assert info["flag_short_neg"] == int(len(info["short_expr_negs"]) == 10)

    back = []
    for row in reimported(tmp_path / "out", tmp_path / "back"):
        item = AnnotatedImage(row.image_id, row.source_caption, json.loads(row.source))
        back += asyncio.run(AnnotationsStage().process(item))
    captions = [(row.image_id, row.long, row.short) for row in rows(dataset, Table.CAPTIONS)]
    found = [(r.image_id, r.long, r.short) for r in back if isinstance(r, CaptionRow)]
    assert sorted(found) == sorted(captions)
    regions = [(r.image_id, r.phrase, r.bbox) for r in rows(dataset, Table.REGIONS)]
    found = [(r.image_id, r.phrase, r.bbox) for r in back if isinstance(r, RegionRow)]
    assert sorted(found) == sorted(regions)
    texts = [[n.text for n in row.negatives] for row in rows(dataset, Table.NEGATIVES)]
    found = [[n.text for n in r.negatives] for r in back if hasattr(r, "negatives")]
    assert sorted(found) == sorted(texts)
    changes = {
        (row.positive, n.text): (n.old, n.new)
        for row in rows(dataset, Table.NEGATIVES)
        for n in row.negatives
    }
    for row in back:
        for negative in getattr(row, "negatives", ()):
            assert (negative.old, negative.new) == changes[row.positive, negative.text]


def test_webdataset_members_stand_together(dataset, tmp_path):
    export(dataset, str(tmp_path), WebDatasetExporter())
    with tarfile.open(tmp_path / "part-000000.tar") as tar:
        names = tar.getnames()
        assert {(m.mtime, m.uid, m.uname) for m in tar.getmembers()} == {(0, 0, "")}
        about = json.load(tar.extractfile(names[2]))
    assert [name.rpartition(".")[2] for name in names] == ["jpg", "txt", "json"] * SHARD
    assert len({name.partition(".")[0] for name in names}) == SHARD
    assert about["regions"] and about["regions"][0]["negatives"]


def test_hugging_face_opens_with_duckdb_and_has_a_card(dataset, tmp_path):
    export(dataset, str(tmp_path), HuggingFaceExporter("Drawn things"))
    path = f"{tmp_path}/data/train-*.parquet"
    ((count, regions),) = duckdb.sql(
        f"SELECT count(*), sum(len(regions)) FROM '{path}' WHERE octet_length(image.bytes) > 0"
    ).fetchall()
    assert (count, regions) == (SCENES, len(rows(dataset, Table.REGIONS)))
    first = pq.read_table(tmp_path / "data" / "train-00000-of-00003.parquet")
    features = json.loads(first.schema.metadata[b"huggingface"])["info"]["features"]
    assert features["image"] == {"_type": "Image"} and list(features) == first.column_names
    assert Image.open(io.BytesIO(first["image"][0]["bytes"].as_py())).size == (64, 64)
    card = (tmp_path / "README.md").read_text()
    front = yaml.safe_load(card.split("---\n")[1])
    assert front["pretty_name"] == "Drawn things" and front["license"] == "unknown"
    assert front["size_categories"] == ["n<1K"] and "synthetic" in front["tags"]
    assert front["configs"][0]["data_files"][0]["path"] == "data/train-*.parquet"
    assert "drawn by a program" in card and f"| images | {SCENES} | 0 | truth |" in card
    assert "made by models" not in card


def copy_with_captions(dataset, root, lineage, left_out=0):
    """Images of a dataset, and captions as a stage would leave them."""
    target = Dataset(str(root))
    images = Lineage(stage="images", settings={"images": "photos"})
    for table, run in ((Table.IMAGES, images), (Table.CAPTIONS, lineage)):
        target.claim(table, run)
        for shard in dataset.shards(table):
            some = list(dataset.read_rows(table, shard))
            kept = some[left_out:] if table == Table.CAPTIONS else some
            dead = len(some) - len(kept)
            target.commit(table, shard, kept, lineage=run, rows_in=len(some))
            assert dead == (left_out if table == Table.CAPTIONS else 0)
    return target


def test_the_card_names_models_and_prompts(dataset, tmp_path):
    settings = {
        "engine": {"model": "org/captioner", "revision": "abc123", "temperature": 0.0},
        "long_prompt": {"name": "caption-long", "version": 3, "hash": "feed"},
    }
    lineage = Lineage(stage="captions", settings=settings)
    target = copy_with_captions(dataset, tmp_path / "data", lineage)
    export(target, str(tmp_path / "out"), HuggingFaceExporter('A "quoted": name'))
    card = (tmp_path / "out" / "README.md").read_text()
    assert yaml.safe_load(card.split("---\n")[1])["pretty_name"] == 'A "quoted": name'
    assert "`org/captioner` @ `abc123`" in card and "caption-long v3 (`feed`)" in card
    assert "Captions were made by models" in card
    assert "Synthetic" not in card and "region" not in card.split("## How")[0].split("---\n")[2]


def test_images_without_a_caption(dataset, tmp_path):
    """FineHARD has no place for them, the others keep them."""
    lineage = Lineage(stage="captions", settings={})
    target = copy_with_captions(dataset, tmp_path / "data", lineage, left_out=1)
    summary = export(target, str(tmp_path / "finehard"), FineHardExporter())
    assert (summary.images, summary.records) == (SCENES, SCENES - 3)
    assert "3 left out" in summary.line()
    export(target, str(tmp_path / "huggingface"), HuggingFaceExporter("x"))
    path = f"{tmp_path}/huggingface/data/*.parquet"
    assert duckdb.sql(f"SELECT count(*), count(long) FROM '{path}'").fetchall() == [(7, 4)]


def test_unfinished_or_changed_datasets_are_refused(dataset, tmp_path):
    with pytest.raises(DatasetError, match="holds no images"):
        export(Dataset(str(tmp_path / "empty")), str(tmp_path / "out"), WebDatasetExporter())
    lineage = Lineage(stage="captions", settings={})
    target = copy_with_captions(dataset, tmp_path / "data", lineage)
    export(target, str(tmp_path / "out"), WebDatasetExporter())
    (first, *others) = target.read_rows(Table.CAPTIONS, 0)
    more = [replace(first, long="another"), *others[:-1]]
    target.commit(Table.CAPTIONS, 0, more, lineage=lineage, rows_in=SHARD)
    with pytest.raises(DatasetError, match=r"another state of it .*rows.captions: 7 there, 6 now"):
        export(target, str(tmp_path / "out"), WebDatasetExporter())
    Path(tmp_path, "data", "captions", "part-000001.parquet").unlink()
    with pytest.raises(DatasetError, match=r"lacks 1 of 3 shards .the first is 1"):
        export(target, str(tmp_path / "new"), WebDatasetExporter())


def test_a_dataset_with_no_captions_makes_no_finehard(dataset, tmp_path):
    target = Dataset(str(tmp_path / "data"))
    lineage = Lineage(stage="images", settings={})
    target.commit(Table.IMAGES, 0, dataset.read_rows(Table.IMAGES, 0), lineage=lineage, rows_in=3)
    with pytest.raises(DatasetError, match="has no captions"):
        export(target, str(tmp_path / "out"), FineHardExporter())
