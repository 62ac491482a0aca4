import math

import pytest
import torch
from torch.nn import functional

from datagen.training.losses import contrastive_loss, hard_negative_loss, region_loss

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


def test_contrastive_loss_equals_the_sum_written_out():
    images, texts = unit(6, 8), unit(6, 8)
    slow = slow_info_nce(images, texts, 5.0, lambda i, j: True)
    assert float(contrastive_loss(images, texts, SCALE)) == pytest.approx(slow, rel=1e-5)


def test_regions_with_the_same_text_are_not_negatives_of_each_other():
    names = torch.tensor([0, 1, 0, 2, 1, 0])
    regions, texts = unit(6, 8), unit(3, 8)[names]
    masked = slow_info_nce(regions, texts, 5.0, lambda i, j: names[i] != names[j])
    assert float(region_loss(regions, texts, SCALE, names)) == pytest.approx(masked, rel=1e-5)
    published = slow_info_nce(regions, texts, 5.0, lambda i, j: True)
    assert float(region_loss(regions, texts, SCALE, None)) == pytest.approx(published, rel=1e-5)


def test_hard_negatives_may_differ_in_number():
    regions, candidates, counts = unit(3, 8), unit(3, 5, 8), [5, 2, 3]
    valid = torch.tensor([[i < n for i in range(5)] for n in counts])
    slow = 0.0
    for region, texts, n in zip(regions, candidates, counts, strict=True):
        parts = [math.exp(5.0 * region @ text) for text in texts[:n]]
        slow -= math.log(parts[0] / sum(parts)) / 3
    assert float(hard_negative_loss(regions, candidates, valid, SCALE)) == pytest.approx(
        slow, rel=1e-5
    )


def test_losses_of_nothing_are_zero_and_can_be_differentiated():
    regions = unit(0, 8).requires_grad_()
    none = torch.zeros(0, 11, dtype=torch.bool)
    loss = region_loss(regions, unit(0, 8), SCALE, torch.zeros(0, dtype=torch.long))
    loss = loss + hard_negative_loss(regions, unit(0, 11, 8), none, SCALE)
    loss.backward()
    assert loss.item() == 0


def test_one_region_alone_has_nothing_to_be_told_from():
    assert float(region_loss(unit(1, 8), unit(1, 8), SCALE, torch.tensor([0]))) == 0
