"""The fast path held against a slow one, written as the paper says: every text padded and encoded
for itself, every image for itself, the whole grid of dense features, RoIAlign sample by sample."""

import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from datagen.training.objective import Encoder, LossConfig, compute_losses
from datagen.training.step import forward_backward
from datagen.training.weights import new_model
from tests.training.training_cases import (
    SIZES,
    assert_same_gradients,
    batch_of,
    gradients,
    make_model,
    make_tokenizer,
    sample,
)

PUBLISHED = LossConfig(same_text_is_negative=True)

BATCHES = {
    "no region": [[], [], []],
    "one region": [[], [10], []],
    "one region without negatives": [[], [0], []],
    "no negative": [[0, 0], [0], [0]],
    "1 to 20 negatives": [[1, 20, 7], [0, 3], [10, 10]],
    "more than 4 regions": [[2, 3, 4, 5, 6, 7, 8], [], [1] * 6],
    "as published": [[10] * 4, [10] * 3, [10] * 4],
}


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer()


@pytest.fixture
def model(tokenizer):
    return make_model(tokenizer)


class Slow:
    """transformers' own modules, one text and one image at a time."""

    def __init__(self, model, tokenizer):
        self.model, self.tokenizer = model, tokenizer

    def text(self, text, long=False):
        model, length = self.model, 248 if long else 77
        ids = self.tokenizer(
            text, max_length=length, padding="max_length", truncation=True, return_tensors="pt"
        )["input_ids"]
        table = model.text_model.embeddings
        positions = table.position_embedding.weight
        if long:
            kept = (torch.arange(248) < 20)[:, None]
            positions = torch.where(
                kept, table.position_embedding_ori.weight, table.position_embedding_res.weight
            )
        hidden = table.token_embedding(ids) + positions
        mask = torch.full((length, length), float("-inf")).triu(1)
        for layer in model.text_model.encoder.layers:
            hidden = layer(hidden, mask[None, None])
        end = int((ids[0] == self.tokenizer.eos_token_id).int().argmax())
        pooled = model.text_model.final_layer_norm(hidden)[:, end]
        projection = model.text_filip_projection if long else model.text_projection
        return functional.normalize(projection(pooled)[0], dim=0)

    def image(self, pixels, boxes):
        tower = self.model.vision_model
        hidden = tower.pre_layrnorm(tower.embeddings(pixels[None]))
        *layers, last = tower.encoder.layers
        for layer in layers:
            hidden = layer(hidden, None)
        pooled = tower.post_layernorm(last(hidden, None))[0, 0]
        dense = hidden + last.self_attn.out_proj(last.self_attn.v_proj(last.layer_norm1(hidden)))
        dense = dense + last.mlp(last.layer_norm2(dense))
        dense = self.model.visual_projection(tower.post_layernorm(dense))[0, 1:].view(4, 4, -1)
        regions = [functional.normalize(roi_align(dense, box), dim=0) for box in boxes]
        return functional.normalize(self.model.visual_projection(pooled), dim=0), regions


def roi_align(grid, box):
    """One output cell, aligned, adaptive sampling; boxes lie inside the picture."""
    size = len(grid)
    x1, y1, x2, y2 = (torch.tensor(v) * size - 0.5 for v in box)
    across, down = max(1, math.ceil(x2 - x1)), max(1, math.ceil(y2 - y1))
    total = 0
    for i in range(down):
        for j in range(across):
            y = min(max(float(y1 + (i + 0.5) * (y2 - y1) / down), 0), size - 1)
            x = min(max(float(x1 + (j + 0.5) * (x2 - x1) / across), 0), size - 1)
            top, left = min(int(y), size - 2), min(int(x), size - 2)
            b, r = y - top, x - left
            total = total + (1 - b) * ((1 - r) * grid[top, left] + r * grid[top, left + 1])
            total = total + b * ((1 - r) * grid[top + 1, left] + r * grid[top + 1, left + 1])
    return total / (across * down)


def info_nce(images, texts, scale):
    logits = scale * torch.stack(images) @ torch.stack(texts).T
    target = torch.arange(len(images))
    return (
        functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target)
    ) / 2


def slow_losses(model, tokenizer, samples, pixels):
    """The four terms, equal texts being each other's negatives."""
    slow = Slow(model, tokenizer)
    found = [
        slow.image(p, [r.box for r in s.regions]) for p, s in zip(pixels, samples, strict=True)
    ]
    images, regions = [image for image, _ in found], [r for _, rs in found for r in rs]
    told = [r for s in samples for r in s.regions]
    scales = [
        s.exp()
        for s in (model.logit_scale, model.logit_scale_finegraind, model.logit_scale_hardneg)
    ]
    zero = torch.zeros(())
    hard = []
    for feature, said in zip(regions, told, strict=True):
        if said.negatives:
            texts = torch.stack([slow.text(t) for t in (said.phrase, *said.negatives)])
            logits = scales[2] * texts @ feature
            hard.append(functional.cross_entropy(logits[None], torch.tensor([0])))
    return [
        info_nce(images, [slow.text(s.long, long=True) for s in samples], scales[0]),
        info_nce(images, [slow.text(s.short) for s in samples], scales[0]),
        info_nce(regions, [slow.text(r.text) for r in told], scales[1]) if told else zero,
        torch.stack(hard).mean() if hard else zero,
    ]


