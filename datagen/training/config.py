"""The configuration of a training run."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from datagen.training.data import DataConfig
from datagen.training.objective import LossConfig


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Where the model comes from: a checkpoint, or else sizes for one at random."""

    init: str = ""
    """Folder or name of a CLIP or FG-CLIP checkpoint; its tokenizer is taken too. Empty: random."""
    freeze: tuple[Literal["vision", "text"], ...] = ()
    """Towers that stay as they are, with their projections."""
    lora_rank: int = 0
    """Train low-rank adapters of the blocks' linear layers, and nothing else of the model but the
    logit scales; they are merged into the weights at the end. 0: train the weights themselves."""
    lora_alpha: int = 16
    # The sizes below are of a random model.
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
    mlp_ratio: int = 4
    """Width of the hidden layer of the blocks, in widths of the tower."""
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
    """Images of a step, over all processes; all there are where there are fewer."""
    epochs: int = 1
    precision: Literal["float32", "bfloat16", "auto"] = "float32"
    """Of matrix products; auto: bfloat16 where the device has instructions for it."""
    accumulate: int = 1
    """Pieces in which a process encodes its part of a batch, twice each: first for the features of
    all, which the losses need together, then for the gradients (GradCache). The result is that of
    one piece, with the memory of a piece."""
    checkpointing: bool = False
    """Compute blocks again in the backward pass: less memory, a third more time."""
    compile: bool = False
    """Compile the blocks by torch.compile."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """A training run: `output/model` appears when it is done."""

    data: str
    """Folder or URL of the dataset."""
    output: str
    """Folder of the run: metrics.jsonl, loss.png, tensorboard/, checkpoints/, and model/ at the
    end."""
    model: ModelConfig = field(default_factory=ModelConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    reader: DataConfig = field(default_factory=DataConfig)
    seed: int = 0
    threads: int = 0
    """Of torch on a CPU; 0: as many as it likes."""
    device: str = "cpu"
    workers: int = 0
    """Processes of Ray Train, on one machine or a cluster. 0: this process, or torchrun's."""
    clip_model: bool = False
    """Write clip-model/ too: plain CLIP, without what FG-CLIP adds."""
    evaluate: str = ""
    """Folder or URL of a dataset; the model is evaluated on it every `evaluate_every` steps."""
    evaluate_every: int = 500
    wandb_project: str = ""
    """Log to this project of Weights & Biases, which must be installed."""
    log_every: int = 10
    """Steps between lines of metrics.jsonl."""
    checkpoint_every: int = 500
    """Steps between checkpoints."""
    keep_checkpoints: int = 2
    show: Literal["auto", "lines"] = "auto"
    """Progress as a bar where there is a terminal, or always as lines."""

    def identity(self) -> dict[str, Any]:
        """The settings that decide the weights, without those of place, speed and reporting."""
        settings = asdict(self)
        for name in (
            "output", "threads", "device", "workers", "clip_model", "evaluate", "evaluate_every",
            "wandb_project", "log_every", "checkpoint_every", "keep_checkpoints", "show",
        ):  # fmt: skip
            settings.pop(name)
        settings["reader"].pop("processes")
        for name in ("accumulate", "checkpointing", "compile"):
            settings["optim"].pop(name)
        return settings
