"""Open-vocabulary detection: AP against cases that can be counted by hand."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datagen.evaluation.adapters import Crops
from datagen.evaluation.average_precision import Detected, Precision, best_overlaps
from datagen.evaluation.benchmark import Choices, Source, find
from datagen.evaluation.coco_split import BASE, NOVEL
from datagen.evaluation.detection_choices import DetectionChoices
from datagen.evaluation.items import EvaluationError
from datagen.evaluation.proposals import read_proposals

KINDS = ["bird", "dog", "kite", "traffic light", "nothing"]
SQUARES = {"left": [0, 0, 20, 20], "right": [20, 0, 20, 20]}


class Coloured:
    """A crop shows what the red of its first pixel stands for; its green blurs that."""

    def __init__(self):
        self.settings, self.texts = {}, []

    def encode_texts(self, texts, *, long):
        self.texts += texts
        found = np.array([[float(kind in text) for kind in KINDS] for text in texts], np.float32)
        return found / np.maximum(1e-9, np.linalg.norm(found, axis=1, keepdims=True))

    def encode_images(self, pictures, boxes):
        found = []
        for red, green, _ in (picture.getpixel((0, 0)) for picture in pictures):
            row = np.eye(len(KINDS))[red] + green / 255
            found.append(row / np.linalg.norm(row))
        return np.array(found, np.float32).reshape(-1, len(KINDS)), [np.zeros((0, 5))] * len(found)


def picture(path, left, right="nothing"):
    image = Image.new("RGB", (40, 20), (KINDS.index(left), 0, 0))
    image.paste((KINDS.index(right), 0, 0), (20, 0, 40, 20))
    image.save(path)


def boxes(*rows):
    return [{"image_id": i, "bbox": bbox, "score": score} for i, bbox, score in rows]


@pytest.fixture
def coco(tmp_path):
    """1: a bird and a dog. 2: a bird, and a bird that is not annotated. 3: a traffic light."""
    picture(tmp_path / "1.png", "bird", "dog")
    picture(tmp_path / "2.png", "bird", "bird")
    picture(tmp_path / "3.png", "traffic light", "dog")
    names = [(1, "bird"), (2, "dog"), (3, "kite"), (4, "traffic light")]
    objects = [(1, 1, "left"), (1, 2, "right"), (2, 1, "left"), (3, 4, "left")]
    content = {
        "images": [
            {"id": i, "file_name": f"{i}.png", "width": 40, "height": 20} for i in (1, 2, 3)
        ],
        "categories": [{"id": i, "name": name} for i, name in names],
        "annotations": [
            {"id": 10 + n, "image_id": i, "category_id": kind, "bbox": SQUARES[side], "area": 400,
             "iscrowd": 0}
            for n, (i, kind, side) in enumerate(objects)
        ],
    }  # fmt: skip
    proposals = boxes(
        (1, SQUARES["left"], 0.9), (1, SQUARES["right"], 0.8), (1, [1, 0, 19, 20], 0.5),
        (2, SQUARES["right"], 0.95),  # the bird nobody annotated; the other has no proposal
        (3, SQUARES["right"], 0.99), (3, SQUARES["left"], 0.7),
    )  # fmt: skip
    (tmp_path / "instances.json").write_text(json.dumps(content))
    (tmp_path / "boxes.json").write_text(json.dumps(proposals))
    return Source(
        annotations=str(tmp_path / "instances.json"),
        images=str(tmp_path),
        proposals=str(tmp_path / "boxes.json"),
    )


def run(name, source, encoder=None, **chosen):
    choices = Choices(detection=DetectionChoices(**chosen))
    outcome = find(name).run(encoder or Crops(Coloured()), source, choices)
    return {result.metric: result for result in outcome.results}, outcome


def test_ap_is_that_of_a_case_counted_by_hand(coco):
    found, outcome = run("coco_detection", coco)
    # Birds: a wrong one (0.95) before the right one (0.9), the second is never found: precision
    # 1/2 up to recall 1/2, which 51 of COCO's 101 recalls reach. Dogs: a wrong one (in 3) before
    # the right one. Traffic lights: found. Kites: there is none, so they do not count.
    bird, dog, light = 51 / 101 / 2, 1 / 2, 1
    assert found["ap50"].value == pytest.approx((bird + dog + light) / 3)
    assert found["ap"].value == pytest.approx(found["ap50"].value)  # the boxes fit exactly
    # Traffic lights are neither base nor novel: 3 shows nothing of the open vocabulary, so the
    # wrong dog there does not count.
    assert found["base_ap50"].value == pytest.approx(bird)
    assert found["novel_ap50"].value == pytest.approx(1)
    assert found["open_ap50"].value == pytest.approx((bird + 1) / 2)
    assert (found["ap"].n, found["open_ap50"].n, found["novel_ap50"].n) == (4, 3, 1)
    assert found["open_ap50"].settings["vocabulary"] == 3
    assert found["proposal_recall50"].value == pytest.approx(3 / 4)
    rows = {(row.image_id, row.positive): (row.credit, row.scores[0]) for row in outcome.items}
    assert rows["1.png", "bird"] == (1, pytest.approx(0.9**0.5, abs=1e-6))
    assert rows["2.png", "bird"] == (0, 0) and len(rows) == 4
    assert outcome.items[1].box == (0.5, 0, 1, 1) and outcome.items[0].task == "objects"


def test_how_scores_are_made_is_settable_and_told(coco):
    found, outcome = run("coco_detection", coco, class_weight=1.0, class_scale=1.0)
    settings = found["ap"].settings
    assert settings["class_weight"] == 1 and settings["class_scale"] == 1
    sure = np.exp(1) / (np.exp(1) + 3)
    assert outcome.items[0].scores[0] == pytest.approx(sure, abs=1e-6)
    detector_alone, outcome = run("coco_detection", coco, class_weight=0.0)
    assert outcome.items[0].scores[0] == pytest.approx(0.9)
    assert detector_alone["ap"].value < found["ap"].value  # every class has every box
    few, _ = run("coco_detection", coco, proposals_an_image=1)
    assert few["proposal_recall50"].value == pytest.approx(1 / 4)
    kept, _ = run("coco_detection", coco, nms_iou=0.99)  # now the narrower bird counts too
    assert kept["ap50"].value == pytest.approx(run("coco_detection", coco)[0]["ap50"].value)


def test_average_precision_falls_with_wrong_boxes_and_loose_ones():
    truth = {
        "images": [{"id": 1, "width": 99, "height": 99}],
        "categories": [{"id": 5, "name": "a"}, {"id": 6, "name": "b"}],
        "annotations": [
            {"id": i, "image_id": 1, "category_id": 5, "bbox": [30 * i, 0, 20, 20], "area": 400}
            for i in (0, 1)
        ],
    }

    def of(*detected, most=100):
        found = [Detected(1, 5, box, score) for box, score in detected]
        return Precision(truth, found, categories=[5, 6], image_ids=[1], most=most, federated=False)

    first, loose, wrong = (0, 0, 20, 20), (30, 0, 50, 14), (60, 60, 70, 70)  # loose: IoU 0.7
    both = of((first, 0.9), (loose, 0.8))
    assert both.average(iou=0.5) == 1
    assert both.average(iou=0.75) == pytest.approx(51 / 101)
    assert both.average() == pytest.approx((5 + 5 * 51 / 101) / 10)  # 0.5 to 0.7, then to 0.95
    assert both.scores == {0: pytest.approx(0.9), 1: pytest.approx(0.8)}
    between = of((first, 0.9), (wrong, 0.85), (loose, 0.8))
    assert between.average(iou=0.5) == pytest.approx((51 + 50 * 2 / 3) / 101)
    assert of((first, 0.9), (wrong, 0.85), (loose, 0.8), most=2).scores == {0: pytest.approx(0.9)}
    assert of().average() == 0 and np.isnan(both.average([6]))


def test_lvis_counts_a_class_where_it_was_looked_for_and_rare_ones_apart(tmp_path, coco):
    content = json.loads((tmp_path / "instances.json").read_text())
    for kind, frequency in zip(content["categories"], "frcc", strict=True):
        kind["frequency"] = frequency
    for image in content["images"]:
        image["coco_url"] = f"http://images/{tmp_path.name}/{image.pop('file_name')}"
        image |= {"neg_category_ids": [], "not_exhaustive_category_ids": []}
    content["images"][1]["not_exhaustive_category_ids"] = [1]  # more birds than are annotated
    (tmp_path / "lvis.json").write_text(json.dumps(content))
    source = replace(coco, annotations=str(tmp_path / "lvis.json"), images=str(tmp_path.parent))
    found, _ = run("lvis_detection", source)
    # The bird nobody annotated is no mistake, nor is the dog in 3, where nobody looked for dogs.
    assert found["frequent_ap"].value == pytest.approx(51 / 101)
    assert found["novel_ap"].value == 1 and found["common_ap"].value == 1
    assert found["base_ap"].value == pytest.approx((51 / 101 + 1) / 2)
    assert found["ap"].settings["detections_an_image"] == 300
    content["images"][2]["neg_category_ids"] = [2]
    (tmp_path / "lvis.json").write_text(json.dumps(content))
    assert run("lvis_detection", source)[0]["novel_ap"].value == pytest.approx(1 / 2)


def test_the_best_overlap_is_of_intersection_and_union():
    found = best_overlaps([[0, 0, 10, 10], [50, 50, 9, 9]], np.array([[0, 0, 10, 5], [5, 0, 9, 9]]))
    assert found.tolist() == [0.5, 0]
    assert best_overlaps([[0, 0, 10, 10]], np.zeros((0, 4))).tolist() == [0]


def test_the_split_is_that_of_ov_coco():
    assert (len(set(BASE)), len(set(NOVEL)), len(set(BASE + NOVEL))) == (48, 17, 65)


def test_proposals_are_cut_to_the_picture_and_the_best_are_kept(tmp_path):
    rows = boxes((1, [-5, -5, 20, 20], 0.2), (1, [50, 0, 9, 9], 0.9), (1, [0, 0, 10, 10], 0.5))
    (tmp_path / "p.json").write_text(json.dumps([*rows, *boxes((9, [0, 0, 9, 9], 0.1))]))
    found, outside = read_proposals(tmp_path / "p.json", {1: (40, 20)}, most=1)
    assert outside == 1 and found.keys() == {1}
    assert found[1].boxes.tolist() == [[0, 0, 10, 10]] and found[1].scores.tolist() == [0.5]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{}", "array of proposals"),
        ('[{"image_id": 1, "bbox": [0, 0, 9], "score": 1}]', "proposal 0 of .* must have image_id"),
        ('[{"image_id": 1, "bbox": [0, 0, 9, 9], "score": 7}]', "outside 0..1"),
        ('[{"image_id": 8, "bbox": [0, 0, 9, 9], "score": 1}]', "none of a picture"),
    ],
)
def test_other_files_of_proposals_are_refused(coco, content, says):
    Path(coco.proposals).write_text(content)
    with pytest.raises(EvaluationError, match=says):
        run("coco_detection", coco)


def test_what_is_missing_is_named(coco, tmp_path):
    with pytest.raises(EvaluationError, match=r"--proposals.*propose\.py"):
        run("coco_detection", replace(coco, proposals=""))
    with pytest.raises(EvaluationError, match=r"layout of lvis_detection.*frequency"):
        run("lvis_detection", coco)
    (tmp_path / "2.png").unlink()
    with pytest.raises(EvaluationError, match=r"1 of 3 items.*2\.png"):
        run("coco_detection", coco)
    found, outcome = run("coco_detection", replace(coco, max_skipped=0.5))
    assert len(outcome.skipped) == 1 and found["ap"].n == 3


def changed(source, change):
    content = json.loads(Path(source.annotations).read_text())
    change(content)
    Path(source.annotations).write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("bbox", "says"),
    [([30, 0, 20, 20], "lies outside the image of 40"), ([0, 0, 0, 9], "is empty")],
)
def test_objects_whose_box_is_none_of_their_picture_are_listed_and_do_not_count(coco, bbox, says):
    changed(coco, lambda content: content["annotations"][0].update(bbox=bbox))
    with pytest.raises(EvaluationError, match=f"1 of 4 items.*annotation 10: the box .*{says}"):
        run("coco_detection", coco)
    found, outcome = run("coco_detection", replace(coco, max_skipped=0.25))
    assert found["ap"].n == 3 and len(outcome.skipped) == len(outcome.items) - 2 == 1


def test_pictures_without_a_size_are_refused(coco):
    changed(coco, lambda content: content["images"][1].pop("width"))
    with pytest.raises(EvaluationError, match=r"layout of coco_detection.*width"):
        run("coco_detection", coco)
