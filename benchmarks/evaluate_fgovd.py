"""Our FG-OVD evaluation against the published evaluator, on the same weights and items.

Both read the same annotations and photos, start from the encoded files, and run one after the other
on the same number of threads; loading the models and importing is not counted. The weights are
random, of ViT-B/16's sizes, unless a model is given.

Example:
    python -m benchmarks.evaluate_fgovd --reference FG-CLIP --annotations F --images D

prints one line of JSON: `speedup` (CPU seconds of the published one by ours), `same_top1` (every
item right or wrong in both), `max_score_diff` (of the cosines, over all candidates), both times,
and the number of items. Without annotations, drawn scenes of the small world are the items.
"""

from __future__ import annotations

import gzip
import json
import resource
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import CLIPConfig, CLIPTokenizer
from transformers.convert_slow_tokenizer import bytes_to_unicode
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from datagen.command import command
from datagen.dataset import Table
from datagen.demo.truth_tables import write_truth_dataset
from datagen.evaluation.fgovd import read_fgovd
from datagen.evaluation.region_negatives import PUBLISHED, ScoredItem, score
from datagen.training.encoder import ModelEncoder
from datagen.training.model import FGCLIP
from datagen.training.weights import load_model, save_model

sys.path.insert(0, str(Path(__file__).parents[1]))  # it may be run as a file too
from benchmarks import published_fgovd

_MERGES = Path("fgclip") / "model" / "clip_strc" / "bpe_simple_vocab_16e6.txt.gz"
_USED = 48_895  # lines of the file, its heading among them


@dataclass(frozen=True, kw_only=True)
class Config:
    """Arguments of the benchmark."""

    reference: str
    """Checkout of the branch v1.0 of 360CVGroup/FG-CLIP."""
    annotations: str = ""
    images: str = ""
    model: str = ""
    """Folder of weights in FG-CLIP's format; random ones if not given."""
    scenes: int = 24
    """Drawn where there are no annotations."""
    seed: int = 0
    threads: int = 1


def main(config: Config) -> None:
    """Measure and print."""
    torch.set_num_threads(config.threads)
    reference = Path(config.reference)
    module, published_class = published_fgovd.load(reference)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        model = load_model(config.model) if config.model else _random_model(config.seed)
        save_model(model, root / "model")
        tokenizer = _tokenizer(reference)
        if config.annotations:
            annotations, images = Path(config.annotations).absolute(), Path(config.images)
        else:
            annotations, images = _drawn(root, config.scenes)
        encoder = ModelEncoder(model, tokenizer)
        before = resource.getrusage(resource.RUSAGE_SELF)
        found = score(encoder, read_fgovd(annotations, images), PUBLISHED)
        after = resource.getrusage(resource.RUSAGE_SELF)
        ours = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        settings = published_class.config_class.from_pretrained(root / "model")
        published_model = published_class(settings).eval()
        published_model.load_state_dict(model.state_dict())
        size = model.image_size
        processor = CLIPImageProcessorPil(
            size={"shortest_edge": size}, crop_size={"height": size, "width": size}
        )
        theirs = published_fgovd.run(
            module, published_model, processor, tokenizer, annotations, images, root
        )
        ordered = _in_order(found.items, annotations)
    result = {
        "speedup": round(theirs.cpu_s / ours, 2),
        "same_top1": all(
            (item.credit == 1) == right for item, right in zip(ordered, theirs.right, strict=True)
        ),
        "max_score_diff": max(
            float((torch.from_numpy(item.scores) - scores).abs().max())
            for item, scores in zip(ordered, theirs.scores, strict=True)
        ),
        "published_cpu_s": round(theirs.cpu_s, 1),
        "our_cpu_s": round(ours, 1),
        "items": len(ordered),
        "published_top1": sum(theirs.right) / len(theirs.right),
    }
    print(json.dumps(result))


def _in_order(items: list[ScoredItem], annotations: Path) -> list[ScoredItem]:
    """Ours come by picture; in the order of the lines they stand beside the published ones."""
    waiting: dict[str, list[ScoredItem]] = {}
    for found in items:
        waiting.setdefault(found.item.image_id, []).append(found)
    lines = annotations.read_text(encoding="utf-8").splitlines()
    paths = [json.loads(line)["img_path"] for line in lines if line.strip()]
    return [waiting[path].pop(0) for path in paths]


def _random_model(seed: int) -> FGCLIP:
    """ViT-B/16 with transformers' initialisation of CLIP."""
    torch.manual_seed(seed)
    return FGCLIP(CLIPConfig(vision_config={"patch_size": 16}, projection_dim=512))


def _tokenizer(reference: Path) -> Any:
    """CLIP's, from the merges that the published code carries."""
    lines = gzip.decompress((reference / _MERGES).read_bytes()).decode().split("\n")
    merges: Any = [tuple(line.split()) for line in lines[1:_USED]]
    letters = list(bytes_to_unicode().values())
    words = [*letters, *(letter + "</w>" for letter in letters), *map("".join, merges)]
    words += ["<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={word: i for i, word in enumerate(words)}, merges=merges)


def _drawn(root: Path, scenes: int) -> tuple[Path, Path]:
    """Scenes of the small world as FG-OVD's files: synthetic."""
    dataset = write_truth_dataset(str(root / "scenes"), "evaluation", scenes)
    images, lines = root / "images", []
    images.mkdir()
    for shard in dataset.shards(Table.IMAGES):
        sizes = {}
        for image in dataset.read_rows(Table.IMAGES, shard):
            (images / image.image_id).write_bytes(image.bytes)
            sizes[image.image_id] = (image.width, image.height)
        boxes = {row.region_id: row.bbox for row in dataset.read_rows(Table.REGIONS, shard)}
        for row in dataset.read_rows(Table.NEGATIVES, shard):
            width, height = sizes[row.image_id]
            x1, y1, x2, y2 = boxes[row.region_id]
            record = {
                "img_path": row.image_id,
                "bbox": [x1 * width, y1 * height, (x2 - x1) * width, (y2 - y1) * height],
                "pos_expression": [row.positive],
                "neg_expression": [negative.text for negative in row.negatives],
                "width": width,
                "height": height,
            }
            lines.append(json.dumps(record))
    annotations = root / "scenes.jsonl"
    annotations.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return annotations, images


if __name__ == "__main__":
    command(Config, main, __doc__)
