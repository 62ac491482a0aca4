"""True captions against false ones, and models of transformers, whose regions are crops."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    Siglip2Config,
    Siglip2Model,
    SiglipConfig,
    SiglipModel,
)
from transformers.models.siglip2.image_processing_pil_siglip2 import Siglip2ImageProcessorPil

from datagen.engines.errors import ModelNotFoundError
from datagen.evaluation.adapters import Crops
from datagen.evaluation.benchmark import Choices, Source, find
from datagen.evaluation.transformers_models import TransformersEncoder
from datagen.training.texts import learn_tokenizer
from tests.evaluation.words import WORDS, BagOfWords


@pytest.fixture
def photos(tmp_path):
    image = Image.new("RGB", (40, 20), (WORDS.index("red"), 0, 0))
    image.paste((WORDS.index("blue"), 0, 0), (20, 0, 40, 20))
    image.save(tmp_path / "a.png")
    return tmp_path


def test_sugarcrepe_counts_pictures_nearer_to_the_true_caption(photos):
    pairs = {
        "0": {"filename": "a.png", "caption": "red", "negative_caption": "blue"},
        "1": {"filename": "a.png", "caption": "green", "negative_caption": "red"},
    }
    (photos / "replace_att.json").write_text(json.dumps(pairs))
    source = Source(annotations=str(photos / "replace_att.json"), images=str(photos))
    encoder = BagOfWords()
    found = find("sugarcrepe").run(encoder, source, Choices())
    score = found.results[0]
    assert (score.benchmark, score.value, score.n) == ("sugarcrepe_replace_att", 0.5, 2)
    assert score.chance == 0.5 and encoder.pictures == 1
    assert "two images" in score.settings["no_control"]


def test_aro_cuts_the_picture_to_its_box(photos):
    row = {
        "image_path": "a.png", "true_caption": "blue bird", "false_caption": "red bird",
        "bbox_x": 20, "bbox_y": 0, "bbox_w": 20, "bbox_h": 20,
    }  # fmt: skip
    (photos / "visual_genome_relation.json").write_text(json.dumps([row]))
    source = Source(annotations=str(photos / "visual_genome_relation.json"), images=str(photos))
    score = find("aro").run(BagOfWords(), source, Choices()).results[0]
    assert (score.benchmark, score.value) == ("aro_relation", 1)


def test_a_crop_shows_the_box_alone(photos):
    image = Image.open(photos / "a.png")
    boxes = [[(0.5, 0, 1, 1), (0, 0, 0.5, 1)], [(0.999, 0.999, 1, 1)], []]
    images, regions = Crops(BagOfWords()).encode_images([image] * 3, boxes)
    assert [[WORDS[r.argmax()] for r in found] for found in regions] == [
        ["blue", "red"], ["blue"], [],
    ]  # fmt: skip
    assert len(images) == 3


TOWER = {
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
}


def written_model(folder, kind, side=32):
    """A tiny one in the folder; its tokenizer, model and processor."""
    torch.manual_seed(0)
    tokenizer = learn_tokenizer(["a red mug", "a blue bird"], 400)
    text = TOWER | {
        "vocab_size": len(tokenizer), "max_position_embeddings": 16, "eos_token_id": 1,
        "bos_token_id": 0, "projection_size": 16,
    }  # fmt: skip
    vision = TOWER | {"image_size": side, "patch_size": 16}
    if kind == "clip":
        config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)
        model = CLIPModel(config).eval()
    else:
        model = SiglipModel(SiglipConfig(text_config=text, vision_config=vision)).eval()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    size = {"height": side, "width": side}
    processor = CLIPImageProcessorPil(size=size, do_center_crop=False)
    processor.save_pretrained(folder)
    return tokenizer, model, processor


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_models_of_transformers_embed_as_they_do_alone(tmp_path, photos, kind):
    folder = tmp_path / "model"
    tokenizer, model, processor = written_model(folder, kind)
    encoder = TransformersEncoder(str(folder))
    picture = Image.open(photos / "a.png").convert("RGB")
    images, _ = encoder.encode_images([picture], [()])
    texts = encoder.encode_texts(["a red mug", "a blue bird", "a red mug"], long=False)
    with torch.inference_mode():
        alone = tokenizer(["a blue bird"], padding="max_length", max_length=16, return_tensors="pt")
        given = dict(alone) if kind == "clip" else {"input_ids": alone["input_ids"]}
        given.pop("token_type_ids", None)
        text_found = model.get_text_features(**given).pooler_output[0].numpy()
        pixels = processor(images=picture, return_tensors="pt")["pixel_values"]
        image_found = model.get_image_features(pixels).pooler_output[0].numpy()
    assert np.allclose(texts[1], text_found / np.linalg.norm(text_found), atol=1e-5)
    assert np.allclose(images[0], image_found / np.linalg.norm(image_found), atol=1e-5)
    assert np.array_equal(texts[0], texts[2])
    _, regions = Crops(encoder).encode_images([picture], [[(0, 0, 1, 1), (0, 0, 0.5, 1)]])
    assert np.allclose(regions[0][0], images[0], atol=1e-5)


def test_siglip2_of_any_resolution_keeps_the_aspect(tmp_path, photos):
    torch.manual_seed(0)
    tokenizer = learn_tokenizer(["a red mug", "a blue bird"], 400)
    text = TOWER | {
        "vocab_size": len(tokenizer), "max_position_embeddings": 16, "eos_token_id": 1,
        "bos_token_id": 0, "projection_size": 16,
    }  # fmt: skip
    vision = TOWER | {"num_patches": 16, "patch_size": 8}
    model = Siglip2Model(Siglip2Config(text_config=text, vision_config=vision)).eval()
    processor = Siglip2ImageProcessorPil(patch_size=8, max_num_patches=16)
    for part in (tokenizer, model, processor):
        part.save_pretrained(tmp_path / "model")
    encoder = TransformersEncoder(str(tmp_path / "model"))
    settings = encoder.settings
    assert (settings["resize"], settings["max_patches"]) == ("aspect kept", 16)
    wide = Image.open(photos / "a.png").convert("RGB")
    both, _ = encoder.encode_images([wide, wide.crop((0, 0, 20, 20))], [()] * 2)
    with torch.inference_mode():
        alone = model.get_image_features(**processor(images=wide, return_tensors="pt"))
        given = tokenizer(["a blue bird"], padding="max_length", max_length=16, return_tensors="pt")
        text_alone = model.get_text_features(input_ids=given["input_ids"]).pooler_output[0].numpy()
    seen = alone.pooler_output[0].numpy()
    assert np.allclose(both[0], seen / np.linalg.norm(seen), atol=1e-5)
    texts = encoder.encode_texts(["a blue bird"], long=False)
    assert np.allclose(texts[0], text_alone / np.linalg.norm(text_alone), atol=1e-5)
    with pytest.raises(ModelNotFoundError, match="any size: give no --resize"):
        TransformersEncoder(str(tmp_path / "model"), fit="stretch")


def test_a_model_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ModelNotFoundError, match="No model of transformers"):
        TransformersEncoder(str(tmp_path))


def test_the_resize_is_the_processors_or_ones_own_and_told(tmp_path):
    written_model(tmp_path, "clip")
    picture = Image.linear_gradient("L").resize((90, 40)).convert("RGB")
    own = TransformersEncoder(str(tmp_path))
    assert (own.settings["resize"], own.settings["interpolation"]) == ("stretch", "bicubic")
    stretched = TransformersEncoder(str(tmp_path), fit="stretch")
    cut = TransformersEncoder(str(tmp_path), fit="crop", interpolation="bilinear")
    assert (cut.settings["resize"], cut.settings["interpolation"]) == ("crop", "bilinear")
    found = [e.encode_images([picture], [()])[0] for e in (own, stretched, cut)]
    assert np.allclose(found[0], found[1], atol=1e-6)
    assert not np.allclose(found[0], found[2], atol=1e-3)
    assert len({e.fingerprint() for e in (own, stretched, cut)}) >= 2
    assert own.fingerprint() == TransformersEncoder(str(tmp_path)).fingerprint()


def test_a_model_whose_images_do_not_divide_into_its_patches_is_refused(tmp_path):
    written_model(tmp_path, "siglip", side=40)
    with pytest.raises(ModelNotFoundError, match="40 pixels is no multiple of its patch of 16"):
        TransformersEncoder(str(tmp_path))
