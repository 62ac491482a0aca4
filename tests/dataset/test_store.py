"""A dataset keeps what it is given, shows a shard whole or not at all, and guards its settings."""

import errno
import os

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datagen.dataset import (
    SCHEMA_VERSION,
    SCHEMAS,
    CaptionRow,
    Dataset,
    DatasetError,
    ErrorRow,
    Negative,
    NegativesRow,
    RegionRow,
    Table,
)
from datagen.dataset.files import StorageError
from datagen.dataset.lineage import Lineage
from datagen.version import code_version

LINEAGE = Lineage(stage="negatives", settings={"engine": {"model": "tiny"}, "per_region": 10})


def negatives_row(number: int = 0) -> NegativesRow:
    negative = Negative(
        text="a blue mug",
        type="colour",
        span_start=2,
        span_end=6,
        old="red",
        new="blue",
        checks=["article"],
    )
    return NegativesRow(
        region_id=f"r{number}", image_id="i", positive="a red mug", negatives=[negative]
    )


def commit(dataset: Dataset, rows, errors=(), shard=0) -> None:
    dataset.commit(
        Table.NEGATIVES,
        shard,
        rows,
        lineage=LINEAGE,
        rows_in=len(rows) + len(errors),
        errors=errors,
    )


def test_rows_come_back_as_they_were(tmp_path):
    dataset = Dataset(str(tmp_path))
    rows = [negatives_row(n) for n in range(600)]  # more than two row groups
    commit(dataset, rows)
    assert list(dataset.read_rows(Table.NEGATIVES, 0)) == rows


def test_boxes_come_back_as_tuples_of_four(tmp_path):
    dataset = Dataset(str(tmp_path))
    row = RegionRow(
        region_id="r",
        image_id="i",
        phrase="a mug",
        span_start=0,
        span_end=5,
        bbox=(0.0, 0.25, 0.5, 1.0),
        score=0.5,
        margin=0.25,
        description="A mug.",
    )
    dataset.commit(Table.REGIONS, 3, [row], lineage=LINEAGE, rows_in=1)
    assert list(dataset.read_rows(Table.REGIONS, 3)) == [row]
    assert dataset.shards(Table.REGIONS) == [3]


def test_duckdb_reads_the_shards(tmp_path):
    commit(Dataset(str(tmp_path)), [negatives_row()])
    query = f"SELECT n.type FROM '{tmp_path}/negatives/*.parquet', UNNEST(negatives) AS t(n)"
    assert duckdb.sql(query).fetchall() == [("colour",)]


def test_every_column_is_described_and_the_version_travels_with_the_file(tmp_path):
    commit(Dataset(str(tmp_path)), [negatives_row()])
    schema = pq.read_schema(tmp_path / "negatives" / "part-000000.parquet")
    assert all(field.metadata[b"description"] for field in schema)
    assert all(field.metadata[b"description"] for s in SCHEMAS.values() for field in s)
    about = Dataset(str(tmp_path)).metadata(Table.NEGATIVES, 0)
    assert about["schema_version"] == SCHEMA_VERSION
    assert about["lineage"]["settings"]["engine"]["model"] == "tiny"
    assert about["lineage"]["fingerprint"] == LINEAGE.fingerprint
    assert about["lineage"]["code_version"] == code_version()


def test_the_code_version_changes_with_the_code(tmp_path, monkeypatch):
    for name, text in {"version.py": "", "a.py": "x = 1"}.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr("datagen.version.__file__", str(tmp_path / "version.py"))
    before = code_version.__wrapped__()
    assert before == code_version.__wrapped__() and before.startswith("0.")
    (tmp_path / "a.py").write_text("x = 2")
    assert code_version.__wrapped__() != before


def test_dead_letters_lie_beside_the_shard_and_go_when_it_is_mended(tmp_path):
    dataset = Dataset(str(tmp_path))
    error = ErrorRow(id="r1", stage="negatives", error="RowError", message="why", attempts=2)
    commit(dataset, [negatives_row()], [error])
    assert dataset.errors("negatives", 0) == [error]
    assert dataset.metadata(Table.NEGATIVES, 0)["dead_letters"] == 1
    commit(dataset, [negatives_row(), negatives_row(1)])
    assert dataset.errors("negatives", 0) == []


def test_a_row_that_does_not_fit_the_schema_leaves_no_shard_behind(tmp_path):
    dataset = Dataset(str(tmp_path))
    bad = CaptionRow(
        image_id="i",
        long="a",
        short="b",
        long_finish_reason="stop",
        short_finish_reason="stop",
        prompt_tokens="many",  # type: ignore[arg-type]
        long_tokens=1,
        short_tokens=1,
    )
    with pytest.raises((pa.ArrowInvalid, pa.ArrowTypeError)):
        dataset.commit(Table.CAPTIONS, 0, [bad], lineage=LINEAGE, rows_in=1)
    assert dataset.shards(Table.CAPTIONS) == []


