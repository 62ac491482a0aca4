"""Caption scenes with the tiny captioner in transformers, and score it:
``python -m datagen.demo.run_captioner --model FOLDER``.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from io import BytesIO
from pathlib import Path

import torch
from PIL import Image
from transformers import Idefics3ForConditionalGeneration, Idefics3Processor

from datagen.demo.captioner_training import chat, read_prompt
from datagen.demo.draw import encode_jpeg
from datagen.demo.score import score_captions
from datagen.demo.world import Scene, make_scene

PROMPTS = Path(__file__).parents[2] / "prompts" / "demo"


def caption_pictures(
    model: Path, scenes: Sequence[Scene], kind: str = "long", batch_size: int = 50
) -> list[str]:
    """Greedy captions of the scenes' JPEG pictures; ``kind`` is "long" or "short"."""
    processor = Idefics3Processor.from_pretrained(model)
    network = Idefics3ForConditionalGeneration.from_pretrained(model, dtype=torch.float32).eval()
    text = processor.apply_chat_template(
        chat(read_prompt(PROMPTS / f"caption_{kind}.md")), add_generation_prompt=True
    )
    captions: list[str] = []
    for start in range(0, len(scenes), batch_size):
        group = scenes[start : start + batch_size]
        pictures = [[Image.open(BytesIO(encode_jpeg(scene)))] for scene in group]
        inputs = processor(images=pictures, text=[text] * len(group), return_tensors="pt")
        with torch.inference_mode():
            ids = network.generate(**inputs, max_new_tokens=96, do_sample=False)
        captions += processor.batch_decode(
            ids[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True
        )
    return captions


def main() -> None:
    """Score a folder on fresh scenes of "tiny-test"."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=Path(__file__).parent / "models/captioner")
    parser.add_argument("--scenes", type=int, default=500)
    args = parser.parse_args()
    torch.set_num_threads(1)
    scenes = [make_scene("tiny-test", index) for index in range(args.scenes)]
    for kind in ("long", "short"):
        score = score_captions(scenes, caption_pictures(args.model, scenes, kind))
        print(kind, asdict(score), flush=True)


if __name__ == "__main__":
    main()
