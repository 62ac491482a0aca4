"""Two processes that train together give the loss and gradients of one on the joined batch."""

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing
from torch.nn.parallel import DistributedDataParallel

from datagen.training.objective import Encoder, LossConfig
from datagen.training.step import forward_backward
from tests.training.training_cases import (
    assert_same_gradients,
    batch_of,
    gradients,
    make_model,
    make_tokenizer,
    sample,
)

# Negatives of the regions of each image, of each rank. Neighbours share region texts.
CASES = {
    "regions on both": [[[3, 4], [2], [1, 1, 1]], [[5], [], [4, 4]]],
    "regions on one": [[[3], [2, 2]], [[], []]],
    "one region in all": [[[3], []], [[], []]],
    "different numbers of images": [[[3], [2], [0]], [[4, 4]]],
}
LOSSES = {"ours": LossConfig(), "published": LossConfig(same_text_is_negative=True)}


def samples_of(case):
    numbers = iter(range(100))
    return [[sample(next(numbers) * 2, n) for n in ranks] for ranks in CASES[case]]


def batches(case, tokenizer):
    """The joined batch, and each rank's."""
    parts = samples_of(case)
    joined = batch_of([s for part in parts for s in part], tokenizer)
    pixels = joined.pixels.split([len(part) for part in parts])
    return joined, [batch_of(s, tokenizer, p) for s, p in zip(parts, pixels, strict=True)]


def work(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/group", rank=rank, world_size=2)
    tokenizer = make_tokenizer()
    found = {}
    for case in CASES:
        for name, config in LOSSES.items():
            model = make_model(tokenizer)
            encoder = DistributedDataParallel(Encoder(model), broadcast_buffers=False)
            _, parts = batches(case, tokenizer)
            losses = forward_backward(encoder, [parts[rank]], config)
            found[case, name, 1] = losses.values(), gradients(model)
    case = "regions on both"
    model = make_model(tokenizer)
    encoder = DistributedDataParallel(Encoder(model), broadcast_buffers=False)
    joined, _ = batches(case, tokenizer)
    own = samples_of(case)[rank]
    pixels = joined.pixels[3 * rank : 3 * rank + 3]
    pieces = [batch_of(own[:2], tokenizer, pixels[:2]), batch_of(own[2:], tokenizer, pixels[2:])]
    losses = forward_backward(encoder, pieces, LOSSES["ours"])
    found[case, "ours", 2] = losses.values(), gradients(model)
    torch.save(found, f"{folder}/rank{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    torch.multiprocessing.spawn(work, (str(folder),), nprocs=2)
    return [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("case", CASES)
def test_two_processes_equal_one(results, case, name):
    tokenizer = make_tokenizer()
    model = make_model(tokenizer)
    joined, _ = batches(case, tokenizer)
    expected = forward_backward(Encoder(model), [joined], LOSSES[name]).values()
    exact = gradients(model)
    for rank in range(2):
        losses, found = results[rank][case, name, 1]
        assert losses == pytest.approx(expected, rel=1e-5, abs=1e-6)
        assert_same_gradients(found, exact)


def test_two_processes_with_cached_features_equal_one(results):
    for rank in range(2):
        expected, exact = results[rank]["regions on both", "ours", 1]
        losses, found = results[rank]["regions on both", "ours", 2]
        assert losses == pytest.approx(expected, rel=1e-5)
        assert_same_gradients(found, exact)
