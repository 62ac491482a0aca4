"""The plan of an import: which shard reads which part of which file of the source.

It is written into the dataset before the first shard, so that a run that continues cuts the
source as the first did, even where files have come or gone since. It is kept in pieces of
bounded size with an index that is written last, so neither writing nor reading it takes more
memory than one piece.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import partial
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from datagen.dataset.files import Files
from datagen.images.sources.base import Found, Part, Source

FOLDER = "_index/source"
PIECE_ROWS = 1 << 16
PIECE_BYTES = 16 << 20
GROUP_ROWS = 2048
_SCHEMA = pa.schema(
    [
        ("shard", pa.int32()),
        ("file", pa.string()),
        ("start", pa.int64()),
        ("stop", pa.int64()),
        ("rows", pa.int64()),
        ("beside", pa.string()),
        ("problem", pa.string()),
        ("record", pa.string()),
    ]
)


@dataclass(slots=True)
class Listing:
    """How many files a source has, and a hash of their names: whether it is still the same."""

    files: int = 0
    _hash: hashlib._Hash = field(default_factory=hashlib.sha256)

    def count(self, found: Iterator[Found]) -> Iterator[Found]:
        """Pass the files on, and note them."""
        for file in found:
            self.files += 1
            self._hash.update(file.file.encode() + b"\0")
            yield file

    def digest(self) -> str:
        """Of the names seen so far."""
        return self._hash.hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The index of a plan. Piece i holds shards `first[i]` … `first[i + 1]` - 1.

    `rows` is None where only reading the source tells how many it has.
    """

    kind: str
    shards: int
    rows: int | None
    files: int
    digest: str
    pieces: list[str]
    first: list[int]

    def parts(self, files: Files, shard: int) -> list[Part]:
        """What a shard reads."""
        table = self._piece(files, bisect_right(self.first, shard) - 1, [("shard", "==", shard)])
        return [Part(**record) for record in table.to_pylist()]

    def expected_rows(self, files: Files, shards: Sequence[int]) -> list[int]:
        """Rows of each of these shards; -1 where only reading tells."""
        if self.rows is None:
            return [-1] * len(shards)
        rows = np.zeros(self.shards, np.int64)
        for number in range(len(self.pieces)):
            piece = self._piece(files, number, None, ["shard", "rows"])
            np.add.at(rows, piece["shard"].to_numpy(), piece["rows"].to_numpy())
        return rows[np.asarray(shards, np.int64)].tolist()

    def _piece(
        self,
        files: Files,
        number: int,
        filters: list[tuple[str, str, int]] | None,
        columns: list[str] | None = None,
    ) -> pa.Table:
        with files.open(f"{FOLDER}/{self.pieces[number]}") as file:
            return pq.read_table(file, columns=columns, filters=filters)


def load_plan(files: Files) -> Plan | None:
    """The plan of a dataset; None if it has none."""
    raw = files.read(f"{FOLDER}/plan.json")
    return None if raw is None else Plan(**json.loads(raw))


def write_plan(files: Files, source: Source, shard_rows: int) -> Plan:
    """List the source, cut it, and write the plan.

    Raises:
        SourceError: the source's files are not what its kind needs.
        StorageError: the dataset cannot be written.
    """
    run = uuid.uuid4().hex[:8]  # pieces of two runs never mix
    pieces: list[str] = []
    first: list[int] = []
    shards, rows = 0, 0
    unknown = False
    listing = Listing()
    for piece in _pieces(source.parts(listing.count(source.files()), shard_rows)):
        pieces.append(f"plan-{run}-{len(pieces):05d}.parquet")
        first.append(piece[0].shard)
        shards = piece[-1].shard + 1
        unknown = unknown or any(part.rows is None for part in piece)
        rows += sum(part.rows or 0 for part in piece)
        columns = {f.name: [getattr(part, f.name) for part in piece] for f in fields(Part)}
        table = pa.table(columns, _SCHEMA)
        files.write(f"{FOLDER}/{pieces[-1]}", partial(_write, table))
    plan = Plan(
        kind=source.kind,
        shards=shards,
        rows=None if unknown else rows,
        files=listing.files,
        digest=listing.digest(),
        pieces=pieces,
        first=first,
    )
    text = json.dumps(asdict(plan)).encode()
    files.write(f"{FOLDER}/plan.json", lambda file: file.write(text))
    return plan


def _write(table: pa.Table, file: IO[bytes]) -> None:
    pq.write_table(table, file, compression="zstd", row_group_size=GROUP_ROWS)


def _pieces(parts: Iterator[Part]) -> Iterator[list[Part]]:
    """Cut where a shard ends."""
    piece: list[Part] = []
    size = 0
    for part in parts:
        full = len(piece) >= PIECE_ROWS or size >= PIECE_BYTES
        if piece and full and part.shard != piece[-1].shard:
            yield piece
            piece, size = [], 0
        piece.append(part)
        size += len(part.record)
    if piece:
        yield piece
