"""The data contract: tables, their schemas and rows, shards and how they are committed."""

from datagen.dataset.rows import (
    Candidate,
    CandidatesRow,
    CaptionRow,
    ErrorRow,
    GroundedPhrase,
    GroundingRow,
    ImageRow,
    Negative,
    NegativesRow,
    PhraseSlot,
    RegionRow,
    Vote,
)
from datagen.dataset.schemas import FLOW, SCHEMA_VERSION, SCHEMAS, Table
from datagen.dataset.store import Dataset, DatasetError

__all__ = [
    "FLOW",
    "SCHEMAS",
    "SCHEMA_VERSION",
    "Candidate",
    "CandidatesRow",
    "CaptionRow",
    "Dataset",
    "DatasetError",
    "ErrorRow",
    "GroundedPhrase",
    "GroundingRow",
    "ImageRow",
    "Negative",
    "NegativesRow",
    "PhraseSlot",
    "RegionRow",
    "Table",
    "Vote",
]
