import json
import math

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel

from datagen.engines.errors import ModelNotFoundError
from datagen.images.fit import fitted
from datagen.training.batch import normalised
from datagen.training.config import ModelConfig
from datagen.training.model import FGCLIP, long_positions, stretch_positions
from datagen.training.roi import roi_means, roi_weights, touched_patches
from datagen.training.tree import build_tree
from datagen.training.weights import load_model, model_from_state, new_model, save_model

SIZES = ModelConfig(
    image_size=64, vision_width=32, vision_layers=2, vision_heads=2, text_width=32, text_layers=2,
    text_heads=2, embedding=24, text_tokens=30,
)  # fmt: skip
NO_BOXES = torch.zeros(0, 4), torch.zeros(0, dtype=torch.long)


def encoded(model, texts, long=False):
    tree, of_short, of_long = build_tree([] if long else texts, texts if long else [], 30)
    short_features, long_features = model.encode_texts(tree)
    return long_features[of_long] if long else short_features[of_short]


@pytest.fixture
def model():
    torch.manual_seed(0)
    return new_model(SIZES, vocabulary=50, start_id=0, end_id=49).eval()


def slow_roi_align(patches, box):
    """One output cell, aligned, adaptive sampling: every sample by hand."""
    rows, columns, _ = patches.shape
    x1, x2 = box[0] * columns - 0.5, box[2] * columns - 0.5
    y1, y2 = box[1] * rows - 0.5, box[3] * rows - 0.5
    across, down = math.ceil(x2 - x1), math.ceil(y2 - y1)
    total = torch.zeros(patches.shape[-1])
    for i in range(down):
        for j in range(across):
            y = y1 + (i + 0.5) * (y2 - y1) / down
            x = x1 + (j + 0.5) * (x2 - x1) / across
            if not (-1 <= y <= rows and -1 <= x <= columns):
                continue
            y, x = min(max(y, 0), rows - 1), min(max(x, 0), columns - 1)
            top, left = int(y), int(x)
            bottom, right = min(top + 1, rows - 1), min(left + 1, columns - 1)
            b, r = y - top, x - left
            total += (1 - b) * ((1 - r) * patches[top, left] + r * patches[top, right])
            total += b * ((1 - r) * patches[bottom, left] + r * patches[bottom, right])
    return total / max(1, across * down)


def test_roi_means_equal_a_roi_align_written_sample_by_sample():
    torch.manual_seed(0)
    patches = torch.randn(3, 64, 5)
    corners = torch.rand(40, 2, 2).sort(1).values  # two points, ordered on each axis
    boxes = torch.cat([corners[:, 0], corners[:, 1]], 1)
    boxes[0] = torch.tensor([0.0, 0.0, 1.0, 1.0])
    boxes[1] = torch.tensor([0.97, 0.0, 1.0, 0.02])  # inside one patch, at the edge
    boxes[2] = torch.tensor([-0.3, 0.2, 1.4, 0.9])  # sticks out of the picture
    image = torch.randint(3, (40,))
    slow = [
        slow_roi_align(patches[i].view(8, 8, -1), box.tolist())
        for i, box in zip(image, boxes, strict=True)
    ]
    weights = roi_weights(boxes, 8, 8)
    touched = touched_patches(weights, image, 3)
    means = roi_means(patches.flatten(0, 1)[touched], touched, weights, image, 3)
    torch.testing.assert_close(means, torch.stack(slow))


def test_images_and_short_texts_equal_those_of_transformers_clip(model, tmp_path):
    save_model(model, tmp_path)
    clip = CLIPModel.from_pretrained(tmp_path).eval()
    pixels = torch.randn(3, 3, 64, 64)
    ids = torch.tensor([[0, 5, 6, 49], [0, 7, 49, 0]])
    with torch.no_grad():
        images, _ = model.encode_images(pixels, *NO_BOXES)
        texts = encoded(model, [[0, 5, 6, 49], [0, 7, 49]])
        theirs = clip(input_ids=ids, pixel_values=pixels)
    torch.testing.assert_close(images, theirs.image_embeds)
    torch.testing.assert_close(texts, theirs.text_embeds)


