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
class Vote:
    """What a verifier says of a negative: whether it is true of the picture after all."""

    verifier: str
    is_true: bool
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Negative:
    """A phrase that is false of the region and differs from the positive as `change` says."""

    text: str
    type: str
    span_start: int
    span_end: int
    old: str
    new: str
    checks: list[str] = field(default_factory=list)
    change: str = "replace"
    votes: list[Vote] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class PhraseSlot:
    """A value of an attribute in a region's phrase."""

    kind: str
    family: str
    value: str
    span_start: int
    span_end: int
    noun: str
    proposed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A phrase that may become a negative, or why it may not: the check that refused it."""

    text: str
    type: str
    slot: int
    span_start: int
    span_end: int
    old: str
    new: str
    refused_by: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidatesRow:
    """What the rewriter made of one region's phrase, before anything is chosen."""

    region_id: str
    image_id: str
    positive: str
    slots: list[PhraseSlot] = field(default_factory=list)
    candidates: list[Candidate] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class NegativesRow:
    """The negatives of one region; where there are none, `none_because` says why."""

    region_id: str
    image_id: str
    positive: str
    negatives: list[Negative] = field(default_factory=list)
    none_because: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorRow:
    """A dead letter: a row that a stage gave up on, and why."""

    id: str
    stage: str
    error: str
    message: str
    attempts: int


Row = ImageRow | CaptionRow | RegionRow | GroundingRow | CandidatesRow | NegativesRow
