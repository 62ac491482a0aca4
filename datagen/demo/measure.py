"""The demo's tables held against the truth of their scenes: what nobody can do on web images."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from datagen.dataset import CaptionRow, Dataset, NegativesRow, RegionRow, Table
from datagen.demo.captioner_exam import Part, examine_captions
from datagen.demo.language import phrase_of
from datagen.demo.quality import Settings, examine
from datagen.demo.score import SaidObject, said_objects
from datagen.demo.score_boxes import LabelledBox, score_boxes
from datagen.demo.score_grounding import GroundingExam
from datagen.demo.score_regions import BoxExam
from datagen.demo.world import Scene, SceneObject, from_json
from datagen.evaluation.controls import text_only
from datagen.evaluation.items import RegionItem
from datagen.regions.boxes import iou

EXAM_SCENES = 500


@dataclass(frozen=True, kw_only=True)
class CaptionFigures:
    """Shares 0..1 of true objects named with kind and colour right, and with the finish too; of
    attributes said that are true; and of named objects that are not there."""

    object_recall: float
    finish_recall: float
    attribute_accuracy: float
    invented: float
    shown: Part
    """Objects whose pairs of kind and attribute the captioner's training shows."""
    held_out: Part
    """Objects with a pair of `held_out`, which no training shows."""


@dataclass(frozen=True, kw_only=True)
class RegionFigures:
    """At IoU 0.5, a box counts only with all the attributes of its object in the phrase."""

    recall: float
    precision: float
    mean_iou: float
    grounded: float
    """Share of the captions' phrases that a box supports."""
    exam: BoxExam
    """The detector on scenes that are not of the demo, asked for what is there and what is not."""
    planted: GroundingExam
    """Inventions planted into true captions of those scenes."""


@dataclass(frozen=True, kw_only=True)
class NegativeFigures:
    """`valid`: not true of the object in the box, and where one attribute was to be replaced, one
    is changed and the kind kept.
    `false_negative_rate`: true of that object all the same. Both are shares 0..1 of the negatives
    of regions whose box holds an object."""

    valid: float
    false_negative_rate: float
    blind_accuracy: float
    """Top-1 of a text-only linear model on positives against their negatives; see `chance`."""
    chance: float
    negatives: int
    negatives_per_region: float


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What the demo's summary shows of its data."""

    captions: CaptionFigures
    regions: RegionFigures
    negatives: NegativeFigures


@dataclass(frozen=True)
class _Image:
    scene: Scene
    caption: CaptionRow | None
    regions: list[RegionRow]
    grounded: list[bool]
    negatives: dict[str, NegativesRow]


def measure(dataset: Dataset, exam_scenes: int = EXAM_SCENES) -> Figures:
    """Compare every table with the scenes that the images table carries in `source`.

    Args:
        dataset: the demo's tables.
        exam_scenes: scenes of the detector's exams.

    Raises:
        KeyError: the images are not of the small world.
    """
    images = [image for shard in dataset.shards(Table.NEGATIVES) for image in _read(dataset, shard)]
    captioned = [image for image in images if image.caption is not None]
    captions = examine_captions(
        [image.scene for image in captioned],
        [image.caption.long for image in captioned if image.caption],
    )
    boxes = score_boxes(
        [[LabelledBox(phrase_of(o), o.bbox) for o in image.scene.objects] for image in captioned],
        [
            [LabelledBox(_canonical(r.phrase), r.bbox, r.score) for r in image.regions]
            for image in captioned
        ],
    )
    exams = examine(Settings(scenes=min(exam_scenes, len(images))))
    phrases = [grounded for image in captioned for grounded in image.grounded]
    return Figures(
        captions=CaptionFigures(
            object_recall=captions.all.object_recall,
            finish_recall=captions.all.finish_recall,
            attribute_accuracy=captions.all.attribute_accuracy,
            invented=captions.all.invented,
            shown=captions.shown,
            held_out=captions.held_out,
        ),
        regions=RegionFigures(
            recall=boxes.recall,
            precision=boxes.precision,
            mean_iou=boxes.mean_iou,
            grounded=sum(phrases) / len(phrases) if phrases else 0.0,
            exam=exams.boxes,
            planted=exams.grounding,
        ),
        negatives=_negatives(captioned),
    )


