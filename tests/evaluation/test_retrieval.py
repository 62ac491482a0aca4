"""Retrieval against a slow form that looks at every pair."""

import numpy as np
import pytest
from PIL import Image

from datagen.evaluation import retrieval
from datagen.evaluation.nearest import nearest
from datagen.evaluation.rows_on_disk import RowsOnDisk


class Drawn:
    """Few different embeddings, so that many scores are the same."""

    def __init__(self):
        self.random = np.random.default_rng(0)
        self.images = self.random.integers(-2, 3, (70, 3)).astype(np.float32)
        self.known, self.texts = {}, []

    def encode_images(self, pictures, boxes):
        rows = [self.images[picture.getpixel((0, 0))[0]] for picture in pictures]
        return np.stack(rows), [np.zeros((0, 3), np.float32)] * len(pictures)

    def encode_texts(self, texts, *, long):
        self.texts += texts
        for text in texts:
            self.known[text] = self.random.integers(-2, 3, 3).astype(np.float32)
        return np.stack([self.known[text] for text in texts])


def slow_recall(queries, gallery, own, k, ties):
    """Share of queries of which fewer than k others stand before their best own one."""
    hits = 0
    for query, mine in zip(queries, own, strict=True):
        scores = gallery @ query
        best = max(scores[i] for i in mine)
        others = [s for i, s in enumerate(scores) if i not in mine]
        hits += sum(s >= best if ties == "wrong" else s > best for s in others) < k
    return hits / len(queries)


@pytest.mark.parametrize("ties", ["wrong", "correct"])
def test_recall_both_ways_is_that_of_a_count_over_all_pairs(ties):
    encoder = Drawn()
    pictures, texts, captions_of = [], [], []
    for i in range(70):
        found = [f"{i} {j}" for j in range(1 + i % 3)] + (["said of many"] if i % 10 == 0 else [])
        captions_of.append(range(len(texts), len(texts) + len(found)))
        texts += found
        pictures.append((str(i), Image.new("RGB", (1, 1), (i, 0, 0)), found))
    outcome = retrieval.measure(encoder, pictures, name="b", long=False, ties=ties)
    of_texts = np.stack([encoder.known[text] for text in texts])
    image_of = [[i] for i, mine in enumerate(captions_of) for _ in mine]
    for result in outcome.results:
        way, k = result.metric.split("_r")
        given = (encoder.images, of_texts, captions_of)
        given = given if way == "i2t" else (of_texts, encoder.images, image_of)
        assert result.value == slow_recall(*given, int(k), ties)
    assert sorted(encoder.texts) == sorted(set(texts))  # each once
    assert len(outcome.items) == 70 + len(texts)


@pytest.mark.parametrize("tile", [3, 8, 100])
def test_the_nearest_are_found_in_tiles_as_by_a_sort(tile):
    random = np.random.default_rng(tile)
    queries, gallery = (random.standard_normal((n, 4)).astype(np.float32) for n in (11, 30))
    own_q, own_g = np.arange(11), random.integers(0, 10, 30)  # the last query has none
    found = nearest(queries, gallery, own_q, own_g, count=4, tile=tile)
    for i, scores in enumerate(queries @ gallery.T):
        order = np.argsort(-scores)
        mine = [j for j in order if own_g[j] == i]
        assert found.own[i] == (mine[0] if mine else -1)
        assert found.others[i].tolist() == [j for j in order if own_g[j] != i][:4]
        assert np.allclose(found.other_scores[i], scores[found.others[i]], atol=1e-6)


def test_rows_on_disk_are_the_rows_that_were_given():
    rows = np.arange(24, dtype=np.float32).reshape(8, 3)
    kept = RowsOnDisk()
    for part in np.split(rows, 4):
        kept.append(part)
    found = kept.array()
    assert isinstance(found, np.memmap) and np.array_equal(found, rows)
