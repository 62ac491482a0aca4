"""The vision tower alone, as LLaVA-style models take it: a `CLIPVisionModel` of transformers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from safetensors.torch import save_file

from datagen.errors import UserError
from datagen.training.batch import MEAN, STD
from datagen.training.model import FGCLIP

_PREFIX = "vision_model."


def save_vision_tower(model: FGCLIP, folder: str | Path) -> None:
    """Write `config.json`, `model.safetensors` and `preprocessor_config.json`.

    `CLIPVisionModel.from_pretrained` and `CLIPImageProcessor.from_pretrained` of transformers,
    since 4.37, read the folder. The parameters keep the names that they have in CLIP's checkpoints
    (`vision_model.…`), which old and new versions know. The processor does what training did: a
    picture is stretched to the model's square; the crop that LLaVA's code asks for takes all of it.

    Raises:
        UserError: the folder is there already.
    """
    path = Path(folder)
    if path.exists():
        raise UserError(f"{path} is there already: remove it, or name another folder.")
    partial = path.with_name(f".{path.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    config = model.vision_model.config
    config.architectures = ["CLIPVisionModel"]
    config.save_pretrained(partial)
    state = {
        name: tensor.contiguous()
        for name, tensor in model.state_dict().items()
        if name.startswith(_PREFIX)
    }
    save_file(state, partial / "model.safetensors", metadata={"format": "pt"})
    side = {"height": model.image_size, "width": model.image_size}
    processor = {
        "image_processor_type": "CLIPImageProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": side,
        "resample": 3,  # bicubic
        "do_center_crop": True,
        "crop_size": side,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": MEAN,
        "image_std": STD,
    }
    text = json.dumps(processor, indent=2) + "\n"
    (partial / "preprocessor_config.json").write_text(text, encoding="utf-8")
    partial.rename(path)
