"""Retrieval and box classification on the layouts in which their authors publish them."""

import json

import pytest
from PIL import Image

from datagen.evaluation.benchmark import Choices, Source, find
from datagen.evaluation.items import EvaluationError
from tests.evaluation.words import WORDS, BagOfWords

COLOURS = ["red", "blue", "green"]


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for word in COLOURS:
        Image.new("RGB", (40, 20), (WORDS.index(word), 0, 0)).save(folder / f"{word}.png")
    return folder


def coco(path, _):
    images = [{"id": i, "file_name": f"{c}.png"} for i, c in enumerate(COLOURS)]
    notes = [
        {"image_id": i, "caption": f"{c} {w}"} for i, c in enumerate(COLOURS) for w in ("a", "b")
    ]
    path.write_text(json.dumps({"images": images, "annotations": notes}))


def flickr(path, _):
    images = [
        {"filename": f"{c}.png", "split": "test", "sentences": [{"raw": f"{c} a"}, {"raw": c}]}
        for c in COLOURS
    ]
    images.append({"filename": "gone.png", "split": "train", "sentences": [{"raw": "a"}]})
    path.write_text(json.dumps({"images": images}))


def sharegpt4v(path, _):
    rows = [
        {"image": f"sam/images/{c}.png", "conversations": [{"value": "?"}, {"value": c}]}
        for c in COLOURS
    ]
    path.write_text(json.dumps(rows))


def dci(path, _):
    path.mkdir()
    for c in COLOURS:
        (path / f"{c}.json").write_text(json.dumps({"image": f"{c}.png", "extra_caption": c}))


def urban(path, _):
    path.mkdir()
    for c in COLOURS:
        (path / f"{c}.txt").write_text(c)


LAYOUTS = {
    "coco_captions": coco, "flickr30k": flickr, "sharegpt4v": sharegpt4v, "dci": dci,
    "urban1k": urban,
}  # fmt: skip


@pytest.mark.parametrize("name", LAYOUTS)
def test_each_layout_is_read_and_each_image_found(tmp_path, images, name):
    LAYOUTS[name](tmp_path / "notes", images)
    source = Source(annotations=str(tmp_path / "notes"), images=str(images))
    encoder = BagOfWords()
    outcome = find(name).run(encoder, source, Choices())
    found = {r.metric: r for r in outcome.results}
    assert found["i2t_r1"].value == found["t2i_r1"].value == 1
    assert encoder.pictures == found["i2t_r1"].n == 3
    assert found["t2i_r1"].n == (6 if name in ("coco_captions", "flickr30k") else 3)
    assert found["i2t_r1"].settings["text_positions"] == (
        "short" if name in ("coco_captions", "flickr30k") else "long"
    )
    rows = [row for row in outcome.items if row.task == "t2i"]
    assert len(rows) == found["t2i_r1"].n and len(outcome.items) == len(rows) + 3
    assert all(row.image_id.startswith(row.positive.split()[0]) for row in rows)
    assert all(row.scores[0] > row.scores[1] and row.rank == 0 for row in rows)
    (images / "red.png").unlink()
    with pytest.raises(EvaluationError, match=r"1 of 3 items.*red\.(png|jpg)"):
        find(name).run(encoder, source, Choices())


@pytest.mark.parametrize("name", LAYOUTS)
def test_another_file_is_refused(tmp_path, images, name):
    (tmp_path / "notes").write_text("[1]")
    source = Source(annotations=str(tmp_path / "notes"), images=str(images))
    with pytest.raises(EvaluationError, match="notes is"):
        find(name).run(BagOfWords(), source, Choices())
    with pytest.raises(EvaluationError, match="needs --annotations"):
        find(name).run(BagOfWords(), Source(), Choices())


def test_shared_ties_are_refused_for_ranks(tmp_path, images):
    urban(tmp_path / "notes", images)
    source = Source(annotations=str(tmp_path / "notes"), images=str(images))
    with pytest.raises(EvaluationError, match="wrong or as correct"):
        find("urban1k").run(BagOfWords(), source, Choices(ties="shared"))


@pytest.mark.parametrize("name", ["coco_boxes", "lvis_boxes"])
def test_boxes_are_classified_among_the_classes_of_the_file(tmp_path, images, name):
    kinds = [{"id": 10 + i, "name": w} for i, w in enumerate(WORDS)]
    photos = [{"id": i, "coco_url": f"http://x/images/{c}.png"} for i, c in enumerate(COLOURS)]
    boxes = [
        {"id": 1, "image_id": 0, "category_id": 10, "bbox": [0, 0, 9, 9]},
        {"id": 2, "image_id": 0, "category_id": 11, "bbox": [0, 0, 9, 9]},  # red is called blue
        {"id": 3, "image_id": 2, "category_id": 12, "bbox": [5, 5, 9, 9]},
    ]
    notes = tmp_path / "instances.json"
    notes.write_text(json.dumps({"images": photos, "annotations": boxes, "categories": kinds}))
    source = Source(annotations=str(notes), images=str(tmp_path))
    encoder = BagOfWords()
    outcome = find(name).run(encoder, source, Choices())
    top1, top5 = outcome.results
    assert [(row.image_id, row.positive, row.rank) for row in outcome.items] == [
        ("images/red.png", "red", 0), ("images/red.png", "blue", 4),
        ("images/green.png", "green", 0),
    ]  # fmt: skip
    assert outcome.items[1].negatives[0] == "red" and outcome.items[1].scores[:2] == [0, 1]
    assert (top1.value, top5.value, top1.n) == (pytest.approx(2 / 3), 1, 3)
    assert top1.chance == pytest.approx(1 / 5)
    assert encoder.pictures == 2 and len(encoder.texts) == 80 * 5
