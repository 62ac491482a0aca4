"""Typed rows of the tables. The fields of each are the columns of its schema, by name."""

from __future__ import annotations

from dataclasses import dataclass, field

Box = tuple[float, float, float, float]
"""x1, y1, x2, y2, each 0..1 of the picture as shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRow:
    """One image. `source` is a JSON object with whatever else the source knew of it."""

    image_id: str
    uri: str
    bytes: bytes
    width: int
    height: int
    format: str
    phash: str
    source_caption: str | None = None
    source: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionRow:
    """The captions of one image."""

    image_id: str
    long: str
    short: str
    long_finish_reason: str
    short_finish_reason: str
    prompt_tokens: int
    long_tokens: int
    short_tokens: int
    checks: list[str] = field(default_factory=list)
    long_original: str | None = None
    short_original: str | None = None
    attempts: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionRow:
    """One region: a phrase of the long caption and the box it names."""

    region_id: str
    image_id: str
    phrase: str
    span_start: int
    span_end: int
    bbox: Box
    score: float
    margin: float
    description: str
    description_from: str | None = None
    area: float | None = None
    grounded: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GroundedPhrase:
    """A phrase of the long caption, and whether a box supports it."""

    text: str
    span_start: int
    span_end: int
    grounded: bool
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GroundingRow:
    """How far one image's boxes support its long caption; `long` is what is left of that."""

    image_id: str
    grounded: float | None
    phrases: list[GroundedPhrase]
    long: str
    dropped: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Negative:
    """A phrase that differs from the positive in the value of one attribute."""

    text: str
    type: str
    span_start: int
    span_end: int
    old: str
    new: str
    checks: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class NegativesRow:
    """The negatives of one region; an empty list where its phrase has no attribute."""

    region_id: str
    image_id: str
    positive: str
    negatives: list[Negative] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorRow:
    """A dead letter: a row that a stage gave up on, and why."""

    id: str
    stage: str
    error: str
    message: str
    attempts: int


Row = ImageRow | CaptionRow | RegionRow | GroundingRow | NegativesRow
