"""Proposals of a detector go through both scripts to an AP."""

import json
import sys

import pytest
from PIL import Image

import pipelines.evaluate
import pipelines.propose
from datagen.command import command
from datagen.evaluation.items import EvaluationError
from datagen.regions.boxes import Detection
from datagen.training.model import FGCLIP
from datagen.training.texts import learn_tokenizer
from datagen.training.weights import save_model
from pipelines.propose import Config, proposals, propose
from tests.evaluation.test_pairs_and_models import TOWER

ASKED = []


class LeftHalf:
    """Finds the left half for each phrase, and for the last one the whole picture, too."""

    def __init__(self, model):
        assert model == "left"

    def detect(self, images, phrases):
        """See `Detector`."""
        ASKED.extend(phrases)
        halves = [(0.0, 0.0, 0.5, 1.0), (0.01, 0.0, 0.5, 1.0)]
        return [
            [Detection(i, halves[i % 2], 0.9 - i / 10) for i in range(len(wanted))]
            + [Detection(len(wanted) - 1, (-0.1, 0.0, 1.1, 1.0), 0.3)]
            for wanted in phrases
        ]


@pytest.fixture
def coco(tmp_path):
    (tmp_path / "images").mkdir()
    for i in (1, 2):
        Image.new("RGB", (40, 20), (i, 0, 0)).save(tmp_path / "images" / f"{i}.png")
    content = {
        "images": [
            {"id": i, "file_name": f"{i}.png", "width": 40, "height": 20} for i in (1, 2)
        ],
        "categories": [{"id": 1, "name": "person"}, {"id": 2, "name": "traffic_light"}],
        "annotations": [
            {"id": i, "image_id": i, "category_id": 1, "bbox": [0, 0, 20, 20], "area": 400}
            for i in (1, 2)
        ],
    }  # fmt: skip
    (tmp_path / "instances.json").write_text(json.dumps(content))
    return tmp_path


def config(folder, **given):
    return Config(
        detector="left",
        backend=f"{__name__}:LeftHalf",
        annotations=str(folder / "instances.json"),
        images=str(folder / "images"),
        output=str(folder / "boxes.json"),
        **given,
    )


def test_boxes_that_nearly_agree_are_one_proposal_inside_the_picture(coco):
    rows, skipped = propose(config(coco))
    assert ASKED[-2:] == [["person", "traffic light"]] * 2 and not skipped
    assert [row for row in rows if row["image_id"] == 1] == [
        {"image_id": 1, "bbox": [0, 0, 20, 20], "score": 0.9},
        {"image_id": 1, "bbox": [0, 0, 40, 20], "score": 0.3},
    ]
    propose(config(coco, phrases=("thing",)))
    assert ASKED[-1] == ["thing"]
    found = [Detection(0, (0, 0, 1, 1), 0.5), Detection(0, (0.2, 0.2, 0.2, 0.9), 0.9)]
    assert proposals(found, (10, 10), config(coco)) == [((0, 0, 10, 10), 0.5)]
    assert proposals(found, (10, 10), config(coco, threshold=0.6)) == []
    assert len(propose(config(coco, most=1))[0]) == 2


def test_missing_pictures_are_counted_and_refused_above_a_share(coco):
    (coco / "images" / "1.png").unlink()
    (coco / "images" / "2.png").write_bytes(b"no picture")
    with pytest.raises(EvaluationError, match=r"there is no image .*1\.png"):
        propose(config(coco))
    rows, skipped = propose(config(coco, max_skipped=1.0))
    assert rows == [] and len(skipped) == 2 and "cannot read" in skipped[1]


def test_proposals_of_the_script_are_evaluated_by_the_other(coco, monkeypatch):
    given = ["--detector", "left", "--backend", f"{__name__}:LeftHalf"]
    files = ["--annotations", str(coco / "instances.json"), "--images", str(coco / "images")]
    boxes = ["--output", str(coco / "boxes.json")]
    monkeypatch.setattr(sys, "argv", ["propose.py", *given, *files, *boxes])
    command(Config, pipelines.propose.main, "")
    model = tiny_fgclip(coco / "model")
    recipe = {
        "model": str(model),
        "detection": {"class_weight": 0.25},
        "several": [
            {"benchmark": "coco_detection", "annotations": files[1], "images": files[3],
             "proposals": boxes[1]},
        ],
    }  # fmt: skip
    (coco / "recipe.yaml").write_text(json.dumps(recipe))
    arguments = ["evaluate.py", "--recipe", str(coco / "recipe.yaml"), "--nms-iou", "0.4"]
    monkeypatch.setattr(sys, "argv", arguments)
    command(pipelines.evaluate.Config, pipelines.evaluate.main, "")
    results = json.loads((model / "evaluation.json").read_text())["results"]
    found = {result["metric"]: result for result in results}
    assert found["proposal_recall50"]["value"] == 1 and 0 <= found["ap50"]["value"] <= 1
    settings = found["ap"]["settings"]
    assert (settings["class_weight"], settings["nms_iou"], settings["regions"]) == (
        0.25, 0.4, "dense",
    )  # fmt: skip


def tiny_fgclip(folder):
    from transformers import CLIPConfig

    tokenizer = learn_tokenizer(["a person", "a traffic light"], 400)
    text = TOWER | {
        "vocab_size": len(tokenizer), "max_position_embeddings": 32,
        "eos_token_id": tokenizer.eos_token_id, "bos_token_id": tokenizer.bos_token_id,
    }  # fmt: skip
    vision = TOWER | {"image_size": 32, "patch_size": 16}
    model = FGCLIP(CLIPConfig(text_config=text, vision_config=vision, projection_dim=8))
    save_model(model, folder)
    tokenizer.save_pretrained(folder)
    return folder
