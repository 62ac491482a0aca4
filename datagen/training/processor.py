"""How transformers is told to prepare pictures as training does."""

from __future__ import annotations

import json
from pathlib import Path

from datagen.training.batch import MEAN, STD


def save_processor(folder: Path, side: int) -> None:
    """Write `preprocessor_config.json`, which transformers' `CLIPImageProcessor` reads.

    A picture is stretched to a square of `side` pixels, as in training; the crop that some code
    asks for takes all of it.
    """
    square = {"height": side, "width": side}
    settings = {
        "image_processor_type": "CLIPImageProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": square,
        "resample": 3,  # bicubic
        "do_center_crop": True,
        "crop_size": square,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": MEAN,
        "image_std": STD,
    }
    text = json.dumps(settings, indent=2) + "\n"
    (folder / "preprocessor_config.json").write_text(text, encoding="utf-8")
