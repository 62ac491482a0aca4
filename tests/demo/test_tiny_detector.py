"""The shipped detector keeps what its card says; its training runs and its texts are right."""

import json
import random
from pathlib import Path

import pytest
import torch

import datagen.demo
from datagen.demo.detection_texts import (
    exam_questions,
    near_miss,
    objects_of,
    training_questions,
    unnamed_questions,
)
from datagen.demo.detector_loss import Targets, boxes_to_objects, cells_to_objects, pairwise_iou
from datagen.demo.draw import draw
from datagen.demo.language import phrase_of
from datagen.demo.score_boxes import LabelledBox, iou, score_boxes
from datagen.demo.world import COLOURS, FINISHES, make_scene
from datagen.regions.boxes import match_phrases
from datagen.regions.detector import TransformersDetector

MODEL = Path(datagen.demo.__file__).parent / "models" / "detector"


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_the_shipped_detector_finds_what_is_there_and_little_else():
    scenes = [make_scene("tiny-test", index) for index in range(60)]
    asked = [[q.phrase for q in exam_questions(scene)] for scene in scenes]
    found = TransformersDetector(str(MODEL), device="cpu").detect(
        [draw(scene) for scene in scenes], asked
    )
    truth = [[LabelledBox(phrase_of(o), o.bbox) for o in scene.objects] for scene in scenes]
    matched = [
        [LabelledBox(names[m.phrase_index], m.bbox, m.score) for m in match_phrases(own, names)]
        for names, own in zip(asked, found, strict=True)
    ]
    score = score_boxes(truth, matched)
    assert score.recall >= 0.9 and score.precision >= 0.9 and score.mean_iou >= 0.8


def test_the_shipped_model_is_small_and_has_a_card():
    assert (MODEL / "model.safetensors").stat().st_size <= 20 * 2**20
    assert "synthetic" in (MODEL / "README.md").read_text()
    assert json.loads((MODEL / "scores.json").read_text())["threshold"] == 0.4


def test_questions_are_true_of_the_objects_they_name_and_of_no_others():
    rng = random.Random(1)
    for index in range(200):
        scene = make_scene("tiny-test", index)
        exam = exam_questions(scene)
        assert exam == exam_questions(scene)
        assert sum(bool(q.objects) for q in exam) == len(scene.objects) == len(exam) / 2
        unnamed = unnamed_questions(scene, rng)
        assert not {word for q in unnamed for word in q.phrase.split()} & {*COLOURS, *FINISHES}
        for question in [*exam, *training_questions(scene, rng), *unnamed]:
            said = set(question.phrase.split()) - {"a", "an"}
            true = tuple(i for i, o in enumerate(scene.objects) if said <= set(o.attributes))
            assert question.objects == true
        wrong = near_miss(scene.objects[0], 1, rng)
        assert sum(a != b for a, b in zip(wrong, scene.objects[0].attributes, strict=True)) == 1
        assert 0 not in objects_of(scene, wrong)


def test_assignments_of_cells_and_queries_to_objects():
    boxes = torch.tensor([[[0.1, 0.1, 0.5, 0.5], [0.6, 0.6, 0.9, 0.9], [0, 0, 0, 0]]])
    targets = Targets(
        boxes, torch.tensor([[True, True, False]]), torch.zeros(1, 3, 4), torch.ones(1, 4).bool()
    )
    centres = torch.tensor([[0.3, 0.3], [0.75, 0.75], [0.95, 0.05], [0.3, 0.31], [0.11, 0.11],
                            [0.31, 0.3], [0.29, 0.3], [0.3, 0.29]])  # fmt: skip
    assert cells_to_objects(centres, targets).tolist() == [[0, 1, -1, 0, -1, 0, 0, 0]]
    queries = torch.tensor([[[0.1, 0.1, 0.5, 0.5], [0.1, 0.1, 0.5, 0.3], [0.6, 0.6, 0.7, 0.7]]])
    owner, doubt = boxes_to_objects(queries, targets)
    assert owner.tolist() == [[0, -1, 1]]  # the car's best query, however bad, is its own
    assert doubt.tolist() == [[False, True, False]]
    found = pairwise_iou(queries, boxes)[0, 1, 0]
    wanted = iou((0.1, 0.1, 0.5, 0.3), (0.1, 0.1, 0.5, 0.5))
    assert float(found) == pytest.approx(wanted, abs=1e-4)


def test_training_runs_from_nothing_and_writes_a_model_that_loads(tmp_path):
    from datagen.demo.tiny_detector import Settings, main

    main(
        Settings(
            output=tmp_path / "model", cache=tmp_path / "cache", scenes=8, backbone_steps=2,
            steps=2, batch=4, test_scenes=2,
        )
    )  # fmt: skip
    scene = make_scene("tiny-test", 0)
    detector = TransformersDetector(str(tmp_path / "model"), device="cpu", floor=0.0)
    assert detector.detect([draw(scene)], [["a red mug"]])[0]
    assert "synthetic" in (tmp_path / "model" / "README.md").read_text()
