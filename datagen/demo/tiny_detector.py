"""Train the small world's detector: ``python -m datagen.demo.tiny_detector --output FOLDER``.

First the backbone alone learns to name kind, colour, finish and size of the object under each
cell (cheap steps, labels that the world gives away), then the whole detector learns to find the
phrases of a text. The heads of the first part stay out of the saved model.
"""

from __future__ import annotations

import ctypes
import io
import json
import logging
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
import tyro
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import MMGroundingDinoForObjectDetection, PreTrainedTokenizerBase

from datagen.demo.detection_texts import (
    VALUES,
    Question,
    exam_questions,
    near_miss,
    objects_of,
    phrase,
    training_questions,
)
from datagen.demo.detector_loss import (
    Targets,
    boxes_to_objects,
    cells_to_objects,
    corners,
    stage_loss,
)
from datagen.demo.detector_model import SIZE, make_model, make_processor
from datagen.demo.draw import encode_jpeg
from datagen.demo.score_boxes import BoxScore, LabelledBox, score_boxes
from datagen.demo.world import Scene, make_scene

log = logging.getLogger(__name__)

MOST_OBJECTS = 6
CLASS_WEIGHT = 1.0
BOX_WEIGHT = 1.0


@dataclass(frozen=True)
class Settings:
    """How long to train and where to write."""

    output: Path
    """Folder for the weights, the configuration, the processor and the card."""
    cache: Path = Path("runs/cache/tiny-detector")
    """Folder for the rendered pictures."""
    scenes: int = 24_000
    backbone_steps: int = 1000
    steps: int = 2600
    batch: int = 16
    learning_rate: float = 1e-3
    seed: int = 0
    threads: int = 1
    test_scenes: int = 500
    save_every: int = 400


@dataclass(frozen=True)
class Batch:
    """``pixels`` (B, 3, H, W), ``ids`` and ``text`` (B, T), the truth, attribute ids (B, O, 4)."""

    pixels: Tensor
    ids: Tensor
    targets: Targets
    attributes: Tensor


def keep_memory() -> None:
    """Ask glibc to keep freed memory: returning it after each step costs a third of the time."""
    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD
        libc.mallopt(-3, 2**25)  # M_MMAP_THRESHOLD, its largest value
    except (OSError, AttributeError):
        log.info("no glibc here: training works, a little slower")


def load_pictures(cache: Path, count: int) -> tuple[np.ndarray, list[Scene]]:
    """Pictures (count, 128, 128, 3) uint8 of the training split, rendered once, and the truth."""
    scenes = [make_scene("tiny-train", index) for index in range(count)]
    path = cache / f"tiny-train-{count}-{SIZE}.npy"
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


