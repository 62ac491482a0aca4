"""What is wrong with files from elsewhere: each benchmark that meets it says it in a sentence."""

import json
from dataclasses import replace

import pytest
from PIL import Image

from datagen.dataset import Table
from datagen.dataset.lineage import Lineage
from datagen.demo.truth_tables import write_truth_dataset
from datagen.evaluation.benchmark import Choices, Source, find
from datagen.evaluation.items import EvaluationError, Skipped, read_dataset
from tests.evaluation.words import WORDS, BagOfWords

COLOURS = ["red", "blue", "green"]


def fgovd(path):
    lines = [
        {
            "img_path": f"{c}.png", "bbox": [0, 0, 20, 10], "pos_expression": [f"{c} mug"],
            "neg_expression": ["a bird"],
        }
        for c in COLOURS
    ]  # fmt: skip
    return lines, lambda records: path.write_text("\n".join(map(json.dumps, records)))


def coco_boxes(path):
    boxes = [
        {"id": i, "image_id": i, "category_id": 1, "bbox": [0, 0, 9, 9]}
        for i, _ in enumerate(COLOURS)
    ]
    images = [{"id": i, "file_name": f"{c}.png"} for i, c in enumerate(COLOURS)]
    kinds = [{"id": 1, "name": "mug"}, {"id": 2, "name": "bird"}]

    def write(records):
        content = {"images": images, "annotations": records, "categories": kinds}
        path.write_text(json.dumps(content))

    return boxes, write


def sugarcrepe(path):
    pairs = [
        {"filename": f"{c}.png", "caption": c, "negative_caption": f"{c} bird"} for c in COLOURS
    ]
    return pairs, lambda records: path.write_text(json.dumps(dict(enumerate(records))))


def aro(path):
    rows = [
        {
            "image_path": f"{c}.png", "true_caption": c, "false_caption": f"{c} bird",
            "bbox_x": 0, "bbox_y": 0, "bbox_w": 20, "bbox_h": 20,
        }
        for c in COLOURS
    ]  # fmt: skip
    return rows, lambda records: path.write_text(json.dumps(records))


def coco_captions(path):
    images = [{"id": i, "file_name": f"{c}.png"} for i, c in enumerate(COLOURS)]
    notes = [{"image_id": i, "caption": c} for i, c in enumerate(COLOURS)]

    def write(records):
        path.write_text(json.dumps({"images": images, "annotations": records}))

    return notes, write


LAYOUTS = {f.__name__: f for f in (fgovd, coco_boxes, sugarcrepe, aro, coco_captions)}


@pytest.fixture
def made(tmp_path):
    """A source of a benchmark, whose records `change` has changed."""
    for c in COLOURS:
        Image.new("RGB", (40, 20), (WORDS.index(c), 0, 0)).save(tmp_path / f"{c}.png")

    def source(name, change=lambda records: None):
        records, write = LAYOUTS[name](tmp_path / "notes.json")
        change(records)
        write(records)
        return Source(annotations=str(tmp_path / "notes.json"), images=str(tmp_path))

    return source


def run(name, source):
    encoder = BagOfWords()
    return find(name).run(encoder, source, Choices(controls=False)), encoder


