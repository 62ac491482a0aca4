"""The negatives stage: it chooses among the candidates of each region, and has them verified."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from typing import Any, ClassVar

from datagen.dataset import CandidatesRow, Dataset, DatasetError, NegativesRow, PhraseSlot, Table
from datagen.dataset.lineage import Lineage
from datagen.dataset.rows import Box
from datagen.images.decode import decode
from datagen.negatives.balance import Counts
from datagen.negatives.lexicon import DEFAULT_LEXICON, load_lexicon
from datagen.negatives.selection import (
    SelectConfig,
    Selector,
    Surroundings,
    count_row,
    head,
    slots_of,
)
from datagen.negatives.verify import (
    AnotherRegion,
    Neighbour,
    Question,
    Verifier,
    VerifierConfig,
    believed,
    judged,
)
from datagen.stage import Item, Stage

COUNTS = "_index/negatives_counts.json"
STRANGERS = 4096
"""Regions of a shard among which other objects' phrases are drawn."""


@dataclass(frozen=True, kw_only=True)
class NegativesConfig:
    """What is chosen, and what a negative must survive."""

    select: SelectConfig = field(default_factory=SelectConfig)
    another_region: bool = True
    """Let negatives go that fit another region of the image by its phrase."""
    votes_to_drop: int = 1
    """Verifiers that must hold a negative to be true before it goes."""


@dataclass(frozen=True, slots=True)
class RegionItem(Item):
    """A region with its candidates; `id` is its region_id."""

    row: CandidatesRow
    around: Surroundings
    box: Box | None
    data: bytes | None


class NegativesStage(Stage[RegionItem]):
    """candidates → negatives. One row a region, with an empty list where nothing is left.

    Args:
        counts: how often each value is true in the whole dataset, from `count_slots`.
        verifiers: asked about every negative that was chosen.
        lexicon: the same file as the candidates'.
    """

    name: ClassVar[str] = "negatives"
    source: ClassVar[Table] = Table.CANDIDATES
    output: ClassVar[Table] = Table.NEGATIVES
    key: ClassVar[str] = "region_id"

    _selector: Selector
    _verifiers: list[Verifier]

    def __init__(
        self,
        config: NegativesConfig,
        counts: Counts,
        verifiers: Sequence[VerifierConfig] = (),
        lexicon: str = str(DEFAULT_LEXICON),
    ) -> None:
        self.config, self.counts, self.verifiers = config, counts, tuple(verifiers)
        self.lexicon = load_lexicon(lexicon)
        self._region = AnotherRegion(self.lexicon) if config.another_region else None
        self._needs_image = any(verifier.needs_image for verifier in self.verifiers)

    @property
    def lineage(self) -> Lineage:
        """See `Stage.lineage`."""
        return Lineage(
            stage=self.name,
            settings={
                "lexicon": self.lexicon.hash,
                "select": asdict(self.config.select),
                "counts": self.counts.fingerprint if self.config.select.balanced else None,
                "another_region": self.config.another_region,
                "votes_to_drop": self.config.votes_to_drop,
                "verifiers": [verifier.lineage() for verifier in self.verifiers],
            },
        )

    def check(self) -> None:
        """See `Stage.check`."""
        for verifier in self.verifiers:
            verifier.check()

    async def open(self) -> None:
        """See `Stage.open`."""
        self._selector = Selector(self.config.select, self.counts, self.lexicon)
        self._verifiers = [await verifier.open() for verifier in self.verifiers]

    def read(self, dataset: Dataset, shard: int) -> Iterator[RegionItem]:
        """Regions of the shard with their surroundings; those of an image stand together in it."""
        strangers = _strangers(dataset, shard)
        boxes: dict[str, Any] = {}
        pictures: Iterator[tuple[str, Any]] = iter(())
        if self.verifiers:
            boxes = dict(_columns(dataset, Table.REGIONS, shard, "region_id", "bbox"))
        if self._needs_image:
            pictures = _columns(dataset, Table.IMAGES, shard, "image_id", "bytes")
        rows = dataset.read_rows(Table.CANDIDATES, shard)
        for image_id, group in groupby(rows, key=lambda row: row.image_id):
            regions = list(group)
            data = None
            if self._needs_image:
                data = next((found for name, found in pictures if name == image_id), None)
                if data is None:
                    raise DatasetError(
                        f"Shard {shard} of {dataset.root}: the candidates of image {image_id} have "
                        "no image at their place: remove the candidates table and make it again."
                    )
            for row in regions:
                neighbours = [other for other in regions if other is not row]
                around = Surroundings(neighbours, strangers)
                box = boxes.get(row.region_id)
                yield RegionItem(row.region_id, row, around, tuple(box) if box else None, data)

    async def process(self, item: RegionItem) -> list[NegativesRow]:
        """The negatives of one region.

        Raises:
            ImageError: a verifier needs the picture and the bytes are none.
            RequestError: a verifier's engine refused.
        """
        row = item.row
        chosen = self._selector.select(row, item.around)
        image = await asyncio.to_thread(decode, item.data) if item.data and chosen else None
        question = Question(
            image=image,
            box=item.box or (0.0, 0.0, 1.0, 1.0),
            positive=row.positive,
            negatives=tuple(chosen),
            slots=tuple(slots_of(row)),
            neighbours=tuple(
                Neighbour(other.positive, tuple(slots_of(other)), head(other))
                for other in item.around.neighbours
            ),
        )
        verified = await judged(question, self._verifiers, self._region)
        kept = [n for n in verified if believed(n, self.config.votes_to_drop)]
        return [
            NegativesRow(
                region_id=item.id,
                image_id=row.image_id,
                positive=row.positive,
                negatives=kept,
                none_because=None if kept else _why_none(row, bool(chosen)),
            )
        ]

    async def close(self) -> None:
        """See `Stage.close`."""
        for verifier in self._verifiers:
            await verifier.close()


