"""The four tables of a dataset written from the truth of the small world, with nothing generated.

They serve as the evaluation set, and as the ceiling of what generated tables can teach.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from datagen.dataset import (
    FLOW,
    CaptionRow,
    Dataset,
    ImageRow,
    Negative,
    NegativesRow,
    RegionRow,
    Table,
)
from datagen.dataset.lineage import Lineage
from datagen.demo.draw import encode_jpeg
from datagen.demo.language import long_caption, phrase_of, short_caption
from datagen.demo.world import COLOURS, FINISHES, SIZES, Scene, SceneObject, make_scene, to_json

NEGATIVES = 10
_VALUES = {"colour": COLOURS, "finish": FINISHES, "size": SIZES}


def write_truth_dataset(
    root: str,
    split: str,
    count: int,
    *,
    first: int = 0,
    shard_size: int = 256,
    size: int = 128,
    skewed: bool = False,
) -> Dataset:
    """Write scenes `first` … `first + count - 1` of a split as aligned shards of all four tables.

    Each object is a region with its whole phrase; its negatives are 10 phrases that differ in one
    attribute, drawn evenly from all that do, so that text alone does not tell them apart. Shards
    that are there already are left alone.

    Args:
        size: side of the pictures in pixels.
        skewed: see `make_scene`.

    Raises:
        DatasetError: the folder holds tables of another configuration.
    """
    dataset = Dataset(root)
    settings = {"split": split, "count": count, "first": first, "shard_size": shard_size}
    settings |= {"size": size, "negatives": NEGATIVES, **({"skewed": True} if skewed else {})}
    lineage = Lineage(stage="truth", settings=settings)
    for table in FLOW:
        dataset.claim(table, lineage)
    done = set(dataset.shards(Table.NEGATIVES))
    for shard, start in enumerate(range(first, first + count, shard_size)):
        if shard in done:
            continue
        stop = min(start + shard_size, first + count)
        scenes = [make_scene(split, index, skewed=skewed) for index in range(start, stop)]
        images = [_image(scene, size) for scene in scenes]
        pairs = list(zip(scenes, images, strict=True))
        captions = [_captions(scene, image.image_id) for scene, image in pairs]
        regions = [row for scene, image in pairs for row in _regions(scene, image.image_id)]
        negatives = [row for scene, image in pairs for row in _negatives(scene, image.image_id)]
        rows: tuple[list[Any], ...] = (images, captions, regions, negatives)
        for table, table_rows in zip(FLOW, rows, strict=True):
            dataset.commit(table, shard, table_rows, lineage=lineage, rows_in=len(table_rows))
    return dataset


def one_attribute_changed(obj: SceneObject) -> list[Negative]:
    """Every phrase that differs from the object's own in colour, finish or size alone."""
    found = []
    for name, values in _VALUES.items():
        old = getattr(obj, name)
        for new in values:
            if new == old:
                continue
            changed: dict[str, Any] = {name: new}
            other = replace(obj, **changed)
            text = phrase_of(other)
            words = text.split(" ")
            place = 1 + obj.attributes.index(old)  # after the article
            start = len(" ".join(words[:place])) + 1
            found.append(
                Negative(
                    text=text, type=name, span_start=start, span_end=start + len(new),
                    old=old, new=new, checks=["truth"],
                )
            )  # fmt: skip
    return found


def _image(scene: Scene, size: int) -> ImageRow:
    data = encode_jpeg(scene, size)
    return ImageRow(
        image_id=hashlib.sha256(data).hexdigest()[:32],
        uri=f"scene:{scene.split}/{scene.index}",
        bytes=data,
        width=size,
        height=size,
        format="JPEG",
        phash="0" * 16,  # not looked at: the scenes are different by construction
        source=to_json(scene),
    )


def _captions(scene: Scene, image_id: str) -> CaptionRow:
    long, short = long_caption(scene), short_caption(scene)
    return CaptionRow(
        image_id=image_id, long=long, short=short, long_finish_reason="stop",
        short_finish_reason="stop", prompt_tokens=0, long_tokens=len(long.split()),
        short_tokens=len(short.split()),
    )  # fmt: skip


def _regions(scene: Scene, image_id: str) -> Iterator[RegionRow]:
    caption, end = long_caption(scene), 0
    for number, obj in enumerate(scene.objects):
        phrase = phrase_of(obj)
        start = caption.index(phrase, end)
        end = start + len(phrase)
        yield RegionRow(
            region_id=_region_id(image_id, number), image_id=image_id, phrase=phrase,
            span_start=start, span_end=end, bbox=obj.bbox, score=1.0, margin=1.0,
            description=phrase,
        )  # fmt: skip


def _negatives(scene: Scene, image_id: str) -> Iterator[NegativesRow]:
    for number, obj in enumerate(scene.objects):
        region_id = _region_id(image_id, number)
        choice = random.Random(int(region_id[:16], 16)).sample(
            one_attribute_changed(obj), NEGATIVES
        )
        yield NegativesRow(
            region_id=region_id, image_id=image_id, positive=phrase_of(obj), negatives=choice
        )


def _region_id(image_id: str, number: int) -> str:
    return hashlib.sha256(f"{image_id}/{number}".encode()).hexdigest()[:32]
