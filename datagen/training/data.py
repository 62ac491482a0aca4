"""What a sample is, and how it is made ready for a batch."""

from __future__ import annotations

import logging
import random
from dataclasses import dataclass, replace

import numpy as np

from datagen.dataset.rows import Box
from datagen.images.decode import ImageError, decode
from datagen.images.fit import fitted

log = logging.getLogger(__name__)
Pixels = np.ndarray


@dataclass(frozen=True, slots=True)
class Region:
    """A box and what is said of it.

    `phrase` goes with the negatives, `text` (the phrase or the longer description, drawn anew each
    epoch) with the region loss, as in the paper.
    """

    box: Box
    phrase: str
    text: str
    negatives: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sample:
    """One image with its texts; `pixels` is (H, W, 3) uint8, a square of the model's size."""

    image_id: str
    pixels: Pixels
    long: str
    short: str
    regions: tuple[Region, ...] = ()


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """What is read and in which order."""

    max_regions: int = 8
    """Regions of an image in one epoch; which ones is drawn anew each epoch."""
    max_negatives: int = 10
    """Negatives of a region in one epoch, drawn anew each epoch as well."""
    short_prefix: str = ""
    """Put before short captions; the paper has "a photo of "."""
    keep_in_memory: bool = False
    """Keep decoded images: for small datasets and many epochs, where `processes` is 0."""
    shuffle_buffer: int = 4096
    """Encoded images among which the next is drawn, over all lanes. Smaller data is kept whole."""
    lanes: int = 0
    """Places at which the shuffled data is read side by side; a divisor of the batch, and a
    multiple of the number of processes. 0: the largest divisor of the batch up to 16."""
    processes: int = 0
    """Processes that decode images and tokenize texts; 0: the training process itself."""


def choose(sample: Sample, config: DataConfig, seed: int, epoch: int) -> Sample:
    """The sample of one epoch: some of its regions and negatives where there are too many.

    The choice depends on the seed, the epoch and the image alone.
    """
    chance = random.Random(f"{seed}/{epoch}/{sample.image_id}")
    chosen = tuple(
        replace(
            region,
            text=chance.choice((region.phrase, region.text)),
            negatives=_some(region.negatives, config.max_negatives, chance),
        )
        for region in _some(sample.regions, config.max_regions, chance)
    )
    return replace(sample, short=config.short_prefix + sample.short, regions=chosen)


def decoded(image_id: str, data: bytes, size: int) -> Pixels | None:
    """The picture as (size, size, 3) uint8, its aspect not kept, as in FG-CLIP.

    None, and a line in the log, where it is corrupt.
    """
    try:
        return np.asarray(fitted(decode(data, side=size), size))
    except ImageError as error:
        log.warning("Image %s is skipped: %s.", image_id, error)
        return None


def _some(items: tuple, most: int, chance: random.Random) -> tuple:
    return items if len(items) <= most else tuple(chance.sample(items, most))
