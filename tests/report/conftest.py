"""Fixtures of the report's tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from datagen.evaluation.item_scores import write_items
from tests.report.report_samples import EVIL, item, picture, write


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A dataset of two shards with three images each."""
    root = tmp_path / "data"
    write(root)
    return root


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Items of two models, and the folder of their pictures; 4.png is missing."""
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(4):
        (pictures / f"{number}.png").write_bytes(picture(number))
    first, second = tmp_path / "first" / "evaluation.parquet", tmp_path / "second" / "e.parquet"
    evil = f"a {EVIL} mug"
    write_items(
        first,
        [item(0, 0.9, 0.1), item(1, 0.1, 0.4), item(2, 0.2, 0.3, evil), item(3, 0.5, 0.4),
         item(4, 0.1, 0.8)],
    )  # fmt: skip
    write_items(
        second,
        [item(0, 0.1, 0.6), item(1, 0.7, 0.2), item(2, 0.2, 0.3, evil), item(3, 0.5, 0.4),
         item(4, 0.2, 0.7)],
    )  # fmt: skip
    return first, second, pictures
