"""Weights of Grounding DINO in both formats, and what is said where one is not there."""

from pathlib import Path

import pytest
import torch

import datagen.demo
from datagen.engines.errors import ModelNotFoundError
from datagen.regions.groundingdino import GroundingDinoPyDetector, GroundingDinoSettings
from datagen.regions.groundingdino_weights import config_of, convert, from_original, to_original
from tests.regions.groundingdino_samples import random_model, saved

PROCESSOR = Path(datagen.demo.__file__).parent / "models" / "detector"


@pytest.fixture(scope="module")
def small_weights(tmp_path_factory):
    model = random_model(
        swin={"embed_dim": 24, "depths": [1, 1, 2, 1]},
        bert={
            "vocab_size": 100,
            "hidden_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 1,
            "intermediate_size": 64,
        },
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=48,
        num_queries=20,
    )
    return saved(model, tmp_path_factory.mktemp("small"))


def test_weights_go_to_the_original_format_and_back(small_weights):
    original = to_original(small_weights)
    assert "backbone.0.layers.2.blocks.1.attn.qkv.weight" in original
    assert "transformer.decoder.layers.1.ca_text.in_proj_bias" in original
    back = from_original(original)
    kept = {name for name in small_weights if "swin.layernorm" not in name}
    assert kept <= back.keys()
    assert all(torch.equal(back[name], small_weights[name]) for name in kept)


def test_a_checkpoint_tells_its_configuration_and_loads_whole(small_weights, tmp_path):
    checkpoint = tmp_path / "original.pth"
    original = {f"module.{name}": tensor for name, tensor in to_original(small_weights).items()}
    original["module.bert.pooler.dense.weight"] = torch.zeros(64, 64)
    torch.save({"model": original}, checkpoint)
    convert(checkpoint, tmp_path / "converted", str(PROCESSOR))
    from transformers import GroundingDinoForObjectDetection

    model, report = GroundingDinoForObjectDetection.from_pretrained(
        tmp_path / "converted", output_loading_info=True
    )
    assert not report["unexpected_keys"] and not report["mismatched_keys"]
    assert all("swin.layernorm" in name for name in report["missing_keys"])
    config = config_of(original)
    assert (config.encoder_layers, config.decoder_ffn_dim, config.num_queries) == (2, 48, 20)
    assert config.backbone_config.depths == [1, 1, 2, 1]
    assert torch.equal(model.state_dict()["model.level_embed"], small_weights["model.level_embed"])


def test_other_weights_are_refused():
    with pytest.raises(ValueError, match=r"head\.weight is of no Grounding DINO"):
        from_original({"head.weight": torch.zeros(2, 2)})


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(ModelNotFoundError, match="no checkpoint"):
        GroundingDinoPyDetector(str(tmp_path / "none.pth"))
    checkpoint = tmp_path / "some.pth"
    checkpoint.touch()
    with pytest.raises(ModelNotFoundError, match="make groundingdino-env"):
        GroundingDinoPyDetector(
            str(checkpoint), settings=GroundingDinoSettings(python=str(tmp_path / "python"))
        )
