"""The exams of boxes and grounding, on the shipped detector and on detectors that know it all."""

import random
from pathlib import Path

import pytest
import torch

import datagen.demo
from datagen.demo.detection_texts import objects_of
from datagen.demo.language import phrase_of
from datagen.demo.score_grounding import examine_grounding, plant
from datagen.demo.score_regions import ask_exam, curve, examine_boxes, fresh_scenes
from datagen.regions.boxes import Detection
from datagen.regions.detector import TransformersDetector
from datagen.regions.phrases import PhraseChunker

MODEL = Path(datagen.demo.__file__).parent / "models" / "detector"


class Answers:
    """A detector that knows the scenes, or says yes to everything, with a score for the lies."""

    def __init__(self, scenes, lie):
        self.scenes, self.lie, self.seen = scenes, lie, 0

    def detect(self, images, phrases):
        found = []
        for names in phrases:
            scene = self.scenes[self.seen % len(self.scenes)]
            self.seen += 1
            boxes = {phrase_of(thing): thing.bbox for thing in scene.objects}
            found.append(
                [
                    Detection(
                        i, boxes.get(name, (0.0, 0.0, 0.1, 0.1)), 0.9 if name in boxes else self.lie
                    )
                    for i, name in enumerate(names)
                ]
            )
        return found


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def shipped():
    return TransformersDetector(str(MODEL), device="cpu")


def test_the_shipped_detector_passes_the_exam_of_boxes(shipped):
    exam = examine_boxes(shipped, ask_exam(shipped, fresh_scenes(60)))
    assert exam.recall >= 0.95 and exam.precision >= 0.95
    assert exam.mean_iou >= 0.85 and exam.rejected >= 0.9


def test_planted_inventions_are_found_and_true_sentences_stay(shipped):
    exam = examine_grounding(shipped, PhraseChunker(), fresh_scenes(60))
    assert exam.inventions >= 60 and exam.true_sentences >= 200
    assert exam.found >= 0.8 and exam.removed >= 0.8
    assert exam.dropped_wrongly <= 0.05
    assert exam.grounded_when_planted < exam.grounded_when_true


def test_the_exams_tell_a_knower_from_a_liar():
    scenes = fresh_scenes(12)
    knower = Answers(scenes, lie=0.1)
    right = examine_boxes(knower, ask_exam(knower, scenes))
    assert (right.recall, right.precision, right.rejected) == (1, 1, 1)
    liar = Answers(scenes, lie=0.5)
    answers = ask_exam(liar, scenes)
    wrong = examine_boxes(liar, answers)
    assert wrong.recall == 1 and wrong.precision < 0.9 and wrong.rejected < 0.7
    points = {point.threshold: point for point in curve(answers)}
    assert points[0.4].precision < points[0.55].precision == 1
    assert points[0.95].recall == 0
    assert examine_grounding(Answers(scenes, 0.1), PhraseChunker(), scenes).found >= 0.95
    assert examine_grounding(Answers(scenes, 0.5), PhraseChunker(), scenes).found == 0


def test_planted_phrases_are_in_the_caption_and_true_of_nothing():
    rng = random.Random(3)
    for scene in fresh_scenes(40):
        planted = plant(scene, rng, 2)
        assert len(planted.inventions) == 2
        for text in planted.inventions:
            words = text.split()[1:]
            assert text in planted.caption
            assert not objects_of(scene, (words[0], words[1], words[2], words[3]))
        true = plant(scene, rng, 0)
        assert " ".join(true.true_sentences) == true.caption
        assert all(phrase_of(thing) in true.caption for thing in scene.objects)
