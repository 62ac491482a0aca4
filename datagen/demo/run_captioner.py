"""Caption scenes with the tiny captioner in transformers."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import torch
from PIL import Image
from transformers import Idefics3ForConditionalGeneration, Idefics3Processor

from datagen.demo.captioner_training import chat, read_prompt
from datagen.demo.draw import encode_jpeg
from datagen.demo.world import Scene

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
