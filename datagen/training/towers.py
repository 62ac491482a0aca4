"""What of a model is trained: all, some of it, or adapters."""

from __future__ import annotations

from typing import Any

from datagen.errors import UserError
from datagen.training.config import ModelConfig
from datagen.training.model import FGCLIP

_PARTS = {
    "vision": ("vision_model.", "visual_projection."),
    "text": ("text_model.", "text_projection.", "text_filip_projection."),
}
_ADAPTED = ["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"]


def prepare(model: FGCLIP, config: ModelConfig) -> None:
    """Freeze towers, or put low-rank adapters (LoRA) on the linear layers of the blocks.

    Raises:
        UserError: adapters are wanted and peft is not installed, or nothing is left to train.
    """
    if config.lora_rank:
        _add_adapters(model, config)
    for tower in config.freeze:
        for name, parameter in model.named_parameters():
            if name.startswith(_PARTS[tower]):
                parameter.requires_grad_(False)
    if set(config.freeze) == set(_PARTS):
        raise UserError("Both towers are frozen: nothing is left to train.")


def merge_adapters(model: FGCLIP) -> None:
    """Make the adapters, where there are any, part of the weights; the model is plain again."""
    for name, module in list(model.named_modules()):
        if hasattr(module, "base_layer"):
            adapted: Any = module
            adapted.merge()
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, adapted.get_base_layer())


def _add_adapters(model: FGCLIP, config: ModelConfig) -> None:
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise UserError("LoRA needs peft: pip install peft") from None
    lora = LoraConfig(r=config.lora_rank, lora_alpha=config.lora_alpha, target_modules=_ADAPTED)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    for tower in (model.vision_model, model.text_model):
        inject_adapter_in_model(lora, tower)
    for name, parameter in model.named_parameters():
        if name.startswith("logit_scale"):
            parameter.requires_grad_(True)
