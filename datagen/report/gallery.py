"""The gallery: a few images with their boxes, captions and negatives, ready to be shown.

The same dataset gives the same gallery. Only the shards that the images come from are read.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, zip_longest
from typing import Any

from duckdb import DuckDBPyConnection

from datagen.images.decode import ImageError, decode
from datagen.report.pictures import MAX_SIDE, small_jpeg


@dataclass(frozen=True)
class Change:
    """Negatives of one region that differ in the same place: before + a new value + after."""

    type: str
    before: str
    old: str
    new: tuple[str, ...]
    after: str


@dataclass(frozen=True)
class Region:
    """A box in % of the picture's sides, with what is said of it. `number` counts from 1."""

    number: int
    region_id: str
    phrase: str
    description: str
    score: float
    left: float
    top: float
    width: float
    height: float
    changes: tuple[Change, ...]


@dataclass(frozen=True)
class Segment:
    """A piece of the caption and the numbers of the regions whose phrase it belongs to.

    `ends` are the regions whose phrase ends with this piece: there their numbers are written.
    """

    text: str
    regions: tuple[int, ...]
    ends: tuple[int, ...]


@dataclass(frozen=True)
class Card:
    """An image of the gallery. `picture` is a data: URI, or empty, and then `problem` says why."""

    image_id: str
    uri: str
    shard: int
    width: int
    height: int
    picture: str
    problem: str
    caption: tuple[Segment, ...]
    short: str
    flags: tuple[str, ...]
    regions: tuple[Region, ...]

    @property
    def boxes(self) -> list[Region]:
        """The regions, large boxes first, so that small ones lie on top and can be pointed at."""
        return sorted(self.regions, key=lambda region: -region.width * region.height)


def cards(connection: DuckDBPyConnection, number: int) -> Iterator[Card]:
    """Yield at most `number` images, from shards spread over the dataset.

    Images with regions come first, then those with captions. Within a shard they are in the
    order of their ids, which are hashes: a sample without a favourite.
    """
    for shard, image_id in _sample(connection, number):
        yield _card(connection, shard, image_id)


def _sample(connection: DuckDBPyConnection, number: int) -> list[tuple[int, str]]:
    """(shard, image_id), the shards in turn."""
    if number < 1:
        return []
    query = "SELECT shard FROM shards WHERE table_name = 'images' AND \"rows\" > 0 ORDER BY shard"
    shards = [row[0] for row in connection.sql(query).fetchall()]
    step = max(len(shards) / number, 1.0)
    chosen = [shards[int(i * step)] for i in range(math.ceil(len(shards) / step))][:number]
    columns = [
        connection.execute(
            """
            SELECT shard, image_id FROM (SELECT shard, image_id FROM images WHERE shard = $shard)
            ORDER BY
                image_id IN (SELECT image_id FROM regions WHERE shard = $shard) DESC,
                image_id IN (SELECT image_id FROM captions WHERE shard = $shard) DESC,
                image_id
            LIMIT $number
            """,
            {"shard": shard, "number": number},
        ).fetchall()
        for shard in chosen
    ]
    turns = (found for turn in zip_longest(*columns) for found in turn if found is not None)
    return [found for found, _ in zip(turns, range(number), strict=False)]


def _card(connection: DuckDBPyConnection, shard: int, image_id: str) -> Card:
    def ask(query: str) -> list[dict[str, Any]]:
        result = connection.execute(query, {"shard": shard, "image": image_id})
        names = [column[0] for column in result.description or ()]
        return [dict(zip(names, row, strict=True)) for row in result.fetchall()]

    where = "WHERE shard = $shard AND image_id = $image"
    image = ask(f"SELECT bytes, uri, width, height FROM images {where} LIMIT 1")[0]  # noqa: S608
    captions = ask(f"SELECT long, short, checks FROM captions {where} LIMIT 1")  # noqa: S608
    records = ask(
        f"""
        SELECT r.*, coalesce(n.negatives, []) AS negatives
        FROM (SELECT * FROM regions {where}) AS r
        LEFT JOIN (SELECT region_id, negatives FROM negatives {where}) AS n USING (region_id)
        ORDER BY span_start, span_end, bbox[1], bbox[2], region_id
        """  # noqa: S608
    )
    caption: dict[str, Any] = captions[0] if captions else {"long": "", "short": "", "checks": []}
    picture, problem = _picture(image["bytes"])
    return Card(
        image_id=image_id,
        uri=image["uri"],
        shard=shard,
        width=image["width"],
        height=image["height"],
        picture=picture,
        problem=problem,
        caption=tuple(segments(caption["long"], _spans(caption["long"], records))),
        short=caption["short"],
        flags=tuple(caption["checks"]),
        regions=tuple(_region(number, record) for number, record in enumerate(records, start=1)),
    )


def _region(number: int, record: Mapping[str, Any]) -> Region:
    left, top, right, bottom = (100 * min(max(value, 0.0), 1.0) for value in record["bbox"])
    return Region(
        number=number,
        region_id=record["region_id"],
        phrase=record["phrase"],
        description=record["description"],
        score=record["score"],
        left=left,
        top=top,
        width=max(right - left, 0.0),
        height=max(bottom - top, 0.0),
        changes=changes(record["negatives"]),
    )


def changes(negatives: Iterable[Mapping[str, Any]]) -> tuple[Change, ...]:
    """Cut each negative where it differs, and put those with equal surroundings together."""
    found: dict[tuple[str, str, str, str], list[str]] = {}
    for negative in negatives:
        text, start, end = negative["text"], negative["span_start"], negative["span_end"]
        if not 0 <= start <= end <= len(text):  # mark all of it rather than the wrong words
            start, end = 0, len(text)
        key = (negative["type"], text[:start], negative["old"], text[end:])
        found.setdefault(key, []).append(text[start:end])
    return tuple(
        Change(type_, before, old, tuple(new), after)
        for (type_, before, old, after), new in found.items()
    )


def _spans(caption: str, records: Iterable[Mapping[str, Any]]) -> list[tuple[int, int, int]]:
    """(start, end, number) of the phrases that stand in the caption where their span says."""
    spans = [
        (record["span_start"], record["span_end"], number, record["phrase"])
        for number, record in enumerate(records, start=1)
    ]
    return [
        (start, end, number)
        for start, end, number, phrase in spans
        if phrase and caption[start:end] == phrase
    ]


def segments(text: str, spans: Sequence[tuple[int, int, int]]) -> Iterator[Segment]:
    """Cut a text at all starts and ends of (start, end, number), which may overlap and nest."""
    cuts = sorted({0, len(text), *(cut for start, end, _ in spans for cut in (start, end))})
    for start, end in pairwise(cuts):
        yield Segment(
            text[start:end],
            tuple(number for first, last, number in spans if first <= start and end <= last),
            tuple(number for _, last, number in spans if last == end),
        )


def _picture(data: bytes) -> tuple[str, str]:
    """A data: URI of a small JPEG, or what is wrong with the bytes."""
    try:
        return small_jpeg(decode(data, side=MAX_SIDE)), ""
    except ImageError as error:
        return "", str(error)
