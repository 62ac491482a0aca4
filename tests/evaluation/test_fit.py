"""How a picture becomes the model's square, held against transformers' own processor."""

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPConfig, CLIPImageProcessorPil

from datagen.engines.errors import ModelNotFoundError
from datagen.evaluation.cache import CachedEncoder, EmbeddingStore
from datagen.images.fit import fitted
from datagen.training.encoder import ModelEncoder
from datagen.training.model import FGCLIP
from datagen.training.texts import learn_tokenizer
from datagen.training.weights import load_model, save_model
from tests.evaluation.test_pairs_and_models import TOWER

SIDE = 32


def photo(width, height):
    random = np.random.default_rng(0)
    return Image.fromarray(random.integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize("size", [(90, 41), (33, 77), (20, 15), (32, 32)])
@pytest.mark.parametrize("how", ["bicubic", "bilinear", "lanczos"])
@pytest.mark.parametrize("fit", ["crop", "stretch"])
def test_the_square_is_that_of_clips_processor(fit, how, size):
    cut = fit == "crop"
    square = {"height": SIDE, "width": SIDE}
    processor = CLIPImageProcessorPil(
        size={"shortest_edge": SIDE} if cut else square,
        do_center_crop=cut,
        crop_size=square,
        resample=Image.Resampling[how.upper()],
        do_rescale=False,
        do_normalize=False,
    )
    theirs = np.asarray(processor(images=photo(*size))["pixel_values"][0]).transpose(1, 2, 0)
    ours = np.asarray(fitted(photo(*size), SIDE, fit, how))
    assert np.array_equal(ours, theirs.round().astype(np.uint8))


def tiny_model():
    torch.manual_seed(0)
    tokenizer = learn_tokenizer(["a red mug"], 400)
    text = TOWER | {
        "vocab_size": len(tokenizer), "max_position_embeddings": 32,
        "eos_token_id": tokenizer.eos_token_id, "bos_token_id": tokenizer.bos_token_id,
    }  # fmt: skip
    vision = TOWER | {"image_size": SIDE, "patch_size": 16}
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)
    return FGCLIP(config), tokenizer


def test_another_resize_is_told_and_shares_no_embeddings_with_the_first():
    model, tokenizer = tiny_model()
    store, found, told = EmbeddingStore(), [], []
    chosen = [("stretch", "bicubic"), ("crop", "bicubic"), ("stretch", "bilinear")]
    for fit, how in chosen:
        alone = ModelEncoder(model, tokenizer, fit=fit, interpolation=how)
        kept = CachedEncoder(alone, store)
        found.append(kept.encode_images([photo(90, 41)], [()])[0])
        assert np.allclose(found[-1], alone.encode_images([photo(90, 41)], [()])[0], atol=1e-6)
        told.append((kept.settings["resize"], kept.settings["interpolation"]))
    assert told == chosen
    assert not any(np.allclose(found[0], other, atol=1e-4) for other in found[1:])


def test_a_model_whose_images_do_not_divide_into_its_patches_is_refused(tmp_path):
    save_model(tiny_model()[0], tmp_path)
    file = tmp_path / "config.json"
    file.write_text(file.read_text().replace('"image_size": 32', '"image_size": 40'))
    with pytest.raises(ModelNotFoundError, match="40 pixels is no multiple of its patch of 16"):
        load_model(tmp_path)
