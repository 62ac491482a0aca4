"""Small models and batches of every kind, for the tests of a step."""

import numpy as np
import pytest
import torch

from datagen.training.batch import collate
from datagen.training.config import ModelConfig
from datagen.training.data import Region, Sample
from datagen.training.texts import TextEncoder, learn_tokenizer
from datagen.training.weights import new_model

SIZES = ModelConfig(
    image_size=64, vision_width=32, vision_layers=3, vision_heads=2, text_width=32, text_layers=3,
    text_heads=2, embedding=24,
)  # fmt: skip
COLOURS = ["red", "green", "dark blue", "pale grey", "yellow", "black"]
THINGS = ["mug", "bird on a wire", "chair", "old wooden door"]


def region(number, negatives):
    colour, thing = COLOURS[number % 6], THINGS[number % 4]
    x, y = (number * 0.13) % 0.5, (number * 0.29) % 0.6
    others = [f"a {c} {thing} {i}" for i in range(4) for c in COLOURS if c != colour]
    phrase = f"a {colour} {thing}"
    text = phrase if number % 3 else f"{phrase} in the background"
    return Region((x, y, x + 0.17, y + 0.33), phrase, text, tuple(others[:negatives]))


def sample(number, negatives):
    """With as many regions as there are numbers of negatives."""
    regions = tuple(region(number + i, count) for i, count in enumerate(negatives))
    long = f"The picture {number} shows " + ", then ".join(r.text for r in regions) * 3
    return Sample(str(number), np.empty((0, 0, 3), np.uint8), long, f"picture {number}", regions)


def make_tokenizer():
    samples = [sample(i, [20] * 4) for i in range(4)]
    texts = [s.long for s in samples] + [t for s in samples for r in s.regions for t in r.negatives]
    return learn_tokenizer(texts, 500)


def make_model(tokenizer):
    torch.manual_seed(0)
    model = new_model(SIZES, len(tokenizer), tokenizer.bos_token_id, tokenizer.eos_token_id)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1 or "position" in name:
                parameter.add_(torch.randn_like(parameter) * 0.05)
        model.logit_scale_finegraind.fill_(2.0)
        model.logit_scale_hardneg.fill_(1.5)
    return model


def batch_of(samples, tokenizer, pixels=None):
    if pixels is None:
        pixels = torch.randn(len(samples), 3, 64, 64, generator=torch.Generator().manual_seed(0))
    encoder = TextEncoder(tokenizer, 77, 248)
    return collate(pixels, samples, [s.regions for s in samples], encoder)


def gradients(model):
    found = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad(set_to_none=True)
    return found


def assert_same_gradients(found, expected, tolerance=1e-5):
    def norm(grads):
        return torch.stack([g.double().norm() for g in grads]).norm()

    assert float(norm(found.values())) == pytest.approx(
        float(norm(expected.values())), rel=tolerance
    )
    zero = torch.zeros(())
    names = found.keys() | expected.keys()
    difference = norm([found.get(n, zero) - expected.get(n, zero) for n in names])
    assert float(difference / norm(expected.values())) < tolerance
