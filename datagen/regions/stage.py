"""The regions stage: phrases of the long caption, a detector's boxes for them, matched.

Beside the regions it writes the grounding of each caption: which of its phrases have a box.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Annotated, Any, ClassVar

from PIL import Image
from tyro.conf import Suppress

from datagen.batcher import Batcher
from datagen.dataset import Dataset, DatasetError, RegionRow, Table
from datagen.dataset.lineage import Lineage
from datagen.dataset.rows import Box, GroundingRow
from datagen.engines.chat import ChatEngine, Usage
from datagen.engines.open import check_engine, open_engine
from datagen.images.decode import decode
from datagen.language import DEFAULT_MODEL, load_spacy
from datagen.regions.backends import ORIGINAL, check_detector, open_detector
from datagen.regions.boxes import Detection, MatchedBox, area, match_phrases
from datagen.regions.descriptions import Describer, DescriptionsConfig, describing_prompt
from datagen.regions.grounding import ground
from datagen.regions.groundingdino import GroundingDinoSettings
from datagen.regions.phrases import MAX_PHRASES, Phrase, PhraseChunker
from datagen.stage import Item, Stage


@dataclass(frozen=True, kw_only=True)
class RegionsConfig:
    """Which detector and which thresholds."""

    detector: str
    """Grounding DINO in transformers' format (a name on a model hub, or a folder), or what the
    backend takes instead: a checkpoint of the original package, the URL of a server, …"""
    backend: str = "transformers"
    """"transformers", "groundingdino", or "package.module:Class" of a detector of yours."""
    revision: str | None = None
    groundingdino: Annotated[GroundingDinoSettings, Suppress] = field(
        default_factory=GroundingDinoSettings
    )
    """Of the backend "groundingdino"; in recipes only."""
    spacy_model: str = DEFAULT_MODEL
    """Name of an installed spaCy package, or a folder."""
    threshold: float = 0.4
    """Lowest score, 0..1, of a box that is kept; FG-CLIP's data used 0.4."""
    nms_iou: float = 0.5
    """Of two boxes that overlap more than this, 0..1, the lower score goes."""
    drop_ungrounded: float = 0.0
    """`grounding.long` lacks the sentences of which a smaller share of phrases, 0..1, has a box:
    with 0.5 those of which most have none, with 0 it lacks nothing."""
    max_phrases: int = MAX_PHRASES
    """Phrases of a caption that are looked for."""
    device: str | None = None
    """"cpu", "cuda", …; by itself a GPU where there is one."""
    batch: int = 8
    """Images that the detector takes at once."""
    batch_wait_s: float = 0.02
    """How long the first image of a batch waits for others, in seconds."""

    def lineage(self) -> dict[str, Any]:
        """What changes the rows."""
        left_out = {"device", "batch", "batch_wait_s", "groundingdino"}
        own = {name: value for name, value in asdict(self).items() if name not in left_out}
        if self.backend == ORIGINAL:
            own["groundingdino"] = self.groundingdino.lineage()
        return own


@dataclass(frozen=True, slots=True)
class CaptionedImage(Item):
    """An encoded image and its long caption; `id` is the image's."""

    data: bytes
    caption: str


