"""Models on disk: CLIP's and FG-CLIP's folders in the format of transformers."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import CLIPConfig
from transformers.utils import cached_file

from datagen.engines.errors import ModelNotFoundError
from datagen.training.config import ModelConfig
from datagen.training.model import FGCLIP
from datagen.training.processor import save_processor

_ADDED = (
    "text_model.embeddings.position_embedding_ori.weight",
    "text_model.embeddings.position_embedding_res.weight",
    "text_filip_projection.weight",
    "logit_scale_finegraind",
    "logit_scale_hardneg",
)
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
# What a config.json says of its own files: weights are float32 here, and no code comes along.
_OF_FILES = ("auto_map", "dtype", "torch_dtype")


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


def model_from_state(state: Mapping[str, Tensor]) -> FGCLIP:
    """The model whose parameters these are, with FG-CLIP's names; sizes are read from shapes.

    What shapes do not tell is CLIP's: heads of 64, quick GELU.

    Raises:
        ModelNotFoundError: these are no parameters of FG-CLIP.
    """
    try:
        tokens = state["text_model.embeddings.token_embedding.weight"]
        positions = state["text_model.embeddings.position_embedding.weight"]
        patches = state["vision_model.embeddings.patch_embedding.weight"]
        cells = len(state["vision_model.embeddings.position_embedding.weight"]) - 1
        embedding = len(state["visual_projection.weight"])
        hidden = [
            len(state[f"{tower}_model.encoder.layers.0.mlp.fc1.bias"])
            for tower in ("text", "vision")
        ]
    except KeyError as error:
        raise ModelNotFoundError(f"These are no weights of FG-CLIP: no {error}.") from None
    patch = patches.shape[-1]
    text_config = {
        "vocab_size": len(tokens),
        "hidden_size": tokens.shape[1],
        "intermediate_size": hidden[0],
        "num_attention_heads": tokens.shape[1] // 64,
        "num_hidden_layers": _layers(state, "text_model"),
        "max_position_embeddings": len(positions),
    }
    vision_config = {
        "hidden_size": len(patches),
        "intermediate_size": hidden[1],
        "num_attention_heads": len(patches) // 64,
        "num_hidden_layers": _layers(state, "vision_model"),
        "image_size": math.isqrt(cells) * patch,
        "patch_size": patch,
    }
    model = FGCLIP(
        CLIPConfig(
            text_config={**text_config, "projection_dim": embedding},
            vision_config={**vision_config, "projection_dim": embedding},
            projection_dim=embedding,
        )
    )
    _fill(model, dict(state), "the state dict")
    return model


def _layers(state: Mapping[str, Tensor], tower: str) -> int:
    prefix = f"{tower}.encoder.layers."
    return 1 + max(int(name[len(prefix) :].split(".")[0]) for name in state if prefix in name)


def save_model(model: FGCLIP, folder: str | Path, *, plain: bool = False) -> None:
    """Write `config.json`, `preprocessor_config.json` and `model.safetensors`.

    Parameters have FG-CLIP's names: the published code loads the folder, and so does transformers'
    `CLIPModel`, which leaves out what FG-CLIP adds.

    Args:
        plain: leave it out here: a checkpoint of CLIP.
    """
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    model.config.architectures = ["CLIPModel"]
    model.config.save_pretrained(path)
    state = {
        name: tensor.contiguous()
        for name, tensor in model.state_dict().items()
        if not (plain and name in _ADDED)
    }
    save_file(state, path / "model.safetensors", metadata={"format": "pt"})
    save_processor(path, model.image_size)


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
    model = FGCLIP(CLIPConfig(**_kept(settings)))
    if model.image_size % model.patch_size:
        raise ModelNotFoundError(
            f"The model {name} does not fit its own images: their side of {model.image_size} "
            f"pixels is no multiple of its patch of {model.patch_size}. Mend its config.json."
        )
    _fill(model, _state(name), str(name))
    return model


def _kept(settings: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _kept(value) if isinstance(value, dict) else value
        for name, value in settings.items()
        if name not in _OF_FILES
    }


def _fill(model: FGCLIP, state: dict[str, Tensor], name: str) -> None:
    state = {key: value for key, value in state.items() if not key.endswith("position_ids")}
    added = [key for key in _ADDED if key not in state]
    try:
        missing, unexpected = model.load_state_dict(state, strict=False)
    except RuntimeError as error:  # torch lists the shapes that differ, one a line
        _, first, *_ = str(error).splitlines()
        raise ModelNotFoundError(
            f"The weights of {name} do not fit its config.json: {first.strip()}"
        ) from None
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


def _state(name: str | Path) -> dict[str, Tensor]:
    state: dict[str, Tensor] = {}
    for file in _weight_files(name):
        try:
            if file.suffix == ".safetensors":
                state |= load_file(file)
            else:
                state |= torch.load(file, weights_only=True, map_location="cpu")
        except (SafetensorError, UnpicklingError, RuntimeError, EOFError) as error:
            reason = str(error).splitlines()[0]
            raise ModelNotFoundError(f"The weights of {name} are damaged: {reason}.") from None
    return state


def _weight_files(name: str | Path) -> list[Path]:
    """Safetensors before torch's format; large models are in several files with an index."""
    for file in _WEIGHTS:
        try:
            return [_file(name, file)]
        except ModelNotFoundError:
            pass
        try:
            index = json.loads(_file(name, f"{file}.index.json").read_text(encoding="utf-8"))
        except ModelNotFoundError:
            continue
        return [_file(name, part) for part in sorted(set(index["weight_map"].values()))]
    raise ModelNotFoundError(f"No model at {name}: it has no {' and no '.join(_WEIGHTS)}.")


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
