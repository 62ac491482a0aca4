"""Does grounding find what a caption made up? Inventions are planted into true captions.

Captions of the small world, a sentence for one or two objects; into each, one or two phrases
that are true of nothing in the scene: half of them one attribute away from an object, half in a
sentence of their own and half beside a true phrase.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from datagen.demo.detection_texts import Attributes, near_miss, objects_of, phrase
from datagen.demo.language import phrase_of
from datagen.demo.score_regions import ask
from datagen.demo.world import COLOURS, FINISHES, KINDS, SIZES, Scene
from datagen.regions.detector import Detector
from datagen.regions.grounding import ground
from datagen.regions.phrases import PhraseChunker


@dataclass(frozen=True)
class Planted:
    """A caption, its true sentences and the invented phrases in it."""

    caption: str
    true_sentences: tuple[str, ...]
    inventions: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class GroundingExam:
    """Shares 0..1.

    found: planted inventions that are recorded as phrases without a box.
    removed: those that are gone where a sentence with any such phrase is dropped.
    dropped_wrongly: true sentences that are then dropped as well.
    grounded_when_true: the mean share of grounded phrases over captions as they were.
    grounded_when_planted: the same over captions with inventions.
    """

    found: float
    removed: float
    dropped_wrongly: float
    grounded_when_true: float
    grounded_when_planted: float
    inventions: int
    true_sentences: int


def plant(scene: Scene, rng: random.Random, inventions: int) -> Planted:
    """A caption of the scene with so many invented phrases; with 0 it is all true."""
    own = [phrase_of(thing) for thing in scene.objects]
    groups = []
    while own:
        size = min(rng.choice((1, 2)), len(own))
        groups.append((own[:size], True))
        own = own[size:]
    planted: list[str] = []
    while len(planted) < inventions:
        wrong = _invention(scene, rng, near=len(planted) % 2 == 0)
        if wrong in planted:
            continue
        planted.append(wrong)
        if rng.random() < 0.5:
            groups.insert(rng.randint(0, len(groups)), ([wrong], False))
        else:
            place = rng.randrange(len(groups))
            phrases, _ = groups[place]
            groups[place] = ([*phrases, wrong], False)
    sentences = [(f"There is {' and '.join(phrases)}.", true) for phrases, true in groups]
    return Planted(
        " ".join(sentence for sentence, _ in sentences),
        tuple(sentence for sentence, true in sentences if true),
        tuple(planted),
    )


def examine_grounding(
    detector: Detector, chunker: PhraseChunker, scenes: Sequence[Scene], threshold: float = 0.4
) -> GroundingExam:
    """Ground captions with one or two inventions, and the same scenes' captions with none."""
    rng = random.Random(0)
    planted = [plant(scene, rng, rng.choice((1, 2))) for scene in scenes]
    true = [plant(scene, rng, 0) for scene in scenes]
    found = removed = dropped = inventions = sentences = 0
    shares: dict[bool, list[float]] = {True: [], False: []}
    captions = [*planted, *true]
    phrases = chunker.chunk([one.caption for one in captions])
    asked = ask(detector, [*scenes, *scenes], [[p.text for p in own] for own in phrases])
    for one, own, answer in zip(captions, phrases, asked, strict=True):
        row = ground("", one.caption, own, answer.detections, threshold=threshold, drop_below=1.0)
        grounded = {p.text for p in row.phrases if p.grounded}
        inventions += len(one.inventions)
        found += sum(
            text not in grounded and any(p.text == text for p in row.phrases)
            for text in one.inventions
        )
        removed += sum(text not in row.long for text in one.inventions)
        sentences += len(one.true_sentences)
        dropped += sum(sentence in row.dropped for sentence in one.true_sentences)
        if row.grounded is not None:
            shares[not one.inventions].append(row.grounded)
    return GroundingExam(
        found=found / inventions,
        removed=removed / inventions,
        dropped_wrongly=dropped / sentences,
        grounded_when_true=_mean(shares[True]),
        grounded_when_planted=_mean(shares[False]),
        inventions=inventions,
        true_sentences=sentences,
    )


def _invention(scene: Scene, rng: random.Random, near: bool) -> str:
    while True:
        wrong: Attributes = (
            near_miss(rng.choice(scene.objects), rng.randrange(4), rng)
            if near
            else (rng.choice(SIZES), rng.choice(COLOURS), rng.choice(FINISHES), rng.choice(KINDS))
        )
        if not objects_of(scene, wrong):
            return phrase(wrong)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