def normalise(pictures: np.ndarray, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """uint8 pictures (B, H, W, 3) as the image processor gives them: (B, 3, H, W) float."""
    pixels = torch.from_numpy(pictures.astype(np.float32) / 255)
    return ((pixels - torch.tensor(mean)) / torch.tensor(std)).permute(0, 3, 1, 2).contiguous()


@lru_cache(maxsize=4)
def word_ids(tokenizer: PreTrainedTokenizerBase) -> dict[str, int]:
    """The ids of whole words: the tokenizer itself takes a tenth of a training step."""
    return dict(tokenizer.get_vocab())


def encode_questions(
    tokenizer: PreTrainedTokenizerBase, questions: Sequence[Question]
) -> tuple[list[int], list[tuple[int, int]]]:
    """Token ids of "a mug . a red car ." and the token span (start, end) of every phrase."""
    words = word_ids(tokenizer)
    ids, spans = [101], []
    for question in questions:
        tokens = [words[word] for word in question.phrase.split()]
        spans.append((len(ids), len(ids) + len(tokens)))
        ids += [*tokens, 1012]
    return [*ids, 102], spans


class Batches:
    """Endless shuffled batches; ``with_text=False`` for the backbone's part."""

    def __init__(
        self, pictures: np.ndarray, scenes: list[Scene], processor: object, settings: Settings
    ) -> None:
        self.pictures, self.scenes, self.settings = pictures, scenes, settings
        self.tokenizer: PreTrainedTokenizerBase = processor.tokenizer  # type: ignore[attr-defined]
        images = processor.image_processor  # type: ignore[attr-defined]
        self.mean, self.std = images.image_mean, images.image_std
        self.rng = random.Random(settings.seed)
        self.order = self._orders()

    def _orders(self) -> Iterator[int]:
        while True:
            order = list(range(len(self.scenes)))
            self.rng.shuffle(order)
            yield from order

    def next(self) -> Batch:
        """The next batch, with fresh questions about every scene; half of it is mirrored."""
        indices = [next(self.order) for _ in range(self.settings.batch)]
        pictures = np.stack([self.pictures[i] for i in indices])
        mirrored = np.array([self.rng.random() < 0.5 for _ in indices])
        pictures[mirrored] = pictures[mirrored, :, ::-1]
        scenes = [self.scenes[i] for i in indices]
        asked = [training_questions(scene, self.rng) for scene in scenes]
        encoded = [encode_questions(self.tokenizer, questions) for questions in asked]
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
            for question, (start, end) in zip(questions, spans, strict=True):
                for o in question.objects:
                    tokens[b, o, start:end] = 1
        targets = Targets(boxes, valid, tokens, ids != 0)
        return Batch(normalise(pictures, self.mean, self.std), ids, targets, attributes)


def cell_centres(height: int, width: int) -> Tensor:
    """Centres (height * width, 2) of the cells of a feature map, as x, y in 0..1."""
    y, x = torch.meshgrid(
        (torch.arange(height) + 0.5) / height, (torch.arange(width) + 0.5) / width, indexing="ij"
    )
    return torch.stack((x, y), -1).flatten(0, 1)


class AttributeHeads(nn.Module):
    """Linear heads that name the size, colour, finish and kind of the object under a cell."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.heads = nn.ModuleList(nn.Linear(channels, len(group) + 1) for group in VALUES)

    def forward(self, features: Tensor, owner: Tensor, attributes: Tensor) -> Tensor:
        """Mean cross entropy; ``features`` (B, S, C), ``owner`` (B, S) with -1 for background."""
        index = owner.clamp(min=0)[..., None].expand(-1, -1, 4)
        labels = (attributes.gather(1, index) + 1).masked_fill(owner[..., None] < 0, 0)
        # Cells of the background outnumber those of objects fifteen to one.
        losses = []
        for position, head in enumerate(self.heads):
            logits = head(features)
            weight = torch.ones(logits.shape[-1])
            weight[0] = 0.2
            losses.append(
                cross_entropy(logits.flatten(0, 1), labels[..., position].flatten(), weight)
            )
        return torch.stack(losses).sum()


def backbone_features(model: MMGroundingDinoForObjectDetection, pixels: Tensor) -> Tensor:
    """The feature map (B, C, H, W) that enters the encoder."""
    mask = torch.ones(pixels.shape[0], *pixels.shape[-2:], dtype=torch.long)
    maps, _ = model.model.backbone(pixels, mask)
    return model.model.input_proj_vision[0](maps[0][0])


def backbone_loss(
    model: MMGroundingDinoForObjectDetection, heads: AttributeHeads, batch: Batch
) -> dict[str, Tensor]:
    """Loss of the first part: attributes of the cell's object, and its box."""
    with torch.autocast("cpu", torch.bfloat16):
        features = backbone_features(model, batch.pixels)
    height, width = features.shape[-2:]
    flat = features.float().flatten(2).transpose(1, 2)
    owner = cells_to_objects(cell_centres(height, width), batch.targets)
    return {"attributes": heads(flat, owner, batch.attributes)}


def detector_loss(
    model: MMGroundingDinoForObjectDetection, heads: AttributeHeads, batch: Batch
) -> dict[str, Tensor]:
    """Losses of the attributes, of the proposals and of every decoder layer, by name."""
    targets = batch.targets
    features: list[Tensor] = []
    hook = model.model.input_proj_vision[0].register_forward_hook(
        lambda _module, _inputs, output: features.append(output)
    )
    with torch.autocast("cpu", torch.bfloat16):
        out = model(
            pixel_values=batch.pixels, input_ids=batch.ids, attention_mask=targets.text.long()
        )
    hook.remove()
    length = batch.ids.shape[1]
    losses: dict[str, Tensor] = {}
    boxes = corners(out.enc_outputs_coord_logits.float().sigmoid())
    side = int(boxes.shape[1] ** 0.5)
    owner = cells_to_objects(cell_centres(side, side), targets)
    logits = out.enc_outputs_class[..., :length].float().clamp(min=-50)
    flat = features[0].float().flatten(2).transpose(1, 2)
    losses["attributes"] = 0.3 * heads(flat, owner, batch.attributes)
    losses["class_0"], losses["box_0"] = stage_loss(logits, boxes, owner, None, targets)
    reference = out.init_reference_points
    for layer in range(model.config.decoder_layers):
        hidden = out.intermediate_hidden_states[:, layer]
        # In float32: a box's last refinement is smaller than bfloat16's steps.
        logits = model.class_embed[layer](
            hidden.float(), out.encoder_last_hidden_state_text.float(), targets.text
        )[..., :length].clamp(min=-50)
        delta = model.bbox_embed[layer](hidden.float())
        boxes = corners((delta + torch.special.logit(reference.float(), eps=1e-5)).sigmoid())
        owner, doubt = boxes_to_objects(boxes.detach(), targets)
        name = str(layer + 1)
        losses[f"class_{name}"], losses[f"box_{name}"] = stage_loss(
            logits, boxes, owner, doubt, targets
        )
        reference = out.intermediate_reference_points[:, layer]
    return losses


@dataclass(frozen=True)
class Exam:
    """Scores on fresh scenes; ``rejected`` is the share of one-attribute near misses without a
    box, by attribute."""

    threshold: float
    boxes: BoxScore
    rejected: dict[str, float]


@torch.inference_mode()
def examine(
    model: MMGroundingDinoForObjectDetection,
    batches: Batches,
    count: int,
    threshold: float = 0.4,
) -> Exam:
    """Ask for the phrases of each of ``count`` test scenes and as many absent ones.

    Phrases of the small world name at most one object, so the best box of a phrase is its box,
    and there is none when its score (mean over the phrase's tokens) is below ``threshold``.
    """
    model.eval()
    rng = random.Random(0)
    truth: list[list[LabelledBox]] = []
    found: list[list[LabelledBox]] = []
    misses: dict[str, list[bool]] = {name: [] for name in ("size", "colour", "finish", "kind")}
    for index in range(count):
        scene = make_scene("tiny-test", index)
        questions = exam_questions(scene)
        truth.append(
            [LabelledBox(q.phrase, scene.objects[i].bbox) for q in questions for i in q.objects]
        )
        extra = []
        for position, name in enumerate(misses):
            wrong = near_miss(rng.choice(scene.objects), position, rng)
            if not objects_of(scene, wrong):
                extra.append((name, Question(phrase(wrong), ())))
        pixels = normalise(picture_of(scene)[None], batches.mean, batches.std)
        scored = best_boxes(model, batches.tokenizer, pixels, questions)
        found.append([box for box in scored if box.score >= threshold])
        again = best_boxes(model, batches.tokenizer, pixels, [q for _, q in extra])
        for (name, _), box in zip(extra, again, strict=True):
            misses[name].append(box.score < threshold)
    model.train()
    rejected = {name: sum(kept) / max(1, len(kept)) for name, kept in misses.items()}
    return Exam(threshold, score_boxes(truth, found), rejected)


def best_boxes(
    model: MMGroundingDinoForObjectDetection,
    tokenizer: PreTrainedTokenizerBase,
    pixels: Tensor,
    questions: Sequence[Question],
) -> list[LabelledBox]:
    """The best box of each question for one picture (1, 3, H, W), whatever its score."""
    if not questions:
        return []
    ids, spans = encode_questions(tokenizer, questions)
    out = model(pixel_values=pixels, input_ids=torch.tensor([ids]))
    chances, boxes = out.logits[0].sigmoid(), corners(out.pred_boxes[0]).clamp(0, 1)
    found = []
    for question, (start, end) in zip(questions, spans, strict=True):
        score, best = chances[:, start:end].mean(-1).max(0)
        x1, y1, x2, y2 = boxes[int(best)].tolist()
        found.append(LabelledBox(question.phrase, (x1, y1, x2, y2), float(score)))
    return found


def run_steps(
    name: str,
    steps: int,
    parameters: list[nn.Parameter],
    learning_rate: float,
    losses_of: object,
    after: object = None,
) -> None:
    """AdamW with a warm-up and one cosine; logs the mean of every loss each 100 steps."""
    optimizer = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=0.02, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, learning_rate, total_steps=steps, pct_start=min(0.1, 200 / steps),
        cycle_momentum=False, div_factor=20, final_div_factor=100,
    )  # fmt: skip
    sums: dict[str, float] = {}
    start = time.monotonic()
    for step in range(1, steps + 1):
        losses = losses_of()  # type: ignore[operator]
        total = torch.stack(list(losses.values())).sum()
        optimizer.zero_grad(set_to_none=True)
        total.backward()
        nn.utils.clip_grad_norm_(parameters, 5.0)
        optimizer.step()
        schedule.step()
        for key, value in losses.items():
            sums[key] = sums.get(key, 0.0) + float(value.detach())
        if step % 100 == 0 or step == steps:
            rate = (time.monotonic() - start) / step
            done = step % 100 or 100
            means = "  ".join(f"{key} {value / done:.3f}" for key, value in sums.items())
            log.info("%s %d/%d  %.2f s/step  %s", name, step, steps, rate, means)
            sums = {}
        if after is not None:
            after(step)  # type: ignore[operator]


