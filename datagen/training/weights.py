"""Models on disk: CLIP's and FG-CLIP's folders in the format of transformers."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import CLIPConfig
from transformers.utils import cached_file

from datagen.engines.errors import ModelNotFoundError
from datagen.training.config import ModelConfig
from datagen.training.model import FGCLIP

_ADDED = (
    "text_model.embeddings.position_embedding_ori.weight",
    "text_model.embeddings.position_embedding_res.weight",
    "text_filip_projection.weight",
    "logit_scale_finegraind",
    "logit_scale_hardneg",
)


def new_model(sizes: ModelConfig, vocabulary: int, start_id: int, end_id: int) -> FGCLIP:
    """A model of the given sizes with random weights; seed torch before."""
    config = CLIPConfig(
        text_config={
            "vocab_size": vocabulary,
            "hidden_size": sizes.text_width,
            "intermediate_size": sizes.mlp_ratio * sizes.text_width,
            "projection_dim": sizes.embedding,
            "num_hidden_layers": sizes.text_layers,
            "num_attention_heads": sizes.text_heads,
            "max_position_embeddings": sizes.text_tokens,
            "hidden_act": sizes.activation,
            "bos_token_id": start_id,
            "eos_token_id": end_id,
            "pad_token_id": end_id,
        },
        vision_config={
            "hidden_size": sizes.vision_width,
            "intermediate_size": sizes.mlp_ratio * sizes.vision_width,
            "projection_dim": sizes.embedding,
            "num_hidden_layers": sizes.vision_layers,
            "num_attention_heads": sizes.vision_heads,
            "image_size": sizes.image_size,
            "patch_size": sizes.patch_size,
            "hidden_act": sizes.activation,
        },
        projection_dim=sizes.embedding,
        logit_scale_init_value=sizes.logit_scale,
    )
    return FGCLIP(config)


def save_model(model: FGCLIP, folder: str | Path) -> None:
    """Write `config.json` and `model.safetensors` with FG-CLIP's parameter names.

    transformers' `CLIPModel` loads the folder too and leaves out what FG-CLIP adds.
    """
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    model.config.architectures = ["CLIPModel"]
    model.config.save_pretrained(path)
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(state, path / "model.safetensors", metadata={"format": "pt"})


def load_model(name: str | Path) -> FGCLIP:
    """A model from a folder, or by name from the hub: CLIP's or FG-CLIP's.

    CLIP's gets stretched positions and copies of its projection and temperature, as published.

    Raises:
        ModelNotFoundError: there is none, or it is no CLIP.
    """
    config_file = _file(name, "config.json")
    settings = json.loads(config_file.read_text(encoding="utf-8"))
    if "text_config" not in settings or "vision_config" not in settings:
        kind = settings.get("model_type", "of no known type")
        raise ModelNotFoundError(f"The model {name} is no CLIP: its config.json says {kind}.")
    model = FGCLIP(CLIPConfig(**settings))
    state = _state(name)
    added = [key for key in _ADDED if key not in state]
    missing, unexpected = model.load_state_dict(state, strict=False)
    wrong = sorted((set(missing) - set(added)) | set(unexpected))
    if wrong:
        raise ModelNotFoundError(
            f"The weights of {name} do not fit FG-CLIP: {', '.join(wrong[:3])} and "
            f"{max(0, len(wrong) - 3)} more."
        )
    if len(added) == len(_ADDED):
        model.start_from_clip()
    elif added:
        raise ModelNotFoundError(f"The model {name} has only a part of FG-CLIP: no {added[0]}.")
    return model


def _state(name: str | Path) -> dict[str, Tensor]:
    try:
        state = load_file(_file(name, "model.safetensors"))
    except ModelNotFoundError:
        state = torch.load(_file(name, "pytorch_model.bin"), weights_only=True, map_location="cpu")
    except SafetensorError as error:
        raise ModelNotFoundError(f"The weights of {name} are damaged: {error}.") from None
    return {key: value for key, value in state.items() if not key.endswith("position_ids")}


def _file(name: str | Path, file: str) -> Path:
    if not Path(name).is_dir() and (str(name).count("/") != 1 or str(name)[0] in "./~"):
        hint = "" if "/" in str(name) else " (names on the hub are owner/name)"
        raise ModelNotFoundError(f"No model at {name}: there is no such folder{hint}.")
    try:
        found = cached_file(str(name), file)
    except OSError as error:
        reason = str(error).splitlines()[0]
        raise ModelNotFoundError(f"No model at {name}: {reason}") from None
    if found is None:
        raise ModelNotFoundError(f"No model at {name}: it has no {file}.")
    return Path(found)