def refused_then_listed(name, source, says):
    """Above the share it is refused before anything is encoded; below, listed."""
    encoder = BagOfWords()
    with pytest.raises(EvaluationError, match=f"1 of 3 items cannot be evaluated.*{says}"):
        find(name).run(encoder, source, Choices(controls=False))
    outcome, _ = run(name, replace(source, max_skipped=0.4))
    assert len(outcome.skipped) == 1
    return encoder


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_missing_image_is_told_before_pictures_are_encoded(made, tmp_path, name):
    source = made(name)
    (tmp_path / "blue.png").unlink()
    assert refused_then_listed(name, source, "there is no image .*blue.png").pictures == 0


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_broken_image_is_told(made, tmp_path, name):
    source = made(name)
    (tmp_path / "blue.png").write_bytes(b"<html>")
    refused_then_listed(name, source, "cannot read the image .*blue.png: an HTML page")


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("fgovd", {"bbox": [30, 5, 20, 10]}),
        ("coco_boxes", {"bbox": [30, 5, 20, 10]}),
        ("aro", {"bbox_x": 30}),
    ],
)
def test_a_box_outside_its_picture_is_told(made, name, change):
    source = made(name, lambda records: records[1].update(change))
    refused_then_listed(name, source, "lies outside the image of 40 × 20")


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("fgovd", {"neg_expression": ["a bird", " "]}, "line 2 of .*one of its negatives is empty"),
        ("sugarcrepe", {"negative_caption": ""}, "pair 1 of .*an empty caption"),
        ("aro", {"false_caption": " "}, "record 1 of .*an empty caption"),
    ],
)
def test_an_empty_negative_is_told(made, name, change, says):
    source = made(name, lambda records: records[1].update(change))
    refused_then_listed(name, source, says)


FIELDS = {
    "fgovd": "pos_expression", "coco_boxes": "bbox", "sugarcrepe": "negative_caption",
    "aro": "true_caption", "coco_captions": "caption",
}  # fmt: skip


@pytest.mark.parametrize("name", LAYOUTS)
def test_fields_of_other_names_are_asked_for_and_then_found(made, name):
    field = FIELDS[name]

    def rename(records):
        for record in records:
            record["mine"] = record.pop(field)

    source = made(name, rename)
    with pytest.raises(EvaluationError, match=rf"{field}.*--columns"):
        run(name, source)
    renamed, _ = run(name, replace(source, columns={field: "mine"}))
    expected, _ = run(name, made(name))
    assert [r.value for r in renamed.results] == [r.value for r in expected.results]
    with pytest.raises(EvaluationError, match="has no field yours"):
        run(name, replace(source, columns={field: "yours"}))


def test_columns_of_what_has_none_are_refused(tmp_path):
    folder = str(tmp_path)
    for name in ("urban1k", "tables"):
        source = Source(annotations=folder, images=folder, data=folder, columns={"a": "b"})
        with pytest.raises(EvaluationError, match=f"{name} has no fields that --columns"):
            find(name).run(BagOfWords(), source, Choices())


def test_tables_list_what_is_broken_outside_or_empty(tmp_path):
    dataset = write_truth_dataset(str(tmp_path), "tiny-test", 16)
    images = list(dataset.read_rows(Table.IMAGES, 0))
    regions = list(dataset.read_rows(Table.REGIONS, 0))
    images[0] = replace(images[0], bytes=b"<html>")
    outside = next(i for i, r in enumerate(regions) if r.image_id == images[1].image_id)
    regions[outside] = replace(regions[outside], bbox=(0.5, 0.5, 1.5, 1.0))
    negatives = list(dataset.read_rows(Table.NEGATIVES, 0))
    at, row = next((i, r) for i, r in enumerate(negatives) if r.image_id == images[2].image_id)
    negatives[at] = replace(row, negatives=[replace(row.negatives[0], text=" ")])
    changed = {Table.IMAGES: images, Table.REGIONS: regions, Table.NEGATIVES: negatives}
    for table, rows in changed.items():
        lineage = Lineage(stage="truth", settings={})
        dataset.commit(table, 0, rows, lineage=lineage, rows_in=len(rows))
    with pytest.raises(EvaluationError, match=r"image \w+: an HTML page"):
        list(read_dataset(dataset))
    skipped = Skipped(limit=0.5)
    pictures = list(read_dataset(dataset, skipped))
    assert len(pictures) == 15 and len(skipped.reasons) == 3
    assert "no part of it" in skipped.reasons[1]
    assert f"region {row.region_id}" in skipped.reasons[2] and "is empty" in skipped.reasons[2]
