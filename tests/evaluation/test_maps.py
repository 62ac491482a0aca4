import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from datagen.evaluation.maps import similarity_maps
from datagen.images.fit import fitted
from datagen.training.batch import normalised
from datagen.training.config import ModelConfig
from datagen.training.encoder import ModelEncoder
from datagen.training.texts import learn_tokenizer
from datagen.training.weights import new_model

PHRASES = ["a red mug", "a blue bird on a wire"]


def dense_features(model, picture):
    """The paper's words, step by step: the last block without attention, on every patch."""
    square = np.stack([fitted(picture, model.image_size)])
    pixels = torch.from_numpy(square).permute(0, 3, 1, 2)
    tower = model.vision_model
    *_, before, _ = tower(normalised(pixels), output_hidden_states=True).hidden_states
    last = tower.encoder.layers[-1]
    attention = last.self_attn
    hidden = before + attention.out_proj(attention.v_proj(last.layer_norm1(before)))
    hidden = hidden + last.mlp(last.layer_norm2(hidden))
    dense = model.visual_projection(tower.post_layernorm(hidden[:, 1:]))
    return functional.normalize(dense, dim=-1)[0]


@torch.inference_mode()
def test_a_map_is_the_cosine_of_each_patch_before_any_mean():
    torch.manual_seed(0)
    tokenizer = learn_tokenizer(PHRASES, 300)
    sizes = ModelConfig(
        image_size=112, patch_size=16, vision_width=32, vision_layers=3, vision_heads=2,
        text_width=32, text_layers=2, text_heads=2, embedding=24,
    )  # fmt: skip
    model = new_model(sizes, len(tokenizer), tokenizer.bos_token_id, tokenizer.eos_token_id).eval()
    random = np.random.default_rng(0)
    picture = Image.fromarray(random.integers(0, 256, (90, 150, 3), np.uint8))
    encoder = ModelEncoder(model, tokenizer)
    found = similarity_maps(encoder, picture, PHRASES, encoder.grid)
    texts = torch.from_numpy(encoder.encode_texts(PHRASES, long=False))
    expected = (texts @ dense_features(model, picture).T).view(2, 7, 7)
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-6)
    assert np.ptp(found) > 0.01
