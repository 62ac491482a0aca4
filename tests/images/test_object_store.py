"""Sources and datasets on an object store: a real S3 API, served on this machine by moto."""

import json
import logging
import uuid

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from moto.server import ThreadedMotoServer
from pyarrow import fs

from datagen.dataset import Dataset, DatasetError, Table
from datagen.demo.truth_tables import write_truth_dataset
from datagen.export.base import export
from datagen.export.finehard import FineHardExporter
from datagen.export.huggingface import HuggingFaceExporter
from datagen.export.webdataset import WebDatasetExporter
from datagen.images.sources.base import SourceError
from datagen.images.stage import ImagesStage, ImportConfig
from datagen.runner import RunConfig, run_stage
from tests.images.import_samples import Imported, local_ray, look_for, png, tar_of

KEY, SECRET = "an-access-key", "a-secret-that-must-not-be-seen"


@pytest.fixture(scope="module")
def store():
    """The server, with what a user sets in the environment to reach one."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", KEY)
        patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        yield f"{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(store):
    """A new bucket: its name, and its files by pyarrow."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    s3, _ = fs.FileSystem.from_uri(f"s3://{name}?allow_bucket_creation=true")
    s3.create_dir(name)
    return name, s3


def put(s3, path: str, data: bytes) -> None:
    with s3.open_output_stream(path) as stream:
        stream.write(data)


def as_parquet(columns) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue().to_pybytes()


def test_every_kind_of_source(bucket, tmp_path):
    name, s3 = bucket
    put(s3, f"{name}/photos/a/größe 名前.png", png(1))
    put(s3, f"{name}/photos/a/größe 名前.txt", b"a caption")
    put(s3, f"{name}/photos/b.jpg", b"")
    put(s3, f"{name}/tars/00000.tar", tar_of([("x.jpg", png(2)), ("x.txt", b"words")]))
    put(s3, f"{name}/hf/data/train-00000-of-00001.parquet",
        as_parquet({"image": [{"bytes": png(3), "path": "3.png"}], "text": ["three"]}))  # fmt: skip
    paths = ["a/größe 名前.png", f"s3://{name}/photos/a/größe 名前.png", "../tars/x.png"]
    put(s3, f"{name}/named/in.parquet", as_parquet({"path": paths}))
    record = {"f_path": "a/größe 名前.png", "caption": "long", "bbox_info": []}
    put(s3, f"{name}/finehard/0.json", json.dumps([record]).encode())

    photos = Imported(tmp_path / "1", f"s3://{name}/photos")
    assert [(row.uri, row.source_caption) for row in photos.rows] == [
        (f"s3://{name}/photos/a/größe 名前.png", "a caption")
    ]
    assert "the file is empty" in photos.reason("b.jpg")
    tars = Imported(tmp_path / "2", f"s3://{name}/tars/")
    assert [(row.bytes, row.source_caption) for row in tars.rows] == [(png(2), "words")]
    one = Imported(tmp_path / "3", f"s3://{name}/tars/00000.tar")
    assert one.rows[0].uri == tars.rows[0].uri == f"s3://{name}/tars/00000.tar#x.jpg"
    hugging_face = Imported(tmp_path / "4", f"s3://{name}/hf")
    assert [(row.bytes, row.source_caption) for row in hugging_face.rows] == [(png(3), "three")]
    root = {"image_root": f"s3://{name}/photos"}
    named = Imported(tmp_path / "5", f"s3://{name}/named", **root)
    assert [row.bytes for row in named.rows] == [png(1), png(1)]
    assert "leads out of" in named.reason("#2")
    finehard = Imported(tmp_path / "6", f"s3://{name}/finehard", **root)
    assert [(row.bytes, row.source_caption) for row in finehard.rows] == [(png(1), "long")]


def test_an_endpoint_in_the_url(bucket, store, tmp_path, monkeypatch):
    name, s3 = bucket
    put(s3, f"{name}/photos/a.png", png(1))
    put(s3, f"{name}/in.parquet", as_parquet({"image": [png(2)]}))
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    how = f"?endpoint_override={store}&scheme=http&region=us-east-1"
    folder = Imported(tmp_path / "1", f"s3://{name}/photos{how}")
    assert [row.uri for row in folder.rows] == [f"s3://{name}/photos/a.png"]
    file = Imported(tmp_path / "2", f"s3://{name}/in.parquet{how}")
    assert [row.uri for row in file.rows] == [f"s3://{name}/in.parquet#0"]


def test_what_is_not_there_is_one_sentence(bucket, tmp_path):
    name, _ = bucket
    for path in (f"s3://{name}/absent", "s3://no-such-bucket-at-all/x"):
        with pytest.raises(SourceError, match=r"There is no|holds no images|Cannot reach"):
            look_for(path, tmp_path / "data")


def test_a_store_that_does_not_answer_is_one_sentence(store, tmp_path):
    how = "?endpoint_override=127.0.0.1:9&scheme=http&region=us-east-1"
    with pytest.raises(SourceError, match=r"Cannot (reach|read) s3://bucket/photos"):
        look_for(f"s3://bucket/photos{how}", tmp_path / "data")


def test_an_unknown_option_or_scheme_is_one_sentence(tmp_path):
    for url in ("s3://bucket/photos?endpoint=x", "nonsense://bucket/photos"):
        with pytest.raises(DatasetError, match="Cannot open"):
            look_for(url, tmp_path / "data")


def test_a_dataset_on_the_store(bucket, tmp_path, capfd):
    """From bucket to bucket on Ray; resumed; no secret in anything written or said."""
    name, s3 = bucket
    for n in range(6):
        put(s3, f"{name}/photos/{n}.png", png(min(n, 4)))
    dataset = Dataset(f"s3://{name}/data/set")
    with local_ray():
        config = ImportConfig(images=f"s3://{name}/photos", shard_rows=4)
        run = RunConfig(cpus_per_actor=0.5, shards_in_flight=2, rows_in_flight=8)
        first = run_stage(ImagesStage(config), dataset, run)
        assert (first.rows_in, first.rows_out, first.dead_letters, first.shards) == (6, 5, 1, 2)
        s3.delete_file(f"{name}/data/set/images/part-000000.parquet")
        second = run_stage(ImagesStage(config), dataset, run)
        assert (second.rows_in, second.rows_out, second.rows_done) == (6, 5, 4)
    rows = [row for k in dataset.shards(Table.IMAGES) for row in dataset.read_rows(Table.IMAGES, k)]
    assert {row.bytes for row in rows} == {png(n) for n in range(5)}
    for exporter in (WebDatasetExporter(), HuggingFaceExporter("Squares")):
        out = f"s3://{name}/{exporter.format}"
        assert export(dataset, out, exporter).skipped == 0
        assert export(dataset, out, exporter).skipped == 2
        back = Imported(tmp_path / exporter.format, out)
        assert {row.bytes for row in back.rows} == {row.bytes for row in rows}
    truth = write_truth_dataset(str(tmp_path / "truth"), "demo", 3, shard_size=2, size=64)
    assert export(truth, f"s3://{name}/hard", FineHardExporter()).records == 3
    back = Imported(tmp_path / "hard", f"s3://{name}/hard")
    captions = {row.long for k in (0, 1) for row in truth.read_rows(Table.CAPTIONS, k)}
    assert {row.source_caption for row in back.rows} == captions
    said = "".join(capfd.readouterr())
    for info in s3.get_file_info(fs.FileSelector(f"{name}/data", recursive=True)):
        if info.is_file:
            said += s3.open_input_file(info.path).read().decode("latin-1")
    assert "rows_in" in said and KEY not in said and SECRET not in said
