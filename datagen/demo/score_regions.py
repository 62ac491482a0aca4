"""How good a detector's boxes are, on scenes it has never seen, for true and for false phrases.

Each scene is asked for the phrases of its caption and as many absent ones, as in
`detection_texts.exam_questions`; apart from those, for phrases that are one attribute off.
"""

from __future__ import annotations

import io
import random
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from datagen.demo.detection_texts import exam_questions, near_miss, objects_of, phrase
from datagen.demo.draw import encode_jpeg
from datagen.demo.language import phrase_of
from datagen.demo.score_boxes import BoxScore, LabelledBox, score_boxes
from datagen.demo.world import Scene, make_scene
from datagen.regions.boxes import Detection, match_phrases
from datagen.regions.detector import Detector

SPLIT, FIRST = "tiny-test", 10_000
"""Scenes from here on are looked at by nothing but the exams."""
SIDE = 128
BATCH = 16
ATTRIBUTES = ("size", "colour", "finish")
THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(1, 20))


@dataclass(frozen=True)
class Asked:
    """A scene, the phrases that were asked for and what the detector said."""

    scene: Scene
    phrases: tuple[str, ...]
    detections: tuple[Detection, ...]


@dataclass(frozen=True, kw_only=True)
class BoxExam:
    """Shares 0..1 at IoU 0.5.

    `rejected`: of phrases that differ in one attribute from an object that is there, and are true
    of none, those that get no box; they are asked without the true phrase.
    """

    recall: float
    precision: float
    mean_iou: float
    rejected: float
    rejected_size: float
    rejected_colour: float
    rejected_finish: float
    scenes: int


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """Recall and precision, 0..1, of the boxes that a threshold keeps."""

    threshold: float
    recall: float
    precision: float
    boxes: int


def fresh_scenes(count: int) -> list[Scene]:
    """The first so many scenes of the exams."""
    return [make_scene(SPLIT, FIRST + index) for index in range(count)]


def picture_of(scene: Scene) -> Image.Image:
    """The scene's picture, read back from its JPEG as the stages do."""
    return Image.open(io.BytesIO(encode_jpeg(scene, SIDE))).convert("RGB")


def ask(
    detector: Detector, scenes: Sequence[Scene], phrases: Sequence[Sequence[str]]
) -> list[Asked]:
    """Ask the detector for a list of phrases in each scene."""
    found: list[Asked] = []
    for start in range(0, len(scenes), BATCH):
        part, asked = scenes[start : start + BATCH], phrases[start : start + BATCH]
        answers = detector.detect([picture_of(scene) for scene in part], asked)
        found += [
            Asked(scene, tuple(texts), tuple(said))
            for scene, texts, said in zip(part, asked, answers, strict=True)
        ]
    return found


def ask_exam(detector: Detector, scenes: Sequence[Scene]) -> list[Asked]:
    """Ask for the phrases of each scene's caption and as many absent ones."""
    return ask(detector, scenes, [[q.phrase for q in exam_questions(scene)] for scene in scenes])


def score_at(answers: Sequence[Asked], threshold: float) -> BoxScore:
    """The boxes that matching keeps at a threshold, held against the truth."""
    truth = [[LabelledBox(phrase_of(o), o.bbox) for o in asked.scene.objects] for asked in answers]
    kept = [
        [
            LabelledBox(asked.phrases[box.phrase_index], box.bbox, box.score)
            for box in match_phrases(asked.detections, asked.phrases, threshold=threshold)
        ]
        for asked in answers
    ]
    return score_boxes(truth, kept)


def curve(answers: Sequence[Asked]) -> list[CurvePoint]:
    """Recall and precision at every threshold of `THRESHOLDS`."""
    scores = [(threshold, score_at(answers, threshold)) for threshold in THRESHOLDS]
    return [
        CurvePoint(threshold=t, recall=s.recall, precision=s.precision, boxes=s.predictions)
        for t, s in scores
    ]


def examine_boxes(detector: Detector, answers: Sequence[Asked], threshold: float = 0.4) -> BoxExam:
    """Score the answers of `ask_exam`, and ask the same scenes for what is one attribute off."""
    rng = random.Random(0)
    scenes = [asked.scene for asked in answers]
    wrong: list[dict[str, str]] = []
    for scene in scenes:
        misses = {}
        for position, name in enumerate(ATTRIBUTES):
            attributes = near_miss(rng.choice(scene.objects), position, rng)
            if not objects_of(scene, attributes):
                misses[name] = phrase(attributes)
        wrong.append(misses)
    rejected: dict[str, list[bool]] = {name: [] for name in ATTRIBUTES}
    said = ask(detector, scenes, [list(misses.values()) for misses in wrong])
    for misses, asked in zip(wrong, said, strict=True):
        found = match_phrases(asked.detections, asked.phrases, threshold=threshold)
        boxed = {asked.phrases[box.phrase_index] for box in found}
        for name, text in misses.items():
            rejected[name].append(text not in boxed)
    boxes = score_at(answers, threshold)
    return BoxExam(
        recall=boxes.recall,
        precision=boxes.precision,
        mean_iou=boxes.mean_iou,
        rejected=_share([kept for own in rejected.values() for kept in own]),
        rejected_size=_share(rejected["size"]),
        rejected_colour=_share(rejected["colour"]),
        rejected_finish=_share(rejected["finish"]),
        scenes=len(scenes),
    )


def _share(flags: Sequence[bool]) -> float:
    return sum(flags) / len(flags) if flags else 0.0
