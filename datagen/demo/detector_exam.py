"""The tiny detector's exam on fresh scenes; held-out pairs of attributes are counted apart."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import (
    GroundingDinoProcessor,
    MMGroundingDinoForObjectDetection,
    PreTrainedTokenizerBase,
)

from datagen.demo.detection_texts import Question, exam_questions, near_miss, objects_of, phrase
from datagen.demo.detector_data import encode_questions, picture_of, pixels_of
from datagen.demo.detector_loss import corners
from datagen.demo.held_out import says_held_out, shows_held_out
from datagen.demo.score_boxes import BoxScore, LabelledBox, score_boxes
from datagen.demo.world import Scene

THRESHOLD = 0.4
ATTRIBUTES = ("size", "colour", "finish", "kind")


@dataclass(frozen=True)
class Part:
    """The scores of some phrases; ``rejected`` is the share of near misses without a box, by the
    attribute that differs (0..1)."""

    boxes: BoxScore
    rejected: dict[str, float]


@dataclass(frozen=True)
class DetectorExam:
    """All phrases together, those of pairs that training shows, and those of held-out pairs.

    A near miss counts as held out when the phrase or the object that it misses is such a pair.
    """

    threshold: float
    all: Part
    shown: Part
    held_out: Part


@dataclass(frozen=True)
class _Miss:
    attribute: str
    held_out: bool
    rejected: bool


@torch.inference_mode()
def examine_detector(
    model: MMGroundingDinoForObjectDetection,
    processor: GroundingDinoProcessor,
    scenes: Sequence[Scene],
) -> DetectorExam:
    """Ask for the phrases of each scene and as many absent ones; then for near misses alone.

    Phrases of the small world name at most one object, so the best box of a phrase is its box,
    and there is none when its score (mean over the phrase's tokens) is below the threshold.
    """
    training = model.training
    model.eval()
    rng = random.Random(0)
    truth: list[list[LabelledBox]] = []
    found: list[list[LabelledBox]] = []
    misses: list[_Miss] = []
    for scene in scenes:
        questions = exam_questions(scene)
        truth.append(
            [LabelledBox(q.phrase, scene.objects[i].bbox) for q in questions for i in q.objects]
        )
        pixels = pixels_of(picture_of(scene)[None], processor)
        scored = best_boxes(model, processor.tokenizer, pixels, questions)
        found.append([box for box in scored if box.score >= THRESHOLD])
        near = []
        for position, name in enumerate(ATTRIBUTES):
            what = rng.choice(scene.objects)
            wrong = near_miss(what, position, rng)
            if not objects_of(scene, wrong):
                asked = phrase(wrong)
                near.append((name, shows_held_out(what) or says_held_out(asked), asked))
        again = [Question(asked, ()) for _, _, asked in near]
        boxes = best_boxes(model, processor.tokenizer, pixels, again)
        for (name, held_out, _), box in zip(near, boxes, strict=True):
            misses.append(_Miss(name, held_out, box.score < THRESHOLD))
    model.train(training)
    parts = [Part(score_boxes(truth, found), _rejected(misses))]
    for held_out in (False, True):
        boxes_of_part = score_boxes(_of_part(truth, held_out), _of_part(found, held_out))
        some = [miss for miss in misses if miss.held_out == held_out]
        parts.append(Part(boxes_of_part, _rejected(some)))
    return DetectorExam(THRESHOLD, *parts)


def best_boxes(
    model: MMGroundingDinoForObjectDetection,
    tokenizer: PreTrainedTokenizerBase,
    pixels: Tensor,
    questions: Sequence[Question],
) -> list[LabelledBox]:
    """The best box of each question for one picture (1, 3, H, W), whatever its score."""
    if not questions:
        return []
    ids, spans = encode_questions(tokenizer, questions)
    out = model(pixel_values=pixels, input_ids=torch.tensor([ids]))
    chances, boxes = out.logits[0].sigmoid(), corners(out.pred_boxes[0]).clamp(0, 1)
    found = []
    for question, (start, end) in zip(questions, spans, strict=True):
        score, best = chances[:, start:end].mean(-1).max(0)
        x1, y1, x2, y2 = boxes[int(best)].tolist()
        found.append(LabelledBox(question.phrase, (x1, y1, x2, y2), float(score)))
    return found


def _of_part(boxes: list[list[LabelledBox]], held_out: bool) -> list[list[LabelledBox]]:
    return [[box for box in some if says_held_out(box.phrase) == held_out] for some in boxes]


def _rejected(misses: Sequence[_Miss]) -> dict[str, float]:
    shares = {}
    for name in ATTRIBUTES:
        kept = [miss.rejected for miss in misses if miss.attribute == name]
        shares[name] = sum(kept) / max(1, len(kept))
    return shares
