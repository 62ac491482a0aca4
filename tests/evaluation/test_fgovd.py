import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from datagen.evaluation.benchmark import Choices, Source, find
from datagen.evaluation.items import EvaluationError, Skipped
from datagen.evaluation.region_negatives import Protocol
from tests.evaluation.words import WORDS, BagOfWords

ITEM = {
    "img_path": "/red.png", "bbox": [0, 0, 20, 10], "pos_expression": ["red mug"],
    "neg_expression": ["blue mug", "green mug"], "width": 40, "height": 20, "image_id": 1,
    "category_id": 2, "sent_id": 3, "test_type": "hard",
}  # fmt: skip


@pytest.fixture
def files(tmp_path):
    for word in ("red", "blue"):
        image = Image.new("RGB", (40, 20), (WORDS.index(word), 0, 0))
        image.save(tmp_path / f"{word}.png")

    def source(*items, **given):
        path = tmp_path / "1_attributes.jsonl"
        path.write_text("".join(json.dumps({**ITEM, **item}) + "\n" for item in items))
        return Source(annotations=str(path), images=str(tmp_path), **given)

    return source


def run(source, **choices):
    encoder = BagOfWords()
    outcome = find("fgovd").run(encoder, source, Choices(controls=False, **choices))
    return outcome, encoder


def test_official_lines_are_scored_with_every_picture_and_text_encoded_once(files):
    wrong = {"img_path": "blue.png"}
    outcome, encoder = run(files({}, wrong, {}))
    score = outcome.results[0]
    assert (score.benchmark, score.value, score.n) == ("fgovd_hard", pytest.approx(2 / 3), 3)
    assert score.chance == pytest.approx(1 / 3)
    assert score.low <= score.value <= score.high
    assert encoder.pictures == 2 and sorted(encoder.texts) == ["blue mug", "green mug", "red mug"]
    assert outcome.skipped == []


def test_a_tie_is_correct_as_published_unless_chosen_otherwise(files):
    tie = {"neg_expression": ["red bird"]}  # the picture is red and neither mug nor bird
    for ties, credit in ((None, 1), ("shared", 0.5), ("wrong", 0)):
        outcome, _ = run(files(tie), ties=ties)
        assert outcome.results[0].value == credit


def test_positives_among_negatives_and_short_items_are_reported_apart_and_settable(files):
    double = {"neg_expression": ["red mug", "blue mug"], "img_path": "blue.png"}
    source = files({}, double, {"neg_expression": []})
    kept = run(source)[0].results[0]
    assert (kept.n, kept.value) == (2, 0.5)
    assert kept.details["positive_among_negatives"] == 1
    assert kept.details["top1_without_duplicates"] == 1
    assert kept.details["without_negatives"] == 1
    assert kept.details["fewer_negatives"] == 2
    assert run(source, duplicates="drop")[0].results[0].n == 1
    removed = run(source, duplicates="remove")[0]
    assert [len(found.scores) for found in removed.items] == [3, 2]
    with pytest.raises(EvaluationError, match="nothing to evaluate"):
        run(source, fewer_negatives="drop")


def test_the_score_is_told_by_kind_of_attribute_and_by_size_of_box(files):
    negatives = ["blue mug", "red glass mug", "wooden blue mug"]
    outcome, _ = run(files({"neg_expression": negatives}))
    parts = {r.benchmark: r for r in outcome.results[1:]}
    assert {"fgovd_hard: colour", "fgovd_hard: material", "fgovd_hard: several"} <= parts.keys()
    assert parts["fgovd_hard: colour"].chance == 0.5
    assert parts["fgovd_hard: small boxes"].n == 1


@pytest.mark.parametrize(
    ("item", "says"),
    [
        ({"img_path": "gone.png"}, "there is no image"),
        ({"bbox": [30, 5, 20, 10]}, "lies outside the image of 40 × 20"),
        ({"bbox": [3, 5, 0, 10]}, "is empty"),
        ({"width": 640, "height": 480}, "was made on 640 × 480"),
    ],
)
def test_what_cannot_be_scored_is_listed_and_refused_above_a_share(files, item, says):
    source = files({}, {}, {}, item)
    with pytest.raises(EvaluationError, match="1 of 4 items cannot be evaluated.*" + says):
        run(source)
    outcome, _ = run(replace(source, max_skipped=0.25))
    assert outcome.results[0].n == 3
    assert len(outcome.skipped) == 1 and says in outcome.skipped[0]


@pytest.mark.parametrize(
    ("item", "says"),
    [
        ({"bbox": [1, 2]}, "bbox of line 1"),
        ({"pos_expression": []}, "must be one phrase"),
        ({"neg_expression": "blue mug"}, "must be a list of phrases"),
    ],
)
def test_lines_that_are_no_items_are_named(files, item, says):
    with pytest.raises(EvaluationError, match=says):
        run(files(item))


def test_other_names_of_columns_are_given_or_asked_for(files):
    renamed = {"caption": "red mug"}
    source = files(renamed)
    path = Path(source.annotations)
    record = json.loads(path.read_text())
    del record["pos_expression"]
    path.write_text(json.dumps(record))
    with pytest.raises(EvaluationError, match=r"no field pos_expression.*caption.*--columns"):
        run(source)
    outcome, _ = run(replace(source, columns={"pos_expression": "caption"}))
    assert outcome.results[0].value == 1
    with pytest.raises(EvaluationError, match="no field of FG-OVD"):
        run(replace(source, columns={"positive": "caption"}))


def test_an_unknown_benchmark_is_told_which_there_are():
    with pytest.raises(EvaluationError, match="fgovd, coco_boxes"):
        find("fgodv")


def test_choices_are_put_over_the_benchmarks_own():
    chosen = Choices(ties="wrong").protocol(Protocol(ties="correct", duplicates="keep"))
    assert (chosen.ties, chosen.duplicates) == ("wrong", "keep")


def test_skipping_nothing_is_never_too_much():
    assert Skipped().reasons == []


def test_the_file_of_its_authors_gives_the_same_items_as_the_lines(files):
    source = files({}, {"img_path": "blue.png", "bbox": [10, 5, 20, 10]}, {})
    lines, _ = run(source)
    phrases = ["red mug", "blue mug", "green mug"]
    content = {
        "images": [
            {"id": 7, "file_name": "red.png", "width": 40, "height": 20},
            {"id": 8, "file_name": "blue.png", "width": 40, "height": 20},
        ],
        "categories": [{"id": 11 + i, "name": phrase} for i, phrase in enumerate(phrases)],
        "annotations": [
            {"id": i, "image_id": image, "bbox": bbox, "category_id": 11,
             "neg_category_ids": [12, 13]}
            for i, (image, bbox) in enumerate(
                [(7, [0, 0, 20, 10]), (8, [10, 5, 20, 10]), (7, [0, 0, 20, 10])]
            )
        ],
    }  # fmt: skip
    path = Path(source.annotations).with_name("2_attributes.json")
    path.write_text(json.dumps(content))
    official, _ = run(replace(source, annotations=str(path)))
    assert official.results[0].benchmark == "fgovd_medium"
    assert official.results[0].value == lines.results[0].value

    def told(outcome):
        return [(row.positive, row.negatives, row.box, row.scores) for row in outcome.items]

    assert told(official) == told(lines)
    del content["annotations"][1]["neg_category_ids"]
    path.write_text(json.dumps(content))
    with pytest.raises(EvaluationError, match=r"layout of FG-OVD.*neg_category_ids"):
        run(replace(source, annotations=str(path)))