def _read(dataset: Dataset, shard: int) -> Iterator[_Image]:
    captions = {row.image_id: row for row in dataset.read_rows(Table.CAPTIONS, shard)}
    regions: dict[str, list[RegionRow]] = {}
    for region in dataset.read_rows(Table.REGIONS, shard):
        regions.setdefault(region.image_id, []).append(region)
    grounded: dict[str, list[bool]] = {}
    if shard in dataset.shards(Table.GROUNDING):  # tables made from the truth have none
        for row in dataset.read_rows(Table.GROUNDING, shard):
            grounded[row.image_id] = [phrase.grounded for phrase in row.phrases]
    negatives: dict[str, dict[str, NegativesRow]] = {}
    for row in dataset.read_rows(Table.NEGATIVES, shard):
        negatives.setdefault(row.image_id, {})[row.region_id] = row
    for batch in dataset.read(Table.IMAGES, shard, ["image_id", "source"]):
        for record in batch.to_pylist():
            name = record["image_id"]
            yield _Image(
                from_json(json.loads(record["source"])["truth"]),
                captions.get(name),
                regions.get(name, []),
                grounded.get(name, []),
                negatives.get(name, {}),
            )


def _canonical(phrase: str) -> str:
    return phrase.strip().lower()


def _negatives(images: list[_Image]) -> NegativeFigures:
    judged = valid = true_all_the_same = total = rows = 0
    items: list[RegionItem] = []
    for image in images:
        for region in image.regions:
            row = image.negatives.get(region.region_id)
            if row is None:
                continue
            rows += 1
            total += len(row.negatives)
            if row.negatives:
                items.append(_item(region, row))
            truth = _object_at(image.scene, region)
            if truth is None:
                continue
            positive = said_objects(row.positive)
            for negative in row.negatives:
                said = said_objects(negative.text)
                is_true = len(said) == 1 and _true_of(said[0], truth)
                judged += 1
                true_all_the_same += is_true
                kept = negative.change != "replace" or _one_change(positive, said)
                valid += not is_true and kept
    blind = text_only(items)
    return NegativeFigures(
        valid=valid / judged if judged else 0.0,
        false_negative_rate=true_all_the_same / judged if judged else 0.0,
        blind_accuracy=blind.value,
        chance=blind.chance or 0.0,
        negatives=total,
        negatives_per_region=total / rows if rows else 0.0,
    )


def _item(region: RegionRow, row: NegativesRow) -> RegionItem:
    return RegionItem(
        image_id=row.image_id,
        box=region.bbox,
        positive=row.positive,
        negatives=tuple(negative.text for negative in row.negatives),
    )


def _object_at(scene: Scene, region: RegionRow) -> SceneObject | None:
    best = max(scene.objects, key=lambda thing: iou(thing.bbox, region.bbox))
    return best if iou(best.bbox, region.bbox) >= 0.5 else None


def _true_of(said: SaidObject, truth: SceneObject) -> bool:
    return said.kind == truth.kind and said.right(truth) == said.said()


def _one_change(positive: list[SaidObject], said: list[SaidObject]) -> bool:
    """One object of the same kind, with exactly one of its attributes another value."""
    if len(positive) != 1 or len(said) != 1 or positive[0].kind != said[0].kind:
        return False
    old, new = positive[0], said[0]
    changes = [
        (getattr(old, name), getattr(new, name))
        for name in ("size", "colour", "finish")
        if getattr(old, name) != getattr(new, name)
    ]
    return len(changes) == 1 and None not in changes[0]