def test_a_half_written_file_is_no_shard(tmp_path):
    dataset = Dataset(str(tmp_path))
    commit(dataset, [negatives_row()])
    (tmp_path / "negatives" / ".part-000001.parquet.abc.tmp").write_bytes(b"PAR1")
    assert dataset.shards(Table.NEGATIVES) == [0]


def test_another_configuration_is_refused_and_the_fields_are_named(tmp_path):
    dataset = Dataset(str(tmp_path))
    dataset.claim(Table.NEGATIVES, LINEAGE)
    dataset.claim(Table.NEGATIVES, LINEAGE)  # the same again is welcome
    other = Lineage(stage="negatives", settings={"engine": {"model": "big"}, "per_region": 10})
    with pytest.raises(DatasetError, match=r"engine\.model: 'tiny' there, 'big' now"):
        dataset.claim(Table.NEGATIVES, other)


def test_a_shard_from_the_future_and_a_broken_one_are_told_apart(tmp_path):
    dataset = Dataset(str(tmp_path))
    folder = tmp_path / "negatives"
    folder.mkdir()
    schema = SCHEMAS[Table.NEGATIVES].with_metadata({"datagen": '{"schema_version": 99}'})
    pq.write_table(pa.Table.from_pylist([], schema), folder / "part-000000.parquet")
    (folder / "part-000001.parquet").write_bytes(b"not parquet")
    with pytest.raises(DatasetError, match="schema version 99"):
        list(dataset.read_rows(Table.NEGATIVES, 0))
    with pytest.raises(DatasetError, match="schema version 99"):
        dataset.counts(Table.NEGATIVES, [0])  # what a run does with shards that are there
    with pytest.raises(DatasetError, match="Cannot read shard"):
        list(dataset.read_rows(Table.NEGATIVES, 1))


def test_a_dataset_may_be_a_url(tmp_path):
    dataset = Dataset(f"file://{tmp_path}")
    commit(dataset, [negatives_row()])
    assert dataset.shards(Table.NEGATIVES) == [0]
    assert (tmp_path / "negatives" / "part-000000.parquet").is_file()


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSPC, "No space left for .*captions/part-000000.parquet: free some"),
        (errno.EDQUOT, "No space left"),
        (errno.EROFS, "cannot be written .*choose another folder"),
        (errno.EACCES, "cannot be written .*choose another folder"),
        (errno.EIO, "Cannot write .*mend that"),
    ],
)
def test_a_write_that_fails_says_why_and_leaves_nothing(tmp_path, monkeypatch, code, words):
    dataset = Dataset(str(tmp_path))
    dataset.commit(Table.CAPTIONS, 1, [], lineage=LINEAGE, rows_in=0)
    before = sorted((tmp_path / "captions").iterdir())

    def fail(_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("datagen.dataset.files.os.fsync", fail)
    with pytest.raises(StorageError, match=words):
        dataset.commit(Table.CAPTIONS, 0, [], lineage=LINEAGE, rows_in=0)
    assert sorted((tmp_path / "captions").iterdir()) == before


def test_a_folder_that_the_kernel_lets_nobody_write_to():
    dataset = Dataset("/sys/dataset")  # not even root may make it
    with pytest.raises(StorageError, match=r"/sys/dataset/negatives/run.json cannot be written"):
        dataset.claim(Table.NEGATIVES, LINEAGE)


def test_a_file_where_a_folder_should_be(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"Cannot (read|write) .*Not a directory"):
        Dataset(str(tmp_path / "file")).claim(Table.NEGATIVES, LINEAGE)


def test_a_store_that_does_not_answer(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    how = "?endpoint_override=127.0.0.1:9&scheme=http&region=us-east-1"
    with pytest.raises(StorageError, match=r"Cannot read .*s3://bucket/data"):
        Dataset(f"s3://bucket/data{how}").claim(Table.NEGATIVES, LINEAGE)


def test_what_a_dead_writer_left_is_swept_and_what_is_being_written_is_not(tmp_path):
    folder = tmp_path / "captions"
    folder.mkdir()
    old, new = folder / ".part-000000.parquet.a.tmp", folder / ".part-000001.parquet.b.tmp"
    for path in (old, new):
        path.touch()
    os.utime(old, (0, 0))
    Dataset(str(tmp_path)).files.sweep("captions")
    assert list(folder.iterdir()) == [new]
