import numpy as np
import pytest

from datagen.evaluation.ranks import TIE, ranks


def slow_ranks(queries, gallery, own_q, own_g, ties):
    found = []
    for query, owner in zip(queries, own_q, strict=True):
        scores = gallery.astype(np.float64) @ query
        own = [s for s, o in zip(scores, own_g, strict=True) if o == owner]
        others = [s for s, o in zip(scores, own_g, strict=True) if o != owner]
        if not own:
            found.append(len(gallery))
            continue
        limit = max(own) - TIE if ties == "wrong" else max(own) + TIE
        found.append(sum(score > limit for score in others))
    return found


def both_slow(left, right, own_l, own_r, ties):
    return slow_ranks(left, right, own_l, own_r, ties), slow_ranks(right, left, own_r, own_l, ties)


@pytest.mark.parametrize("ties", ["wrong", "correct"])
@pytest.mark.parametrize("tile", [3, 7, 1000])
def test_ranks_in_tiles_equal_the_slow_form_with_ties_as_stated(ties, tile):
    random = np.random.default_rng(tile)
    left = random.integers(-2, 3, (20, 2)).astype(np.float32)  # small numbers: many ties
    right = random.integers(-2, 3, (50, 2)).astype(np.float32)
    own_l, own_r = random.permutation(20), random.integers(0, 22, 50)  # some have none
    found = ranks(left, right, own_l, own_r, ties=ties, tile=tile)
    assert tuple(side.tolist() for side in found) == both_slow(left, right, own_l, own_r, ties)


@pytest.mark.parametrize("ties", ["wrong", "correct"])
def test_equal_captions_tie_however_their_products_are_rounded(ties):
    random = np.random.default_rng(0)
    unit = random.standard_normal((300, 97)).astype(np.float32)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    images = unit[:100]
    texts = np.concatenate([unit, unit[:31]])  # the caption of an image, said of the next one too
    own_i, own_t = np.arange(100), np.arange(331) % 100
    own_t[300:] += 1
    found = ranks(images, texts, own_i, own_t, ties=ties, tile=64)
    assert tuple(side.tolist() for side in found) == both_slow(images, texts, own_i, own_t, ties)
    assert (found[0] == 0).sum() == (100 - 31 if ties == "wrong" else 100)


def test_embeddings_may_lie_on_disk(tmp_path):
    random = np.random.default_rng(0)
    rows = random.standard_normal((2, 40, 8)).astype(np.float32)
    for name, part in zip("ab", rows, strict=True):
        np.save(tmp_path / f"{name}.npy", part)
    on_disk = [np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in "ab"]
    own = np.arange(40)
    for there, here in zip(ranks(*on_disk, own, own, tile=16), ranks(*rows, own, own), strict=True):
        assert np.array_equal(there, here)


def test_nothing_in_common_is_found_nowhere():
    rows = np.eye(3, dtype=np.float32)
    of_left, of_right = ranks(rows, rows[:2], np.arange(3), np.array([7, 8]))
    assert of_left.tolist() == [2, 2, 2] and of_right.tolist() == [3, 3]
