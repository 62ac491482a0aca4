"""The tiny captioner's exam: how true its captions are; held-out pairs are counted apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from datagen.demo.held_out import shows_held_out
from datagen.demo.score import CaptionScore, match, said_objects, score_captions
from datagen.demo.world import Scene


@dataclass(frozen=True)
class Part:
    """Shares (0..1) of some objects named with kind and colour right, and with the finish too."""

    object_recall: float
    finish_recall: float
    objects: int


@dataclass(frozen=True)
class CaptionerExam:
    """All objects together, those of pairs that training shows, and those of held-out pairs."""

    all: CaptionScore
    shown: Part
    held_out: Part


def examine_captions(scenes: Sequence[Scene], captions: Sequence[str]) -> CaptionerExam:
    """Score one caption for each scene; raises ``ValueError`` when the counts differ."""
    score = score_captions(scenes, captions)
    counts = {held_out: [0, 0, 0] for held_out in (False, True)}  # objects, found, with finish
    for scene, caption in zip(scenes, captions, strict=True):
        said = said_objects(caption)
        named = {i: said[j] for i, j in match(scene, said)}
        for i, truth in enumerate(scene.objects):
            count = counts[shows_held_out(truth)]
            found = i in named and named[i].colour == truth.colour
            count[0] += 1
            count[1] += found
            count[2] += found and named[i].finish == truth.finish
    shown, held_out = (
        Part(found / max(1, total), right / max(1, total), total)
        for total, found, right in counts.values()
    )
    return CaptionerExam(score, shown, held_out)
