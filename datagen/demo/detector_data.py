"""Training batches of the tiny detector: pictures, questions about them, and what is true."""

from __future__ import annotations

import io
import logging
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import GroundingDinoProcessor, PreTrainedTokenizerBase

from datagen.demo.detection_texts import (
    VALUES,
    Question,
    training_questions,
    unnamed_questions,
)
from datagen.demo.detector_loss import Targets
from datagen.demo.detector_model import SIZE
from datagen.demo.draw import encode_jpeg
from datagen.demo.held_out import training_scene
from datagen.demo.unnamed import draw_unnamed
from datagen.demo.world import Scene

log = logging.getLogger(__name__)

MOST_OBJECTS = 6
UNNAMED_SHARE = 0.2  # of the pictures, whose colours and finishes have no names
UNTOLD = -100  # their ids
CLS, SEP, DOT = 101, 102, 1012  # their ids in BERT's vocabulary


@dataclass(frozen=True)
class Batch:
    """``pixels`` (B, 3, H, W), ``ids`` (B, T), the truth, attribute ids (B, O, 4) or
    ``UNTOLD``."""

    pixels: Tensor
    ids: Tensor
    targets: Targets
    attributes: Tensor


def load_pictures(cache: Path, count: int) -> tuple[np.ndarray, list[Scene]]:
    """Pictures (count, 128, 128, 3) uint8 of the training scenes, rendered once, and the truth."""
    scenes = [training_scene(index) for index in range(count)]
    path = cache / f"painted-anew-{count}-{SIZE}.npy"
    if not path.exists():
        log.info("drawing %d scenes into %s", count, path)
        cache.mkdir(parents=True, exist_ok=True)
        pictures = np.stack([picture_of(scene) for scene in scenes])
        partial = path.with_suffix(".partial.npy")
        np.save(partial, pictures)
        partial.rename(path)
    return np.load(path, mmap_mode="r"), scenes


def picture_of(scene: Scene) -> np.ndarray:
    """The scene as the stages see it, from its JPEG: (128, 128, 3) uint8."""
    return np.asarray(Image.open(io.BytesIO(encode_jpeg(scene, SIZE))).convert("RGB"))


def pixels_of(pictures: np.ndarray, processor: GroundingDinoProcessor) -> Tensor:
    """uint8 pictures (B, H, W, 3) as the image processor gives them: (B, 3, H, W) float."""
    images = processor.image_processor
    scaled = torch.from_numpy(pictures.astype(np.float32) / 255)
    normal = (scaled - torch.tensor(images.image_mean)) / torch.tensor(images.image_std)
    return normal.permute(0, 3, 1, 2).contiguous()


@lru_cache(maxsize=4)
def _word_ids(tokenizer: PreTrainedTokenizerBase) -> dict[str, int]:
    """The ids of whole words: the tokenizer itself takes a tenth of a training step."""
    return dict(tokenizer.get_vocab())


def encode_questions(
    tokenizer: PreTrainedTokenizerBase, questions: Sequence[Question]
) -> tuple[list[int], list[tuple[int, int]]]:
    """Token ids of "a mug . a red car ." and the token span (start, end) of every phrase."""
    words = _word_ids(tokenizer)
    ids, spans = [CLS], []
    for question in questions:
        tokens = [words[word] for word in question.phrase.split()]
        spans.append((len(ids), len(ids) + len(tokens)))
        ids += [*tokens, DOT]
    return [*ids, SEP], spans


class Batches:
    """Endless shuffled batches of ``size`` scenes."""

    def __init__(
        self,
        pictures: np.ndarray,
        scenes: list[Scene],
        processor: GroundingDinoProcessor,
        size: int,
        seed: int,
    ) -> None:
        self.pictures, self.scenes, self.processor, self.size = pictures, scenes, processor, size
        self.rng, self.blotches = random.Random(seed), np.random.default_rng(seed)
        self.order = self._orders()

    def _orders(self) -> Iterator[int]:
        while True:
            order = list(range(len(self.scenes)))
            self.rng.shuffle(order)
            yield from order

    def next(self) -> Batch:
        """The next batch, with fresh questions about every scene; half of it is mirrored."""
        indices = [next(self.order) for _ in range(self.size)]
        scenes = [self.scenes[i] for i in indices]
        unnamed = [self.rng.random() < UNNAMED_SHARE for _ in indices]
        pictures = np.stack(
            [
                draw_unnamed(scene, self.blotches) if without else self.pictures[i]
                for i, scene, without in zip(indices, scenes, unnamed, strict=True)
            ]
        )
        mirrored = np.array([self.rng.random() < 0.5 for _ in indices])
        pictures[mirrored] = pictures[mirrored, :, ::-1]
        asked = [
            unnamed_questions(scene, self.rng) if without else training_questions(scene, self.rng)
            for scene, without in zip(scenes, unnamed, strict=True)
        ]
        encoded = [encode_questions(self.processor.tokenizer, questions) for questions in asked]
        count, length = len(scenes), max(len(ids) for ids, _ in encoded)
        ids = torch.zeros(count, length, dtype=torch.long)
        boxes, valid = torch.zeros(count, MOST_OBJECTS, 4), torch.zeros(count, MOST_OBJECTS).bool()
        tokens = torch.zeros(count, MOST_OBJECTS, length)
        attributes = torch.zeros(count, MOST_OBJECTS, 4, dtype=torch.long)
        for b, (scene, questions, (own, spans)) in enumerate(
            zip(scenes, asked, encoded, strict=True)
        ):
            ids[b, : len(own)] = torch.tensor(own)
            for o, what in enumerate(scene.objects):
                x1, y1, x2, y2 = what.bbox
                boxes[b, o] = torch.tensor((1 - x2, y1, 1 - x1, y2) if mirrored[b] else what.bbox)
                valid[b, o] = True
                attributes[b, o] = torch.tensor(
                    [group.index(v) for group, v in zip(VALUES, what.attributes, strict=True)]
                )
            if unnamed[b]:
                attributes[b, :, 1:3] = UNTOLD
            for question, (start, end) in zip(questions, spans, strict=True):
                for o in question.objects:
                    tokens[b, o, start:end] = 1
        targets = Targets(boxes, valid, tokens, ids != 0)
        return Batch(pixels_of(pictures, self.processor), ids, targets, attributes)