def test_a_clip_checkpoint_gains_stretched_positions_and_a_projection_for_long_texts(
    model, tmp_path
):
    save_model(model, tmp_path / "ours")
    CLIPModel.from_pretrained(tmp_path / "ours").save_pretrained(tmp_path / "clip")
    loaded = load_model(tmp_path / "clip")
    short = model.text_model.embeddings.position_embedding.weight
    long = loaded.text_model.embeddings.position_embedding_res.weight
    assert len(long) == long_positions(30) == 60
    torch.testing.assert_close(long[:20], short[:20])
    torch.testing.assert_close(long[20::4], short[20:])
    torch.testing.assert_close(loaded.text_filip_projection.weight, loaded.text_projection.weight)


def test_positions_are_stretched_as_published():
    short = torch.randn(77, 4)
    long = stretch_positions(short)
    assert long.shape == (248, 4)
    torch.testing.assert_close(long[21], 0.75 * short[20] + 0.25 * short[21])
    torch.testing.assert_close(long[-1], short[-1] + 0.75 * (short[-1] - short[-2]))


def test_a_saved_model_comes_back_bit_for_bit(model, tmp_path):
    with torch.no_grad():
        model.logit_scale_hardneg.fill_(1.0)
        model.text_filip_projection.weight.mul_(2)
    save_model(model, tmp_path)
    again = load_model(tmp_path).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in model.state_dict().items())


def test_a_half_precision_checkpoint_with_code_of_its_own_becomes_a_plain_one_in_float32(
    model, tmp_path
):
    save_model(model, tmp_path / "first")
    settings = json.loads((tmp_path / "first" / "config.json").read_text())
    settings |= {"torch_dtype": "bfloat16", "auto_map": {"AutoModel": "theirs.FGCLIPModel"}}
    settings["text_config"]["dtype"] = "bfloat16"
    half = tmp_path / "half"
    half.mkdir()
    (half / "config.json").write_text(json.dumps(settings))
    state = {name: value.bfloat16() for name, value in model.state_dict().items()}
    torch.save(state, half / "pytorch_model.bin")
    loaded = load_model(half)
    save_model(loaded, tmp_path / "again")
    assert "theirs" not in (tmp_path / "again" / "config.json").read_text()
    clip = CLIPModel.from_pretrained(tmp_path / "again").eval()
    assert clip.dtype == loaded.logit_scale.dtype == torch.float32
    pixels = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        images, _ = loaded.encode_images(pixels, *NO_BOXES)
        theirs = functional.normalize(clip.get_image_features(pixels).pooler_output, dim=-1)
    torch.testing.assert_close(images, theirs)


def test_transformers_prepares_pictures_for_a_saved_model_as_training_does(model, tmp_path):
    save_model(model, tmp_path)
    noise = torch.randint(255, (70, 90, 3), generator=torch.Generator().manual_seed(0))
    picture = Image.fromarray(noise.to(torch.uint8).numpy())
    theirs = CLIPImageProcessorPil.from_pretrained(tmp_path)(picture, return_tensors="pt")
    ours = normalised(torch.tensor(np.asarray(fitted(picture, 64))).permute(2, 0, 1)[None])
    torch.testing.assert_close(theirs["pixel_values"], ours)


def test_region_features_are_the_last_block_without_attention_then_roi_align(model):
    pixels = torch.randn(2, 3, 64, 64)
    boxes = torch.tensor([[0.1, 0.1, 0.65, 0.9], [0.0, 0.0, 1.0, 1.0], [0.5, 0.2, 0.7, 0.3]])
    image = torch.tensor([1, 0, 1])
    tower = model.vision_model
    with torch.no_grad():
        _, regions = model.encode_images(pixels, boxes, image)
        hidden = tower(pixels, output_hidden_states=True).hidden_states[-2]
        last = tower.encoder.layers[-1]
        hidden = hidden + last.self_attn.out_proj(last.self_attn.v_proj(last.layer_norm1(hidden)))
        hidden = hidden + last.mlp(last.layer_norm2(hidden))
        dense = model.visual_projection(tower.post_layernorm(hidden[:, 1:])).view(2, 4, 4, -1)
        slow = torch.stack(
            [slow_roi_align(dense[i], b.tolist()) for i, b in zip(image, boxes, strict=True)]
        )
    torch.testing.assert_close(regions, functional.normalize(slow, dim=-1))


def test_long_texts_use_their_own_positions_and_projection(model):
    ids = [[0, 5, 6, 49]]
    before = encoded(model, ids, long=True)
    torch.testing.assert_close(before, encoded(model, ids))  # copies so far
    with torch.no_grad():
        model.text_model.embeddings.position_embedding_ori.weight.add_(1)
    assert not torch.allclose(before, encoded(model, ids, long=True))
    longest = torch.randint(1, 49, (model.max_tokens(long=True),)).tolist()
    assert encoded(model, [longest], long=True).isfinite().all()


