"""The configuration of a run, its recipe in YAML, and how the command line overrides it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import tyro
import yaml

from datagen.training.data import DataConfig
from datagen.training.objective import LossConfig


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Where the model comes from: a checkpoint, or else sizes for one at random."""

    init: str = ""
    """Folder or name of a CLIP or FG-CLIP checkpoint; its tokenizer is taken too. Empty: random."""
    image_size: int = 128
    patch_size: int = 16
    vision_width: int = 128
    vision_layers: int = 4
    vision_heads: int = 4
    text_width: int = 128
    text_layers: int = 2
    text_heads: int = 4
    text_tokens: int = 77
    """Of short texts; long texts may have 4 (n - 20) + 20."""
    embedding: int = 128
    vocab_size: int = 1024
    """Of the tokenizer that is learned from the texts."""
    activation: str = "quick_gelu"
    logit_scale: float = 2.6592
    """Logarithm of the first factor of the cosines; CLIP's is 1/0.07."""


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """AdamW with warm-up and cosine decay to 0."""

    learning_rate: float = 1e-4
    weight_decay: float = 0.001
    beta1: float = 0.9
    beta2: float = 0.98
    clip_norm: float = 1.0
    warmup_steps: int = 200
    batch_size: int = 64
    epochs: int = 1
    precision: Literal["float32", "bfloat16"] = "float32"


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """A training run: `output/model` appears when it is done."""

    data: str
    """Folder or URL of the dataset."""
    output: str
    """Folder of the run: metrics.jsonl, checkpoints/, and model/ at the end."""
    model: ModelConfig = field(default_factory=ModelConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    reader: DataConfig = field(default_factory=DataConfig)
    seed: int = 0
    threads: int = 0
    """Of torch on a CPU; 0: as many as it likes."""
    device: str = "cpu"
    log_every: int = 10
    """Steps between lines of metrics.jsonl."""
    checkpoint_every: int = 500
    """Steps between checkpoints."""
    keep_checkpoints: int = 2

    def identity(self) -> dict[str, Any]:
        """The settings that decide the weights, without those of place, speed and reporting."""
        settings = asdict(self)
        for name in ("output", "threads", "device", "log_every", "checkpoint_every",
                     "keep_checkpoints"):  # fmt: skip
            settings.pop(name)
        return settings


def parse_config(arguments: Sequence[str] | None = None) -> TrainConfig:
    """A `TrainConfig` from `--recipe FILE` and the other arguments, which win over the recipe.

    Raises:
        ValueError: the recipe is not readable or names a setting that does not exist.
        SystemExit: the arguments are wrong; the reason was printed.
    """
    rest = list(sys.argv[1:] if arguments is None else arguments)
    recipe: dict[str, Any] = {}
    for place, argument in enumerate(rest):
        if argument == "--recipe" or argument.startswith("--recipe="):
            _, equals, value = argument.partition("=")
            taken = rest[place : place + (1 if equals else 2)]
            if not equals and len(taken) < 2:
                raise ValueError("--recipe needs the path of a YAML file.")
            recipe = read_recipe(value if equals else taken[1])
            del rest[place : place + len(taken)]
            break
    return tyro.cli(TrainConfig, args=rest, default=_with_recipe(recipe), description=_HELP)


_HELP = """Train FG-CLIP on a dataset. --recipe FILE reads a YAML recipe first; what is given
on the command line wins over it."""


def read_recipe(path: str | Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        ValueError: there is no such file, or it is no mapping.
    """
    try:
        found = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"Cannot read the recipe {path}: {error.strerror}.") from None
    except yaml.YAMLError as error:
        raise ValueError(f"The recipe {path} is no YAML: {error}.") from None
    if not isinstance(found, dict):
        raise ValueError(f"The recipe {path} must be a mapping of settings.")
    return found


def _with_recipe(recipe: dict[str, Any]) -> TrainConfig:
    groups = {"model": ModelConfig, "loss": LossConfig, "optim": OptimConfig, "reader": DataConfig}
    plain = {key: value for key, value in recipe.items() if key not in groups}
    built: dict[str, Any] = {"data": tyro.MISSING, "output": tyro.MISSING}
    try:
        for name, kind in groups.items():
            built[name] = kind(**recipe.get(name, {}))  # type: ignore[operator]
        return TrainConfig(**{**built, **plain})
    except TypeError as error:
        raise ValueError(f"The recipe has a setting that does not exist: {error}.") from None