CARD = """---
license: apache-2.0
library_name: transformers
pipeline_tag: zero-shot-object-detection
---
# The small world's detector

An MM Grounding DINO (`MMGroundingDinoForObjectDetection` of transformers) with {parameters:.1f}
million parameters, trained from random weights on **synthetic** pictures: the scenes of
`datagen/demo/world.py` at {size} pixels. It knows {kinds} kinds of drawn things and nothing of
photos; its use is to run and to test the real code without a GPU or a download.

## Training
`python -m datagen.demo.tiny_detector --output {output}`:
{scenes:,} scenes of the split
"tiny-train", {backbone_steps} steps of the backbone alone (attributes of the object under a cell),
then {steps} steps of the whole detector, batches of {batch}, AdamW, one cosine from
{learning_rate:g}, on one CPU core. Each text holds the phrases that are true and about as many that
are not, mostly with one attribute swapped.

## Scores
On {test_scenes} scenes of "tiny-test", never trained on, asked for the phrases of all objects and
for as many absent ones (threshold {threshold:g}, IoU 0.5):

| recall | precision | mean IoU |
|---|---|---|
| {boxes.recall:.3f} | {boxes.precision:.3f} | {boxes.mean_iou:.3f} |

Phrases with one attribute swapped that get no box, asked without the true one:

| size | colour | finish | kind |
|---|---|---|---|
| {rejected[size]:.3f} | {rejected[colour]:.3f} | {rejected[finish]:.3f} | {rejected[kind]:.3f} |
"""


