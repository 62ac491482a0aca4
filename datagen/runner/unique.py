"""Which shard owns a value that may come once in a table: the first that asked for it."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from datagen.dataset import Dataset, Table

CACHE_KIB = 65_536


class UniqueValues:
    """Owners of values, in a file of the driver's machine: memory stays flat at any number.

    It is made anew for each run from the shards that are committed, so a crash loses nothing.
    About 45 bytes of disk and 0.02 ms a value.
    """

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="unique-")
        self.folder = self._folder.name
        path = Path(self.folder, "owners.sqlite")
        self._base = sqlite3.connect(path, isolation_level=None)
        # The file is worth nothing after a crash: no journal, no waiting for the disk.
        self._base.executescript(
            f"PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-{CACHE_KIB};"
            "CREATE TABLE owners (value TEXT PRIMARY KEY, shard INT) WITHOUT ROWID;"
        )

    def load(self, dataset: Dataset, table: Table, column: str, shards: Iterable[int]) -> None:
        """Take over what these shards hold."""
        for shard in shards:
            for batch in dataset.read(table, shard, [column]):
                self.claim(shard, batch[column].to_pylist())

    def claim(self, shard: int, values: Sequence[str]) -> list[int]:
        """Claim values for a shard; returns the places of those it may not have, ascending.

        A value belongs to the first shard that claimed it, and within it to its first place.
        """
        self._base.execute("BEGIN")
        self._base.executemany(
            "INSERT OR IGNORE INTO owners VALUES (?, ?)", ((value, shard) for value in values)
        )
        self._base.execute("COMMIT")
        ask = "SELECT shard FROM owners WHERE value = ?"
        seen: set[str] = set()
        refused: list[int] = []
        for place, value in enumerate(values):
            if value in seen or self._base.execute(ask, (value,)).fetchone()[0] != shard:
                refused.append(place)
            seen.add(value)
        return refused

    def close(self) -> None:
        """Delete the file."""
        self._base.close()
        self._folder.cleanup()
