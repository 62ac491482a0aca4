"""The views answer what a user asks of a dataset, whole or half done."""

from __future__ import annotations

import json
from pathlib import Path

import fsspec
import pytest

from datagen.dataset import DatasetError, Table
from datagen.report.views import VIEWS, main, open_views, tables_present
from tests.report.report_samples import EVIL, PHRASES, lineage, write


def ask(root, query):
    return open_views(root).sql(query).fetchall()


def test_rows_of_each_view(data: Path):
    connection = open_views(data)
    found = {
        view: connection.sql(f"SELECT count(*) FROM {view}").fetchall()[0][0] for view in VIEWS
    }
    assert found == {
        "images": 6,
        "captions": 6,
        "regions": 18,
        "grounding": 0,
        "candidates": 0,
        "negatives": 18,
        "errors": 3,
        "shards": 8,
        "negative_items": 36,
        "pairs": 18,
        "lineage": 4,
        "error_reasons": 1,
    }


def test_a_negative_stands_beside_its_positive(data: Path):
    row = ask(
        data,
        'SELECT positive, text, "type", old, new FROM negative_items '
        "WHERE new = 'green' AND positive = 'a red mug' LIMIT 1",
    )
    assert row == [("a red mug", "a green mug", "colour", "red", "green")]


def test_pairs_join_what_belongs_together(data: Path):
    rows = ask(
        data,
        "SELECT p.phrase, substr(long, r.span_start + 1, r.span_end - r.span_start), "
        "positive, len(negatives), width FROM pairs AS p JOIN regions AS r USING (region_id)",
    )
    assert len(rows) == 18
    assert {row[0] for row in rows} == set(PHRASES)
    assert all(row == (row[0], row[0], row[0], 2, 200) for row in rows)


def test_shards_tell_what_made_them(data: Path):
    rows = ask(
        data,
        'SELECT shard, "rows", rows_in, dead_letters, stage, fingerprint FROM shards '
        "WHERE table_name = 'captions' ORDER BY shard",
    )
    mark = lineage("captions").fingerprint
    assert rows == [(0, 3, 4, 1, "captions", mark), (1, 3, 5, 2, "captions", mark)]
    settings = ask(data, "SELECT settings FROM lineage WHERE table_name = 'captions'")
    assert json.loads(settings[0][0]) == lineage("captions").settings


def test_dead_letters_by_stage(data: Path):
    assert ask(data, "SELECT * FROM error_reasons") == [("captions", EVIL, 3, EVIL)]


def test_tables_that_are_not_there_yet_are_empty_and_typed(tmp_path: Path):
    whole, part = tmp_path / "whole", tmp_path / "part"
    write(whole)
    write(part, upto=Table.CAPTIONS)
    assert tables_present(open_views(part)) == [Table.IMAGES, Table.CAPTIONS]
    assert ask(part, "SELECT count(*) FROM regions WHERE score > 0.5 AND bbox[1] < 1") == [(0,)]
    described = [
        [connection.sql(f"DESCRIBE {view}").fetchall() for view in VIEWS]
        for connection in map(open_views, (whole, part, tmp_path / "nothing"))
    ]
    assert described[0] == described[1] == described[2]


def test_a_shard_written_later_is_seen(tmp_path: Path):
    write(tmp_path, shards=1)
    connection = open_views(tmp_path)
    write(tmp_path, shards=2)
    assert connection.sql("SELECT count(*) FROM images").fetchall() == [(6,)]


@pytest.mark.parametrize("name", ["it's", "a [b] c", "what?*", 'double "quotes"', "a b;--"])
def test_any_folder_name(tmp_path: Path, name: str):
    write(tmp_path / name)
    write(tmp_path / "b")  # `[b]` as a pattern would match this one
    assert ask(tmp_path / name, "SELECT count(*), count(DISTINCT shard) FROM regions") == [(18, 2)]


def test_a_dataset_on_an_object_store(data: Path):
    store = fsspec.filesystem("memory")
    store.put(str(data), "/bucket/data", recursive=True)
    assert ask("memory://bucket/data", "SELECT count(*), sum(shard) FROM pairs") == [(18, 9)]


def test_an_unknown_kind_of_url():
    with pytest.raises(DatasetError, match="nowhere://x"):
        open_views("nowhere://x")


def test_the_command_prints_the_answer(data: Path, capsys):
    assert main(str(data), "SELECT phrase, count(*) AS n FROM regions GROUP BY 1 ORDER BY 1") == 0
    shown = capsys.readouterr().out
    assert "a red mug" in shown
    assert "6" in shown


def test_the_command_lists_the_views(data: Path, capsys):
    assert main(str(data)) == 0
    assert "negative_items (36 rows): shard, image_id" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("query", "reason"), [("SELECT nonsense FROM images", "nonsense"), ("SELEC 1", "SELEC")]
)
def test_a_wrong_query_is_answered(data: Path, capsys, query: str, reason: str):
    assert main(str(data), query) == 1
    assert reason in capsys.readouterr().err


def test_no_dataset_there(tmp_path: Path, capsys):
    assert main(str(tmp_path), "SELECT 1") == 1
    assert f"There is no dataset in {tmp_path}" in capsys.readouterr().err
