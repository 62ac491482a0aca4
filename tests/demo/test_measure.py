"""The demo's figures, on tables that are true and on tables with faults put in."""

import json
from dataclasses import replace

import pytest
import torch

from datagen.dataset import FLOW, Dataset, GroundedPhrase, GroundingRow, Table
from datagen.dataset.lineage import Lineage
from datagen.demo.measure import measure
from datagen.demo.truth_tables import write_truth_dataset

LINEAGE = Lineage(stage="test", settings={})
FAR = (0.0, 0.0, 0.01, 0.01)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    return write_truth_dataset(str(tmp_path_factory.mktemp("truth")), "demo", 10)


def tables(truth, folder, region_of=lambda row: row, grounded=True):
    """The true tables as the demo's stages leave them, with another region for each if need be."""
    dataset = Dataset(str(folder))
    rows = {table: list(truth.read_rows(table, 0)) for table in FLOW}
    rows[Table.IMAGES] = [
        replace(row, source=json.dumps({"truth": row.source})) for row in rows[Table.IMAGES]
    ]
    rows[Table.REGIONS] = [region_of(row) for row in rows[Table.REGIONS]]
    rows[Table.GROUNDING] = [
        GroundingRow(
            image_id=row.image_id,
            grounded=float(grounded),
            phrases=[
                GroundedPhrase(
                    text="a", span_start=0, span_end=1, grounded=grounded, score=0.5
                )
            ],
            long=row.long,
        )
        for row in rows[Table.CAPTIONS]
    ]  # fmt: skip
    for table, content in rows.items():
        dataset.commit(table, 0, content, lineage=LINEAGE, rows_in=len(content))
    return dataset


def test_true_tables_are_right(truth, tmp_path):
    figures = measure(tables(truth, tmp_path), exam_scenes=4)
    assert figures.captions.object_recall == 1 and figures.captions.invented == 0
    parts = figures.captions.shown, figures.captions.held_out
    assert all(part.finish_recall == 1 and part.objects > 0 for part in parts)
    assert (figures.regions.recall, figures.regions.precision) == (1, 1)
    assert figures.regions.grounded == 1
    assert figures.negatives.valid == 1
    assert figures.regions.exam.scenes == 4 and figures.regions.exam.recall > 0.8
    assert figures.regions.planted.inventions >= 4


def test_boxes_at_the_wrong_place_and_phrases_without_a_box_are_seen(truth, tmp_path):
    wrong = tables(truth, tmp_path, lambda row: replace(row, bbox=FAR), grounded=False)
    figures = measure(wrong, exam_scenes=2)
    assert (figures.regions.recall, figures.regions.precision) == (0, 0)
    assert figures.regions.grounded == 0
