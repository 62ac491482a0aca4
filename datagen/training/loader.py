"""Batches of a dataset in their order, made ready by worker processes.

The training process reads Parquet and hands encoded images and texts to torch's DataLoader, whose
workers decode, tokenize and collate. A batch lies in the order at a place of its own, whoever made
it, so any step can be the first.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from datagen.training.batch import Batch, make_batch
from datagen.training.data import DataConfig, Pixels, choose, decoded
from datagen.training.order import Order, Segment
from datagen.training.reading import Reader, Record
from datagen.training.texts import TextEncoder


@dataclass(frozen=True, slots=True)
class _Task:
    """What a worker makes a batch of."""

    epoch: int
    records: list[Record]


class RawBatches:
    """Records of batches `first` … `stop - 1`, counted over all epochs, of one rank.

    Args:
        rank, ranks: this process and how many there are; the number of lanes must be a multiple.
    """

    def __init__(
        self, reader: Reader, order: Order, first: int, stop: int, rank: int = 0, ranks: int = 1
    ) -> None:
        if order.lanes % ranks:
            raise ValueError(f"{order.lanes} lanes cannot be dealt evenly to {ranks} processes.")
        own = order.lanes // ranks
        self._lanes = range(rank * own, (rank + 1) * own)
        self._reader, self._order, self._first, self._stop = reader, order, first, stop

    def __len__(self) -> int:
        return self._stop - self._first

    def __iter__(self) -> Iterator[_Task]:
        for epoch, found in self._small() if self._order.small else self._large():
            yield _Task(epoch, [record for record in found if record is not None])

    def _places(self) -> Iterator[tuple[int, int]]:
        for step in range(self._first, self._stop):
            yield divmod(step, self._order.batches)

    def _large(self) -> Iterator[tuple[int, list[Record | None]]]:
        lanes = [_Lane(self._reader, self._order, lane) for lane in self._lanes]
        with ThreadPoolExecutor(1) as pool:
            for epoch, batch in self._places():
                yield epoch, [r for lane in lanes for r in lane.records(epoch, batch, pool)]

    def _small(self) -> Iterator[tuple[int, list[Record | None]]]:
        order = self._order
        records = [r for segment in order.everything() for r in self._reader.segment(segment)]
        own = slice(self._lanes.start * order.share, self._lanes.stop * order.share)
        for epoch, batch in self._places():
            yield epoch, [records[row] for row in order.row_numbers(epoch, batch)[own]]


class _Lane:
    """One lane's buffer of records, and the next one while it is being read."""

    def __init__(self, reader: Reader, order: Order, lane: int) -> None:
        self._reader, self._order, self._lane = reader, order, lane
        self._key: tuple[int, int] | None = None
        self._records: list[Record | None] = []
        self._next: tuple[tuple[int, int], Future[list[Record | None]]] | None = None

    def records(self, epoch: int, batch: int, pool: ThreadPoolExecutor) -> list[Record | None]:
        number, rows = self._order.share_of(epoch, self._lane, batch)
        if (epoch, number) != self._key:
            if self._next is not None and self._next[0] == (epoch, number):
                self._records = self._next[1].result()
            else:
                self._records = self._read(self._order.buffer(epoch, self._lane, number))
            self._key = (epoch, number)
            self._ahead(epoch, number, pool)
        return [self._records[row] for row in rows]

    def _ahead(self, epoch: int, number: int, pool: ThreadPoolExecutor) -> None:
        """Begin to read the next buffer of this epoch."""
        self._next = None
        if self._order.first_batch(number + 1) < self._order.batches:
            segments = self._order.buffer(epoch, self._lane, number + 1)
            self._next = (epoch, number + 1), pool.submit(self._read, segments)

    def _read(self, segments: list[Segment]) -> list[Record | None]:
        return [record for segment in segments for record in self._reader.segment(segment)]


class _Collator(Dataset):
    """Makes batches; lives in every worker."""

    def __init__(
        self, config: DataConfig, seed: int, size: int, encoder: TextEncoder, parts: int,
        *, regions: bool, hard: bool,
    ) -> None:  # fmt: skip
        self._config, self._seed, self._size, self._encoder = config, seed, size, encoder
        self._parts, self._regions, self._hard = parts, regions, hard
        self._known: dict[str, Pixels | None] = {}

    def __getitem__(self, task: _Task) -> list[Batch]:
        samples = []
        for record in task.records:
            pixels = self._pixels(record)
            if pixels is not None:
                chosen = choose(record.sample, self._config, self._seed, task.epoch)
                samples.append(replace(chosen, pixels=pixels))
        pieces = [samples[part] for part in _even(len(samples), self._parts)]
        return [
            make_batch(piece, self._encoder, regions=self._regions, hard=self._hard)
            for piece in pieces
        ]

    def _pixels(self, record: Record) -> Pixels | None:
        image_id = record.sample.image_id
        if not self._config.keep_in_memory:
            return decoded(image_id, record.image, self._size)
        if image_id not in self._known:
            self._known[image_id] = decoded(image_id, record.image, self._size)
        return self._known[image_id]


def _even(count: int, parts: int) -> list[slice]:
    """Cut into `parts` slices, or fewer, none of them empty."""
    edges = np.linspace(0, count, min(parts, count) + 1).astype(int)
    return [slice(int(a), int(b)) for a, b in pairwise(edges)]


def load_batches(
    raw: RawBatches, config: DataConfig, encoder: TextEncoder, *, seed: int, size: int,
    parts: int = 1, regions: bool = True, hard: bool = True,
) -> Iterator[list[Batch]]:  # fmt: skip
    """Batches as `parts` pieces each, in order. A corrupt image makes its batch smaller.

    Args:
        size: side in pixels to which images are resized.
        parts: pieces that are encoded one after the other.
        regions, hard: take regions, and their negatives.
    """
    collator = _Collator(config, seed, size, encoder, parts, regions=regions, hard=hard)
    loader: Any = DataLoader(
        collator,
        sampler=raw,
        batch_size=None,
        num_workers=config.processes,
        multiprocessing_context="forkserver" if config.processes else None,
        collate_fn=_as_it_is,
        worker_init_fn=_one_thread,
    )
    yield from loader


def _as_it_is(batch: list[Batch]) -> list[Batch]:
    return batch


def _one_thread(worker: int) -> None:
    torch.set_num_threads(1)