def write_card(settings: Settings, exam: Exam, parameters: int) -> None:
    """Write README.md, the model card, and scores.json beside the weights."""
    card = CARD.format(
        **{**asdict(settings), "output": "datagen/demo/models/detector"},
        parameters=parameters / 1e6,
        size=SIZE,
        kinds=len(VALUES[3]),
        boxes=exam.boxes,
        rejected=exam.rejected,
        threshold=exam.threshold,
    )
    (settings.output / "README.md").write_text(card, encoding="utf-8")
    scores = json.dumps(asdict(exam), indent=1)
    (settings.output / "scores.json").write_text(scores + "\n", encoding="utf-8")


def main(settings: Settings) -> None:
    """Train, test and save the detector."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(settings.threads)
    torch.manual_seed(settings.seed)
    keep_memory()
    start = time.monotonic()
    processor = make_processor(settings.output)
    model = make_model(len(processor.tokenizer)).train()
    log.info("%.2f million parameters", sum(p.numel() for p in model.parameters()) / 1e6)
    pictures, scenes = load_pictures(settings.cache, settings.scenes)
    batches = Batches(pictures, scenes, processor, settings)

    heads = AttributeHeads(model.config.d_model)
    vision = [*model.model.backbone.parameters(), *model.model.input_proj_vision.parameters()]
    run_steps(
        "backbone", settings.backbone_steps, [*vision, *heads.parameters()],
        2 * settings.learning_rate, lambda: backbone_loss(model, heads, batches.next()),
    )  # fmt: skip

    def save(step: int) -> None:
        if step % settings.save_every == 0 or step == settings.steps:
            exam = examine(model, batches, 100 if step < settings.steps else settings.test_scenes)
            log.info("step %d: %s", step, exam)
            model.save_pretrained(settings.output)
            write_card(settings, exam, model.num_parameters())

    run_steps(
        "detector", settings.steps, [*model.parameters(), *heads.parameters()],
        settings.learning_rate, lambda: detector_loss(model, heads, batches.next()), save,
    )  # fmt: skip
    log.info("done in %.0f minutes", (time.monotonic() - start) / 60)


if __name__ == "__main__":
    main(tyro.cli(Settings))
