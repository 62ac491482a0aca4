import math

import pytest
import torch
from torch.nn import functional

from datagen.training.losses import ABSENT, contrastive_loss, hard_negative_loss

SCALE = torch.tensor(5.0)


def unit(*shape):
    return functional.normalize(torch.randn(*shape), dim=-1)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def slow_info_nce(images, texts, scale, is_negative):
    """Both directions, one pair at a time."""
    total = 0.0
    for i in range(len(images)):
        own = math.exp(scale * images[i] @ texts[i])
        others = [j for j in range(len(images)) if j != i and is_negative(i, j)]
        by_image = own + sum(math.exp(scale * images[i] @ texts[j]) for j in others)
        by_text = own + sum(math.exp(scale * images[j] @ texts[i]) for j in others)
        total -= (math.log(own / by_image) + math.log(own / by_text)) / 2
    return total / len(images)


@pytest.mark.parametrize("tile", [2, 6, 100])
def test_contrastive_loss_equals_the_sum_written_out(tile):
    images, texts = unit(6, 8), unit(6, 8)
    slow = slow_info_nce(images, texts, 5.0, lambda i, j: True)
    assert float(contrastive_loss(images, texts, SCALE, tile=tile)) == pytest.approx(slow, rel=1e-5)


@pytest.mark.parametrize("names", [None, torch.tensor([0, 1, 0, 2, 1, 0, 3])])
def test_gradients_in_tiles_equal_those_of_the_whole_matrix(names):
    images, texts, scale = unit(7, 8), unit(7, 8), SCALE.clone()
    leaves = [x.double().requires_grad_() for x in (images, texts, scale)]
    logits = leaves[2] * leaves[0] @ leaves[1].T
    if names is not None:
        same = (names[:, None] == names) & ~torch.eye(7, dtype=torch.bool)
        logits = logits.masked_fill(same, float("-inf"))
    target = torch.arange(7)
    whole = functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target)
    slow = torch.autograd.grad(whole / 2, leaves)
    tiled = [x.clone().requires_grad_() for x in (images, texts, scale)]
    fast = torch.autograd.grad(contrastive_loss(*tiled, names, tile=3), tiled)
    for found, expected in zip(fast, slow, strict=True):
        torch.testing.assert_close(found, expected.float(), rtol=1e-5, atol=1e-6)


def test_regions_with_the_same_text_are_not_negatives_of_each_other():
    names = torch.tensor([0, 1, 0, 2, 1, 0])
    regions, texts = unit(6, 8), unit(3, 8)[names]
    masked = slow_info_nce(regions, texts, 5.0, lambda i, j: names[i] != names[j])
    assert float(contrastive_loss(regions, texts, SCALE, names)) == pytest.approx(masked, rel=1e-5)


def test_hard_negatives_may_differ_in_number():
    regions, candidates, counts = unit(3, 8), unit(3, 5, 8), [5, 2, 3]
    valid = torch.tensor([[i < n for i in range(5)] for n in counts])
    slow = 0.0
    for region, texts, n in zip(regions, candidates, counts, strict=True):
        parts = [math.exp(5.0 * region @ text) for text in texts[:n]]
        slow -= math.log(parts[0] / sum(parts))
    cosines = torch.einsum("he,hne->hn", regions, candidates).masked_fill(~valid, ABSENT)
    assert float(hard_negative_loss(cosines, SCALE)) == pytest.approx(slow, rel=1e-5)


def test_losses_of_nothing_are_zero_and_can_be_differentiated():
    regions = unit(0, 8).requires_grad_()
    loss = contrastive_loss(regions, unit(0, 8), SCALE)
    loss = loss + hard_negative_loss(regions @ unit(8, 11), SCALE)
    loss.backward()
    assert loss.item() == 0


def test_one_region_alone_has_nothing_to_be_told_from():
    names = torch.tensor([0])
    assert float(contrastive_loss(unit(1, 8), unit(1, 8), SCALE, names)) == pytest.approx(0)
