"""Fixtures of the report's tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.report.report_samples import write


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A dataset of two shards with three images each."""
    root = tmp_path / "data"
    write(root)
    return root
