"""The page on the data contract says what the schemas say, and its examples work."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from datagen.dataset import SCHEMAS
from datagen.dataset.describe import describe
from datagen.report.views import open_views

DOCUMENT = (Path(__file__).parents[2] / "docs" / "data-contract.md").read_text(encoding="utf-8")


def test_the_page_holds_the_description():
    assert describe() in DOCUMENT, "run `python -m datagen.dataset.describe` and put it there"


def test_every_column_is_described():
    for schema in SCHEMAS.values():
        for name in schema.names:
            assert f"| `{name}` | " in DOCUMENT
    assert "| `negatives[].span_start` | int32 | first character" in DOCUMENT
    assert "| string, may be null | caption that came with" in DOCUMENT


def test_the_command_prints_it():
    run = subprocess.run(
        [sys.executable, "-m", "datagen.dataset.describe"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout == describe()


@pytest.mark.parametrize("query", re.findall(r"```sql\n(.*?)```", DOCUMENT, re.DOTALL))
def test_the_queries_of_the_page_run(tmp_path: Path, query: str):
    assert isinstance(open_views(tmp_path).sql(query), duckdb.DuckDBPyRelation)
