"""a model → its vision tower, as the CLIPVisionModel that LLaVA-style models take.

Example:
    python pipelines/vision_tower.py --model runs/photos/models/first --output runs/photos/tower
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from datagen.command import command
from datagen.training.vision_tower import save_vision_tower
from datagen.training.weights import load_model


@dataclass(frozen=True, kw_only=True)
class Config:
    """Arguments of vision_tower.py."""

    model: str
    """Folder or name of a CLIP or FG-CLIP model, or the output folder of a training."""
    output: Path
    """Folder to write: config.json, model.safetensors, preprocessor_config.json."""


def main(config: Config) -> None:
    """Write the tower and say what it is."""
    inside = Path(config.model) / "model"
    model = load_model(inside if inside.is_dir() else config.model)
    save_vision_tower(model, config.output)
    side, patch = model.image_size, model.patch_size
    print(
        f"vision_tower: {config.output}, {side} x {side} pixels in patches of {patch}: "
        f"{(side // patch) ** 2} image tokens of width {model.vision_model.config.hidden_size}"
    )


if __name__ == "__main__":
    command(Config, main, __doc__)
