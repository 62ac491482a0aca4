"""How many rows each shard has: kept beside the tables, so that nobody opens a million files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from datagen.dataset.files import Files

UNKNOWN = -1


@dataclass(frozen=True)
class Counts:
    """Rows of some shards of a table; all four arrays are of shape (shards,).

    `shards` ascends. `rows_in` = rows done + `dead_letters`; `rows` counts rows of the table.
    `UNKNOWN` where nobody has looked yet.
    """

    shards: np.ndarray
    rows_in: np.ndarray
    rows: np.ndarray
    dead_letters: np.ndarray

    @classmethod
    def unknown(cls, shards: Sequence[int] | np.ndarray) -> Counts:
        """Nothing known yet of these shards."""
        numbers = np.asarray(shards, np.int64)
        return cls(numbers, *(np.full(len(numbers), UNKNOWN, np.int64) for _ in range(3)))

    def at(self, shard: int) -> int:
        """Position of a shard that is among `shards`."""
        return int(np.searchsorted(self.shards, shard))

    def set(self, shard: int, rows_in: int, rows: int, dead_letters: int) -> None:
        """Note what a shard has."""
        at = self.at(shard)
        self.rows_in[at], self.rows[at], self.dead_letters[at] = rows_in, rows, dead_letters

    def known(self) -> np.ndarray:
        """True where somebody has looked, (shards,)."""
        return self.rows_in != UNKNOWN

    def take(self, other: Counts) -> None:
        """Note what `other` knows of these shards."""
        _, here, there = np.intersect1d(
            self.shards, other.shards, assume_unique=True, return_indices=True
        )
        for mine, its in zip(self._arrays(), other._arrays(), strict=True):
            mine[here] = its[there]

    def where(self, mask: np.ndarray) -> Counts:
        """Those for which the mask, (shards,), is true."""
        return Counts(self.shards[mask], *(array[mask] for array in self._arrays()))

    def _arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self.rows_in, self.rows, self.dead_letters


def load(files: Files, table: str) -> Counts:
    """What was kept of a table; empty if nothing was."""
    raw = files.read(_name(table))
    if raw is None:
        return Counts.unknown([])
    columns = pq.read_table(pa.BufferReader(raw))
    return Counts(
        *(columns[name].to_numpy() for name in ("shard", "rows_in", "rows", "dead_letters"))
    )


def save(files: Files, table: str, counts: Counts) -> None:
    """Keep what is known."""
    known = counts.where(counts.known())
    columns = {
        "shard": known.shards,
        "rows_in": known.rows_in,
        "rows": known.rows,
        "dead_letters": known.dead_letters,
    }
    files.write(
        _name(table), lambda file: pq.write_table(pa.table(columns), file, compression="zstd")
    )


def _name(table: str) -> str:
    return f"_index/{table}.parquet"