@pytest.mark.parametrize("kind", BATCHES)
def test_every_term_and_gradient_equals_the_slow_form(model, tokenizer, kind):
    samples = [sample(i, negatives) for i, negatives in enumerate(BATCHES[kind])]
    batch = batch_of(samples, tokenizer)
    terms = slow_losses(model, tokenizer, samples, batch.pixels)
    weights = [1.0, 1.0, 0.1, 0.5]
    sum(w * t for w, t in zip(weights, terms, strict=True)).backward()
    expected = gradients(model)
    losses = forward_backward(Encoder(model), [batch], PUBLISHED)
    for name, term in zip(("long", "short", "region", "hard"), terms, strict=True):
        assert losses.values()[name] == pytest.approx(term.item(), rel=1e-5, abs=1e-6), name
    assert_same_gradients(gradients(model), expected)


def test_each_term_alone_has_the_gradient_of_the_slow_form(model, tokenizer):
    samples = [sample(i, negatives) for i, negatives in enumerate(BATCHES["1 to 20 negatives"])]
    batch = batch_of(samples, tokenizer)
    for number, name in enumerate(("long", "short", "region", "hard")):
        slow_losses(model, tokenizer, samples, batch.pixels)[number].backward()
        expected = {n: g for n, g in gradients(model).items() if g.any()}
        weights = {f"{n}_weight": float(n == name) for n in ("long", "short", "region", "hard")}
        forward_backward(Encoder(model), [batch], replace(PUBLISHED, **weights))
        assert_same_gradients(gradients(model), expected)


def test_cached_features_give_the_gradients_of_the_whole_batch(model, tokenizer):
    kinds = [[1, 20, 7], [0, 3], [], [10, 10], [5], [2, 2]]
    samples = [sample(i, negatives) for i, negatives in enumerate(kinds)]
    whole = batch_of(samples, tokenizer)
    pieces = []
    for part in (slice(0, 2), slice(2, 3), slice(3, 6)):
        piece = batch_of(samples[part], tokenizer)
        pieces.append(replace(piece, pixels=whole.pixels[part]))
    encoder = Encoder(model)
    expected_losses = forward_backward(encoder, [whole], LossConfig()).values()
    expected = gradients(model)
    losses = forward_backward(encoder, pieces, LossConfig()).values()
    assert losses == pytest.approx(expected_losses, rel=1e-5)
    assert_same_gradients(gradients(model), expected)


def test_checkpointing_changes_nothing(model, tokenizer):
    batch = batch_of([sample(i, [3, 4]) for i in range(3)], tokenizer)
    forward_backward(Encoder(model), [batch], LossConfig())
    expected = gradients(model)
    model.checkpointing = True
    forward_backward(Encoder(model), [batch], LossConfig())
    assert_same_gradients(gradients(model), expected)


def test_bfloat16_stays_near(model, tokenizer):
    batch = batch_of([sample(i, [3, 4]) for i in range(3)], tokenizer)
    exact = forward_backward(Encoder(model), [batch], LossConfig()).values()
    expected = gradients(model)
    half = forward_backward(Encoder(model), [batch], LossConfig(), half=True).values()
    assert half == pytest.approx(exact, rel=0.02)
    assert_same_gradients(gradients(model), expected, tolerance=0.1)


@pytest.mark.parametrize("activation", ["gelu", "relu"])
def test_other_activations_of_clip_configurations_work(tokenizer, activation):
    torch.manual_seed(0)
    sizes = replace(SIZES, activation=activation, vision_width=48, vision_heads=3)
    model = new_model(sizes, len(tokenizer), tokenizer.bos_token_id, tokenizer.eos_token_id)
    samples = [sample(i, [2]) for i in range(2)]
    batch = batch_of(samples, tokenizer)
    terms = slow_losses(model, tokenizer, samples, batch.pixels)
    losses = compute_losses(Encoder(model)(batch), batch.names, PUBLISHED).values()
    assert losses["hard"] == pytest.approx(terms[3].item(), rel=1e-5)
    assert losses["long"] == pytest.approx(terms[0].item(), rel=1e-5)


def test_compiled_blocks_change_nothing(model, tokenizer):
    batch = batch_of([sample(i, [3, 4]) for i in range(3)], tokenizer)
    forward_backward(Encoder(model), [batch], LossConfig())
    expected = gradients(model)
    model.compiled = True
    forward_backward(Encoder(model), [batch], LossConfig())
    assert_same_gradients(gradients(model), expected)