class RegionsStage(Stage[CaptionedImage]):
    """One item is a captioned image; it yields one region for each box that a phrase names, and
    the grounding of its caption.

    Args:
        config: detector and thresholds.
        describe: a captioner for regions; without it a region's description is the sentence of
            the caption that its phrase stands in.
    """

    name: ClassVar[str] = "regions"
    source: ClassVar[Table] = Table.CAPTIONS
    output: ClassVar[Table] = Table.REGIONS
    beside: ClassVar[tuple[Table, ...]] = (Table.GROUNDING,)
    key: ClassVar[str] = "image_id"

    _phrases: Batcher[str, list[Phrase]]
    _detections: Batcher[tuple[Image.Image, list[str]], list[Detection]]

    def __init__(self, config: RegionsConfig, describe: DescriptionsConfig | None = None) -> None:
        self.config, self.describe = config, describe
        self._engine: ChatEngine | None = None
        self._describer: Describer | None = None

    @property
    def lineage(self) -> Lineage:
        """See `Stage.lineage`."""
        settings = self.config.lineage()
        if self.describe is not None:
            settings["describe"] = self.describe.lineage()
        return Lineage(stage=self.name, settings=settings)

    def check(self) -> None:
        """See `Stage.check`."""
        load_spacy(self.config.spacy_model)
        config = self.config
        check_detector(config.backend, config.detector, config.revision, config.groundingdino)
        if self.describe is not None:
            describing_prompt(self.describe)
            check_engine(self.describe.engine)

    async def open(self) -> None:
        """See `Stage.open`."""
        config = self.config
        chunker = PhraseChunker(config.spacy_model, max_phrases=config.max_phrases)
        detector = await asyncio.to_thread(
            open_detector,
            config.backend,
            config.detector,
            config.revision,
            config.device,
            config.groundingdino,
        )
        if self.describe is not None:
            self._engine = open_engine(self.describe.engine)
            self._describer = Describer(self.describe, self._engine)

        def detect(pairs: Sequence[tuple[Image.Image, list[str]]]) -> list[list[Detection]]:
            return detector.detect([image for image, _ in pairs], [names for _, names in pairs])

        self._phrases = Batcher(chunker.chunk, max_batch=32)
        self._detections = Batcher(detect, config.batch, config.batch_wait_s)

    def read(self, dataset: Dataset, shard: int) -> Iterator[CaptionedImage]:
        """Captions of the shard, each with its image's bytes: a merge of two aligned streams."""
        images = _encoded_images(dataset, shard)
        for batch in dataset.read(Table.CAPTIONS, shard, columns=["image_id", "long"]):
            for row in batch.to_pylist():
                data = next((data for id_, data in images if id_ == row["image_id"]), None)
                if data is None:
                    raise DatasetError(
                        f"Shard {shard} of {dataset.root}: the caption of image {row['image_id']} "
                        "has no image at its place. The captions were made from other images: "
                        "remove the captions table and make it again."
                    )
                yield CaptionedImage(id=row["image_id"], data=data, caption=row["long"])

    async def process(self, item: CaptionedImage) -> list[RegionRow | GroundingRow]:
        """The regions of one image, none where its caption names nothing that is seen, and how
        far they support the caption.

        Raises:
            ImageError: the bytes are no picture.
            RequestError: the captioner of regions refused a crop.
        """
        phrases = await self._phrases.submit(item.caption)
        texts = [phrase.text for phrase in phrases]
        detections: list[Detection] = []
        image: Image.Image | None = None
        if phrases:
            image = await asyncio.to_thread(decode, item.data)
            detections = await self._detections.submit((image, texts))
        boxes = match_phrases(
            detections, texts, threshold=self.config.threshold, nms_iou=self.config.nms_iou
        )
        grounding = ground(
            item.id,
            item.caption,
            phrases,
            detections,
            threshold=self.config.threshold,
            drop_below=self.config.drop_ungrounded,
        )
        rows = [_row(phrases[box.phrase_index], box, grounding) for box in boxes]
        if self._describer is not None and image is not None:
            found = await asyncio.gather(
                *(
                    self._describer.describe(
                        image, box.bbox, phrases[box.phrase_index], phrases, row.region_id
                    )
                    for box, row in zip(boxes, rows, strict=True)
                )
            )
            rows = [
                replace(row, description=said.text, description_from=said.source)
                for row, said in zip(rows, found, strict=True)
            ]
        return [*rows, grounding]

    def usage(self) -> Usage:
        """See `Stage.usage`: that of the captioner, if there is one."""
        return self._engine.usage if self._engine is not None else Usage()

    async def close(self) -> None:
        """See `Stage.close`."""
        await self._phrases.close()
        await self._detections.close()
        if self._engine is not None:
            await self._engine.close()


def region_id(image_id: str, span: tuple[int, int], bbox: Box) -> str:
    """First 128 bits, in hex, of the SHA-256 of image, span and box rounded to 4 digits."""
    box = ",".join(f"{side:.4f}" for side in bbox)
    return hashlib.sha256(f"{image_id}:{span[0]}-{span[1]}:{box}".encode()).hexdigest()[:32]


def _row(phrase: Phrase, box: MatchedBox, grounding: GroundingRow) -> RegionRow:
    return RegionRow(
        region_id=region_id(grounding.image_id, (phrase.span_start, phrase.span_end), box.bbox),
        image_id=grounding.image_id,
        phrase=phrase.text,
        span_start=phrase.span_start,
        span_end=phrase.span_end,
        bbox=box.bbox,
        score=box.score,
        margin=box.margin,
        description=phrase.sentence,
        description_from="sentence",
        area=area(box.bbox),
        grounded=grounding.grounded,
    )


def _encoded_images(dataset: Dataset, shard: int) -> Iterator[tuple[str, bytes]]:
    for batch in dataset.read(Table.IMAGES, shard, columns=["image_id", "bytes"]):
        yield from zip(
            batch.column("image_id").to_pylist(), batch.column("bytes").to_pylist(), strict=True
        )
