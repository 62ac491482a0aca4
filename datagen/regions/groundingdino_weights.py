"""Weights of Grounding DINO from the original format to that of transformers, and back.

    python -m datagen.regions.groundingdino_weights groundingdino_swint_ogc.pth FOLDER \\
        --tokenizer bert-base-uncased

The names on the side of transformers are those of the files on model hubs. Both formats hold the
same tensors; the original has query, key and value of most attentions in one matrix.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import torch
import tyro

if TYPE_CHECKING:
    from transformers import GroundingDinoConfig

Weights = dict[str, torch.Tensor]

_SWIN = "model.backbone.conv_encoder.model"
_ENCODER, _DECODER = "model.encoder.layers.#", "model.decoder.layers.#"
_OLD_ENCODER, _OLD_DECODER = "transformer.encoder.layers.#", "transformer.decoder.layers.#"
_OLD_TEXT, _OLD_FUSION = "transformer.encoder.text_layers.#", "transformer.encoder.fusion_layers.#"

# In transformers, in the original; # is the number of a layer.
_NAMES: tuple[tuple[str, str], ...] = (
    (f"{_SWIN}.embeddings.patch_embeddings.projection", "backbone.0.patch_embed.proj"),
    (f"{_SWIN}.embeddings.norm", "backbone.0.patch_embed.norm"),
    *(
        (f"{_SWIN}.encoder.layers.#.blocks.#.{new}", f"backbone.0.layers.#.blocks.#.{old}")
        for new, old in (
            ("layernorm_before", "norm1"),
            ("layernorm_after", "norm2"),
            ("attention.self.relative_position_bias_table", "attn.relative_position_bias_table"),
            ("attention.output.dense", "attn.proj"),
            ("intermediate.dense", "mlp.fc1"),
            ("output.dense", "mlp.fc2"),
        )
    ),
    (f"{_SWIN}.encoder.layers.#.downsample", "backbone.0.layers.#.downsample"),
    *((f"{_SWIN}.hidden_states_norms.stage{n + 1}", f"backbone.0.norm{n}") for n in range(4)),
    ("model.text_backbone", "bert"),
    ("model.text_projection", "feat_map"),
    ("model.input_proj_vision", "input_proj"),
    ("model.level_embed", "transformer.level_embed"),
    ("model.query_position_embeddings", "transformer.tgt_embed"),
    ("model.enc_output", "transformer.enc_output"),
    ("model.enc_output_norm", "transformer.enc_output_norm"),
    ("model.encoder_output_bbox_embed", "transformer.enc_out_bbox_embed"),
    ("model.decoder.layer_norm", "transformer.decoder.norm"),
    ("model.decoder.reference_points_head", "transformer.decoder.ref_point_head"),
    ("bbox_embed", "bbox_embed"),
    *(
        (f"{_ENCODER}.deformable_layer.{new}", f"{_OLD_ENCODER}.{old}")
        for new, old in (
            ("self_attn", "self_attn"),
            ("self_attn_layer_norm", "norm1"),
            ("fc1", "linear1"),
            ("fc2", "linear2"),
            ("final_layer_norm", "norm2"),
        )
    ),
    *(
        (f"{_ENCODER}.text_enhancer_layer.{new}", f"{_OLD_TEXT}.{old}")
        for new, old in (
            ("self_attn.out_proj", "self_attn.out_proj"),
            ("fc1", "linear1"),
            ("fc2", "linear2"),
            ("layer_norm_before", "norm1"),
            ("layer_norm_after", "norm2"),
        )
    ),
    *(
        (f"{_ENCODER}.fusion_layer.{new}", f"{_OLD_FUSION}.{old}")
        for new, old in (
            ("vision_param", "gamma_v"),
            ("text_param", "gamma_l"),
            ("layer_norm_vision", "layer_norm_v"),
            ("layer_norm_text", "layer_norm_l"),
            ("attn.vision_proj", "attn.v_proj"),
            ("attn.text_proj", "attn.l_proj"),
            ("attn.values_vision_proj", "attn.values_v_proj"),
            ("attn.values_text_proj", "attn.values_l_proj"),
            ("attn.out_vision_proj", "attn.out_v_proj"),
            ("attn.out_text_proj", "attn.out_l_proj"),
        )
    ),
    *(
        (f"{_DECODER}.{new}", f"{_OLD_DECODER}.{old}")
        for new, old in (
            ("encoder_attn", "cross_attn"),
            ("encoder_attn_layer_norm", "norm1"),
            ("encoder_attn_text.out_proj", "ca_text.out_proj"),
            ("encoder_attn_text_layer_norm", "catext_norm"),
            ("self_attn.out_proj", "self_attn.out_proj"),
            ("self_attn_layer_norm", "norm2"),
            ("fc1", "linear1"),
            ("fc2", "linear2"),
            ("final_layer_norm", "norm3"),
        )
    ),
)
# Attentions whose query, key and value are apart in transformers and stacked in the original,
# with what stands before "weight" and "bias" there.
_STACKED: tuple[tuple[str, str], ...] = (
    (f"{_SWIN}.encoder.layers.#.blocks.#.attention.self", "backbone.0.layers.#.blocks.#.attn.qkv."),
    (f"{_ENCODER}.text_enhancer_layer.self_attn", f"{_OLD_TEXT}.self_attn.in_proj_"),
    (f"{_DECODER}.self_attn", f"{_OLD_DECODER}.self_attn.in_proj_"),
    (f"{_DECODER}.encoder_attn_text", f"{_OLD_DECODER}.ca_text.in_proj_"),
)
_PARTS = ("query", "key", "value")
# Of no use to the other side: buffers, BERT's pooler, the norm after Swin's last block.
_LEFT_OUT = re.compile(
    r"relative_position_index|bert\.pooler\.|position_ids$|^label_enc\.|swin\.layernorm\."
)
_BOX_HEAD = re.compile(r"(?:transformer\.decoder\.)?bbox_embed\.\d+\.(.*)")


def to_original(weights: Mapping[str, torch.Tensor]) -> Weights:
    """The tensors of a file of transformers under the original's names.

    Raises:
        ValueError: a tensor is of no Grounding DINO.
    """
    found: Weights = {}
    stacked: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in weights.items():
        if _LEFT_OUT.search(name):
            continue
        base, _, last = name.rpartition(".")
        base, _, part = base.rpartition(".")
        place = _renamed(base, _STACKED) if part in _PARTS else None
        if place is not None:
            stacked.setdefault(place + last, {})[part] = tensor
        else:
            found[_known(name, _NAMES)] = tensor
    for name, parts in stacked.items():
        found[name] = torch.cat([parts[part] for part in _PARTS])
    # The original keeps the one head for boxes with each layer, twice.
    head = {name: tensor for name, tensor in found.items() if name.startswith("bbox_embed.0.")}
    for layer in range(_count(found, r"transformer\.decoder\.layers\.(\d+)\.")):
        for name, tensor in head.items():
            own = name.replace("bbox_embed.0.", f"bbox_embed.{layer}.")
            found[own] = found[f"transformer.decoder.{own}"] = tensor
    return found


def from_original(weights: Mapping[str, torch.Tensor]) -> Weights:
    """The tensors of an original checkpoint under the names that transformers loads.

    Raises:
        ValueError: a tensor is of no Grounding DINO, or its layers have different heads for boxes.
    """
    back = [(old, new) for new, old in _NAMES]
    found: Weights = {}
    for given, tensor in weights.items():
        name = given.removeprefix("module.")
        if _LEFT_OUT.search(name):
            continue
        if head := _BOX_HEAD.match(name):
            first = f"bbox_embed.0.{head[1]}"
            if not torch.equal(tensor, weights.get(first, weights.get(f"module.{first}", tensor))):
                raise ValueError(f"{given} is not {first}: transformers has one head for boxes.")
            found[first] = tensor.contiguous()
            continue
        split = re.fullmatch(r"(.*(?:\.qkv\.|\.in_proj_))(weight|bias)", name)
        if split is None:
            found[_known(name, back)] = tensor.contiguous()
            continue
        base = _known(split[1], [(old, new) for new, old in _STACKED])
        for part, piece in zip(_PARTS, tensor.chunk(3), strict=True):
            found[f"{base}.{part}.{split[2]}"] = piece.clone()
    return found


def config_of(weights: Mapping[str, torch.Tensor]) -> GroundingDinoConfig:
    """The configuration of transformers for an original checkpoint, read off its tensors."""
    from transformers import BertConfig, GroundingDinoConfig, SwinConfig

    shapes = {name.removeprefix("module."): tensor.shape for name, tensor in weights.items()}
    depths, heads = [], []
    for stage in range(4):
        depths.append(_count(shapes, rf"backbone\.0\.layers\.{stage}\.blocks\.(\d+)\."))
        table = shapes[f"backbone.0.layers.{stage}.blocks.0.attn.relative_position_bias_table"]
        heads.append(int(table[1]))
    window = (int(table[0] ** 0.5) + 1) // 2
    vocabulary, width = shapes["bert.embeddings.word_embeddings.weight"]
    layers = _count(shapes, r"bert\.encoder\.layer\.(\d+)\.")
    queries, d_model = shapes["transformer.tgt_embed.weight"]
    return GroundingDinoConfig(
        backbone_config=SwinConfig(  # type: ignore[call-arg]
            embed_dim=int(shapes["backbone.0.patch_embed.proj.weight"][0]),
            depths=depths,
            num_heads=heads,
            window_size=window,
            image_size=224 if window == 7 else 384,
            out_indices=[2, 3, 4],
        ),
        text_config=BertConfig(
            vocab_size=int(vocabulary),
            hidden_size=int(width),
            num_hidden_layers=layers,
            num_attention_heads=max(1, int(width) // 64),
            intermediate_size=int(shapes["bert.encoder.layer.0.intermediate.dense.weight"][0]),
        ),
        d_model=int(d_model),
        num_queries=int(queries),
        encoder_layers=_count(shapes, r"transformer\.encoder\.layers\.(\d+)\."),
        decoder_layers=_count(shapes, r"transformer\.decoder\.layers\.(\d+)\."),
        encoder_ffn_dim=int(shapes["transformer.encoder.layers.0.linear1.weight"][0]),
        decoder_ffn_dim=int(shapes["transformer.decoder.layers.0.linear1.weight"][0]),
    )


def convert(checkpoint: Path, folder: Path, tokenizer: str) -> None:
    """Write an original checkpoint as a folder that `TransformersDetector` opens.

    Args:
        checkpoint: the file, a dictionary whose "model" holds the tensors.
        folder: where model, configuration and processor go.
        tokenizer: that of BERT, a name on a model hub or a folder.
    """
    from safetensors.torch import save_file
    from transformers import AutoTokenizer, GroundingDinoImageProcessor, GroundingDinoProcessor

    weights: Weights = torch.load(checkpoint, map_location="cpu", weights_only=True)["model"]
    folder.mkdir(parents=True, exist_ok=True)
    save_file(from_original(weights), folder / "model.safetensors", {"format": "pt"})
    config_of(weights).save_pretrained(folder)
    GroundingDinoProcessor(
        GroundingDinoImageProcessor(), AutoTokenizer.from_pretrained(tokenizer)
    ).save_pretrained(folder)


def _known(name: str, names: Iterable[tuple[str, str]]) -> str:
    found = _renamed(name, names)
    if found is None:
        raise ValueError(f"The tensor {name} is of no Grounding DINO that is known.")
    return found


def _renamed(name: str, names: Iterable[tuple[str, str]]) -> str | None:
    """The name with its beginning, up to a full stop, replaced; None where none fits."""
    best: tuple[int, str] | None = None
    for old, new in names:
        match = re.match(re.escape(old).replace(r"\#", r"(\d+)") + r"(?=\.|$)", name)
        if match is None or (best is not None and match.end() <= best[0]):
            continue
        numbers = iter(match.groups())
        best = match.end(), re.sub("#", lambda _: next(numbers), new) + name[match.end() :]  # noqa: B023
    return best[1] if best else None


def _count(shapes: Mapping[str, Any], pattern: str) -> int:
    numbers = [int(match[1]) for name in shapes if (match := re.match(pattern, name))]
    return max(numbers) + 1


def main(
    checkpoint: Annotated[Path, tyro.conf.Positional],
    folder: Annotated[Path, tyro.conf.Positional],
    tokenizer: str = "bert-base-uncased",
) -> None:
    """Write an original Grounding DINO checkpoint in transformers' format."""
    convert(checkpoint, folder, tokenizer)


if __name__ == "__main__":
    tyro.cli(main)
