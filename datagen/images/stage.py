"""The images stage: from a source outside to the images table, whose shards all others follow."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import ClassVar, Literal

from datagen.dataset import Dataset, ImageRow, Table
from datagen.dataset.lineage import Lineage
from datagen.dataset.rows import Row
from datagen.images.decode import MAX_PIXELS, ImageError, inspect
from datagen.images.plan import FOLDER as PLAN_FOLDER
from datagen.images.plan import Listing, Plan, load_plan, write_plan
from datagen.images.sources.base import RawImage, Source, SourceError, to_json
from datagen.images.sources.detect import KINDS, absolute, detect, locate
from datagen.images.sources.location import FetchError
from datagen.images.sources.parquet import ParquetSource
from datagen.stage import Stage

DECODING_AT_ONCE = 2
"""Threads of an actor that decode; more would not be faster on its one CPU, only take memory."""


@dataclass(frozen=True, kw_only=True)
class ImportConfig:
    """Where the images are, how they are cut into shards, and which are refused."""

    images: str
    """A folder of images, Parquet files, WebDataset tars, or FineHARD's JSON: a path or URL."""
    source_format: Literal["auto", "folder", "parquet", "tar", "finehard"] = "auto"
    """What `images` is; auto looks."""
    image_root: str = ""
    """Where paths of images in Parquet or FineHARD lead; by default the folder of `images`."""
    image_column: str | None = None
    """Parquet's column of images: bytes, paths or URLs; looked for by itself."""
    caption_column: str | None = None
    """Parquet's column of captions; looked for by itself."""
    shard_rows: int = 512
    """Images a shard: the unit of work, commit and retry. A tar is always one shard."""
    max_pixels: int = MAX_PIXELS
    """Larger pictures become dead letters."""
    max_bytes: int = 100_000_000
    """Larger files become dead letters unread."""
    min_side: int = 8
    """Pictures with fewer pixels a side become dead letters: 1×1 marks visitors, shows nothing."""
    max_aspect: float = 200.0
    """Pictures longer than this times their width become dead letters; engines refuse them."""
    import_actors: int = 1
    """Actors that import, each with a CPU."""

    def __post_init__(self) -> None:
        if self.shard_rows < 1:
            raise SourceError(f"shard_rows is {self.shard_rows}: it must be 1 or more.")