def count_slots(dataset: Dataset) -> Counts:
    """How often each value is true, over all shards of the candidates.

    The counts are kept in `_index/` as long as there are negatives that were balanced with them,
    so that a run that is continued has the same; without any they are made anew.
    """
    stored = dataset.read_json(COUNTS)
    if stored and dataset.shards(Table.NEGATIVES):
        return Counts({tuple(key): count for *key, count in stored["counts"]})  # type: ignore[misc]
    counts = Counts()
    for shard in dataset.shards(Table.CANDIDATES):
        for row in dataset.read_rows(Table.CANDIDATES, shard):
            count_row(row, counts)
    rows = [[*key, count] for key, count in sorted(counts.table.items())]
    dataset.write_json(COUNTS, {"columns": "kind, set, noun, value, regions", "counts": rows})
    return counts


def _why_none(row: CandidatesRow, chosen: bool) -> str:
    if chosen:
        return "verifiers"
    if not row.candidates:
        return "no attribute"
    if all(candidate.refused_by for candidate in row.candidates):
        return "checks"
    return "balance"


def _strangers(dataset: Dataset, shard: int) -> list[CandidatesRow]:
    """The phrases of a shard, without their candidates."""
    columns = ["region_id", "image_id", "positive", "slots"]
    found: list[CandidatesRow] = []
    for batch in dataset.read(Table.CANDIDATES, shard, columns=columns):
        for record in batch.to_pylist():
            slots = [PhraseSlot(**slot) for slot in record.pop("slots")]
            found.append(CandidatesRow(**record, slots=slots))
    return found[:: max(1, len(found) // STRANGERS)]


def _columns(
    dataset: Dataset, table: Table, shard: int, key: str, value: str
) -> Iterator[tuple[str, Any]]:
    for batch in dataset.read(table, shard, columns=[key, value]):
        yield from zip(batch[key].to_pylist(), batch[value].to_pylist(), strict=True)
