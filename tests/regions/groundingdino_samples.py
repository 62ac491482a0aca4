"""Random weights of Grounding DINO, for the tests of both its formats."""

import torch


def random_model(**small):
    """A Grounding DINO of SwinT's shape, or smaller, without a parameter at a special value."""
    from transformers import (
        BertConfig,
        GroundingDinoConfig,
        GroundingDinoForObjectDetection,
        SwinConfig,
    )

    torch.manual_seed(0)
    swin = {"embed_dim": 96, "depths": [2, 2, 6, 2], "num_heads": [3, 6, 12, 24]}
    swin |= small.pop("swin", {})
    config = GroundingDinoConfig(
        backbone_config=SwinConfig(**swin, window_size=7, out_indices=[2, 3, 4]),
        text_config=BertConfig(**small.pop("bert", {})),
        **small,
    )
    model = GroundingDinoForObjectDetection(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.std() == 0 or "bbox_embed" in name or "_param" in name:
                parameter.add_(torch.randn_like(parameter) * 0.05)
    return model


def saved(model, folder):
    from safetensors.torch import load_file

    model.save_pretrained(folder)
    return load_file(folder / "model.safetensors")