class ImagesStage(Stage[RawImage]):
    """source → images. One row a picture; its uri says where in the source it was."""

    name: ClassVar[str] = "images"
    source: ClassVar[Table | None] = None
    output: ClassVar[Table] = Table.IMAGES
    key: ClassVar[str] = "uri"
    unique: ClassVar[str | None] = "image_id"

    def __init__(self, config: ImportConfig) -> None:
        self.config = config
        self.root = absolute(config.images)
        self.image_root = absolute(config.image_root or config.images)
        self._plan: Plan | None = None
        self._source: Source | None = None
        self._decoding: asyncio.Semaphore | None = None

    @property
    def lineage(self) -> Lineage:
        """See `Stage.lineage`."""
        settings = {k: v for k, v in asdict(self.config).items() if k != "import_actors"}
        return Lineage(stage=self.name, settings=settings)

    def check_source(self, dataset: Dataset) -> None:
        """See `Stage.check_source`. A source of which all is imported may be gone.

        Raises:
            SourceError: nothing is there, or nothing in it is of a known kind.
        """
        plan = load_plan(dataset.files)
        if plan is not None and len(dataset.shards(self.output)) >= plan.shards:
            return
        with self._reaching():
            self._open_source(self._kind())

    def prepare(self, dataset: Dataset) -> None:
        """Plan the import, or take up the plan of an earlier run.

        Raises:
            SourceError: the source holds nothing.
        """
        self._plan = load_plan(dataset.files)
        with self._reaching():
            if self._plan is None:
                source = self._open_source(self._kind())
                self._plan = write_plan(dataset.files, source, self.config.shard_rows)
                if not self._plan.shards:
                    dataset.files.remove(f"{PLAN_FOLDER}/plan.json")
                    raise SourceError(f"{self.config.images} holds no images.")
            elif len(dataset.shards(self.output)) < self._plan.shards:
                self._compare(self._plan)

    def shards(self, dataset: Dataset) -> Sequence[int]:
        """See `Stage.shards`."""
        return range(self._planned(dataset).shards)

    def expected_rows(self, dataset: Dataset, shards: Sequence[int]) -> Sequence[int]:
        """See `Stage.expected_rows`. How many images a tar has, only reading it tells."""
        return self._planned(dataset).expected_rows(dataset.files, shards)

    async def open(self) -> None:
        """See `Stage.open`."""
        self._decoding = asyncio.Semaphore(DECODING_AT_ONCE)

    def read(self, dataset: Dataset, shard: int) -> Iterator[RawImage]:
        """Stream the images of the shard's parts, and what is in their place if they are broken.

        Raises:
            SourceError: a file has changed or gone since the import was planned.
        """
        plan = self._planned(dataset)
        if self._source is None:
            self._source = self._open_source(plan.kind)
        for part in plan.parts(dataset.files, shard):
            if part.problem:
                yield RawImage(self._source.uri(part), problem=part.problem)
            else:
                yield from self._source.read(part)

    async def process(self, item: RawImage) -> Sequence[ImageRow]:
        """Fetch the picture if need be, and decode it, both in threads.

        Raises:
            FetchError: the bytes cannot be had.
            ImageError: they are no picture, or one that is refused.
            RowError: the source knows too much of the image.
        """
        assert self._source is not None and self._decoding is not None, "open() and read() first"
        if item.problem:
            raise FetchError(item.problem)
        if item.data is None:
            item = await asyncio.to_thread(self._source.fetch, item)
        async with self._decoding:
            return [await asyncio.to_thread(self._row, item)]

    def preview(self, item: RawImage, rows: Sequence[Row]) -> str:
        """See `Stage.preview`; without the bytes."""
        lines = [f"uri: {item.id}"]
        for row in rows:
            known = {k: v for k, v in asdict(row).items() if k not in ("uri", "bytes")}
            lines += [f"  {name}: {value}" for name, value in known.items()]
        return "\n".join(lines)

    def _row(self, item: RawImage) -> ImageRow:
        data, config = item.data, self.config
        assert data is not None
        if len(data) > config.max_bytes:
            raise ImageError(f"{len(data):,} bytes, the limit is {config.max_bytes:,}")
        info = inspect(data, config.max_pixels)
        short, long = sorted((info.width, info.height))
        if short < config.min_side:
            size = f"{info.width}×{info.height}"
            raise ImageError(f"{size} pixels, a side must have at least {config.min_side}")
        if long > config.max_aspect * short:
            size = f"{info.width}×{info.height}"
            raise ImageError(f"{size} pixels, sides may differ {config.max_aspect:g} times at most")
        return ImageRow(
            image_id=info.image_id,
            uri=item.id,
            bytes=data,
            width=info.width,
            height=info.height,
            format=info.format,
            phash=info.phash,
            source_caption=item.caption,
            source=to_json(item.source),
        )

    def _planned(self, dataset: Dataset) -> Plan:
        if self._plan is None:
            self._plan = load_plan(dataset.files)
        assert self._plan is not None, "prepare() comes first"
        return self._plan

    def _kind(self) -> str:
        if self.config.source_format != "auto":
            return self.config.source_format
        return detect(locate(self.config.images, self.root))

    def _open_source(self, kind: str) -> Source:
        location = locate(self.config.images, self.root)
        shown = self.config.image_root or self.config.images
        images = locate(shown, self.image_root)
        if kind == ParquetSource.kind:
            columns = self.config.image_column, self.config.caption_column
            return ParquetSource(location, images, self.config.max_bytes, *columns)
        return KINDS[kind](location, images, self.config.max_bytes)

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        """A source that cannot be listed is the user's to mend."""
        try:
            yield
        except OSError as error:
            raise SourceError(f"Cannot read {self.config.images}: {error}.") from None

    def _compare(self, plan: Plan) -> None:
        """Say so where the source is not what it was when the import was planned."""
        listing = Listing()
        for _ in listing.count(self._open_source(plan.kind).files()):
            pass
        if listing.digest() != plan.digest:
            print(
                f"images: {self.config.images} has {listing.files:,} files, and had {plan.files:,} "
                "when this import was planned. It goes on as planned; to import what is new, "
                "give another dataset.",
                file=sys.stderr,
            )