def test_plain_clip_leaves_out_what_fg_clip_adds(model, tmp_path):
    save_model(model, tmp_path, plain=True)
    clip, report = CLIPModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    again = load_model(tmp_path)
    torch.testing.assert_close(again.logit_scale_hardneg, clip.logit_scale)


def test_scales_are_clamped_at_one_hundred(model):
    with torch.no_grad():
        model.logit_scale.fill_(9.0)
    model.clamp_logit_scales()
    assert model.logit_scale.exp().item() == pytest.approx(100)


def test_a_folder_without_a_model_is_said_to_be_none(tmp_path):
    with pytest.raises(ModelNotFoundError, match=str(tmp_path)):
        load_model(tmp_path)


@pytest.mark.parametrize("name", ["/nowhere/model", "./model", "clip"])
def test_a_name_that_no_hub_has_is_refused_without_asking(name):
    with pytest.raises(ModelNotFoundError, match="no such folder"):
        load_model(name)


def test_a_model_of_another_kind_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ModelNotFoundError, match="bert"):
        load_model(tmp_path)


def test_damaged_weights_are_refused(model, tmp_path):
    save_model(model, tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(ModelNotFoundError, match="damaged"):
        load_model(tmp_path)


def test_weights_of_torch_that_are_damaged_are_refused(model, tmp_path):
    save_model(model, tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ModelNotFoundError, match=r"and no pytorch_model"):
        load_model(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"damaged")
    with pytest.raises(ModelNotFoundError, match="damaged"):
        load_model(tmp_path)


def test_weights_in_several_files_are_one_model(model, tmp_path):
    save_model(model, tmp_path / "one")
    clip = CLIPModel.from_pretrained(tmp_path / "one")
    clip.save_pretrained(tmp_path / "many", max_shard_size="50KB")
    assert len(list((tmp_path / "many").glob("model-*.safetensors"))) > 1
    found = load_model(tmp_path / "many").state_dict()
    assert all(torch.equal(value, found[name]) for name, value in clip.state_dict().items())


PUBLISHED_NAMES = {  # what FG-CLIP's checkpoints have beside CLIP's parameters
    "text_model.embeddings.position_embedding_ori.weight": (248, 512),
    "text_model.embeddings.position_embedding_res.weight": (248, 512),
    "text_filip_projection.weight": (512, 512),
    "logit_scale_finegraind": (),
    "logit_scale_hardneg": (),
}
BASE = {"text_config": {}, "vision_config": {"patch_size": 16}, "projection_dim": 512}
LARGE = {
    "text_config": {
        "hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12,
    },
    "vision_config": {
        "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24,
        "num_attention_heads": 16, "patch_size": 14, "image_size": 336,
    },
    "projection_dim": 768,
}  # fmt: skip


@pytest.mark.parametrize("sizes", [BASE, LARGE], ids=["B/16 at 224", "L/14 at 336"])
def test_the_published_sizes_have_the_published_names_and_shapes(sizes):
    with torch.device("meta"):
        state = FGCLIP(CLIPConfig(**sizes)).state_dict()
        clip = CLIPModel(CLIPConfig(**sizes)).state_dict()
        again = model_from_state(state)
    shapes = {name: tuple(value.shape) for name, value in state.items()}
    added = {name: shapes.pop(name) for name in PUBLISHED_NAMES}
    width = sizes["projection_dim"]  # of the texts as well
    wide = {name: tuple(width if n == 512 else n for n in s) for name, s in PUBLISHED_NAMES.items()}
    assert added == wide
    assert shapes == {name: tuple(value.shape) for name, value in clip.items()}
    assert again.image_size == sizes["vision_config"].get("image_size", 224)
    heads = again.config.vision_config.num_attention_heads
    assert heads == sizes["vision_config"].get("num_attention_heads", 12)
    assert again.max_tokens(long=False) == 77 and again.max_tokens(long=True) == 248


def test_weights_of_other_sizes_than_the_configuration_are_refused(model, tmp_path):
    save_model(model, tmp_path)
    path = tmp_path / "config.json"
    path.write_text(path.read_text().replace('"intermediate_size": 128', '"intermediate_size": 96'))
    with pytest.raises(ModelNotFoundError, match=r"do not fit its config.json: size mismatch"):
        load_model(tmp_path)
