"""The data contract: tables, their schemas and rows, shards and how they are committed."""

from datagen.dataset.rows import (
    CaptionRow,
    ErrorRow,
    ImageRow,
    Negative,
    NegativesRow,
    RegionRow,
)
from datagen.dataset.schemas import SCHEMA_VERSION, SCHEMAS, Table
from datagen.dataset.store import Dataset, DatasetError

__all__ = [
    "SCHEMAS",
    "SCHEMA_VERSION",
    "CaptionRow",
    "Dataset",
    "DatasetError",
    "ErrorRow",
    "ImageRow",
    "Negative",
    "NegativesRow",
    "RegionRow",
    "Table",
]
