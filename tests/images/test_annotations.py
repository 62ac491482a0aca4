"""FineHARD's records become captions, regions and negatives that the trainer reads."""

import asyncio
import json

import pytest

from datagen.dataset import CaptionRow, NegativesRow, RegionRow
from datagen.images.annotations import AnnotatedImage, AnnotationsStage, negative
from datagen.stage import RowError

CAPTION = "In the kitchen, a red mug stands on a table."


def box(**changes) -> dict:
    return {
        "bbox": [0.1, 0.2, 0.5, 0.6, 0.87],
        "short_expr": "a red mug",
        "long_expr": "a red mug stands on a table",
        "flag_short_neg": 1,
        "short_expr_negs": {"0": "a blue mug", "1": "a red plastic mug", "2": "a red mug"},
    } | changes


def rows(*boxes, caption=CAPTION):
    record = {"short_caption": "a mug", "bbox_info": list(boxes)}
    return asyncio.run(AnnotationsStage().process(AnnotatedImage("f" * 32, caption, record)))


def test_a_record_becomes_rows_of_three_tables():
    caption, region, negatives = rows(box())
    assert isinstance(caption, CaptionRow) and (caption.long, caption.short) == (CAPTION, "a mug")
    assert isinstance(region, RegionRow) and region.bbox == (0.1, 0.2, 0.5, 0.6)
    assert CAPTION[region.span_start : region.span_end] == region.phrase == "a red mug"
    assert (region.score, region.description) == (0.87, "a red mug stands on a table")
    assert isinstance(negatives, NegativesRow) and negatives.region_id == region.region_id
    assert [n.text for n in negatives.negatives] == ["a blue mug", "a red plastic mug"]


def test_boxes_are_clipped_and_empty_ones_left_out():
    found = rows(
        box(bbox=[-0.1, 0, 1.2, 0.5, 0.9]),
        box(bbox=[0.5, 0.5, 0.5, 0.9, 0.9]),
        box(bbox=[1.1, 0, 1.3, 1, 0.9]),
        box(bbox=[float("nan"), 0, 1, 1, 0.9]),
        box(short_expr="Mug of another wording", flag_short_neg=0, short_expr_negs=None),
    )
    regions = [row for row in found if isinstance(row, RegionRow)]
    assert [row.bbox for row in regions] == [(0, 0, 1, 0.5), (0.1, 0.2, 0.5, 0.6)]
    assert (regions[1].span_start, regions[1].span_end) == (0, 0), "not in the caption"
    assert [len(row.negatives) for row in found if isinstance(row, NegativesRow)] == [2, 0]
    assert len({row.region_id for row in regions}) == 2


@pytest.mark.parametrize(
    ("text", "old", "new"),
    [
        ("a blue mug", "red", "blue"),
        ("a red mug", "", ""),
        ("a red plastic mug", "", "plastic"),
        ("a mug", "red", ""),
        ("two green cups", "a red mug", "two green cups"),
        ("a red", "mug", ""),
        ("a red mug there", "", "there"),
    ],
)
def test_what_a_negative_changes(text, old, new):
    found = negative("a red mug", text)
    assert (found.old, found.new) == (old, new)
    assert found.text[found.span_start : found.span_end] == new


@pytest.mark.parametrize(
    "broken", [box(bbox=[0.1, 0.2]), box(bbox="none"), box(bbox=None), {"bbox": [0, 0, 1, 1]}, 7]
)
def test_a_record_of_another_shape_is_refused_with_its_place(broken):
    with pytest.raises(RowError, match=r"bbox_info\[1\] is not as FineHARD's"):
        rows(box(), broken)


def test_an_image_without_a_record_is_refused():
    with pytest.raises(RowError, match="no record of FineHARD"):
        asyncio.run(AnnotationsStage().process(AnnotatedImage("0", "", json.loads("{}"))))
