"""Nothing is encoded twice: not within a run, not by the next one, and not after a kill."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datagen.evaluation.cache import FILE, CachedEncoder, EmbeddingStore
from datagen.evaluation.items import EvaluationError
from tests.evaluation.words import WORDS, BagOfWords

BOXES = [[(0, 0, 1, 1), (0, 0, 0.5, 1)], [(0, 0, 1, 1)], []]


def picture(word):
    return Image.new("RGB", (8, 4), (WORDS.index(word), 0, 0))


def encoded(store, fingerprint="a"):
    inner = BagOfWords(fingerprint)
    return inner, CachedEncoder(inner, store)


def test_the_same_embeddings_come_back_and_nothing_is_asked_twice(tmp_path):
    pictures = [picture("red"), picture("blue"), picture("red")]
    plain_images, plain_boxes = BagOfWords().encode_images(pictures, BOXES)
    for run in range(2):
        inner, cached = encoded(EmbeddingStore(tmp_path))
        images, boxes = cached.encode_images(pictures, BOXES)
        assert np.array_equal(images, plain_images)
        assert all(map(np.array_equal, boxes, plain_boxes))
        texts = cached.encode_texts(["red mug", "bird", "red mug"], long=False)
        assert np.array_equal(texts, BagOfWords().encode_texts(["red mug", "bird"] * 2, long=0)[:3])
        cached.encode_images(pictures[:1], [[]])
        # two pictures are the same, and the second run finds all
        assert (inner.pictures, len(inner.texts)) == ((2, 2) if run == 0 else (0, 0))


def test_what_is_new_is_encoded_and_that_alone():
    inner, cached = encoded(EmbeddingStore())
    cached.encode_images([picture("red")], [[]])
    cached.encode_images([picture("red"), picture("blue")], [[(0, 0, 1, 1)], []])
    assert inner.pictures == 3  # red once more, for its box
    cached.encode_images([picture("red")], [[(0, 0, 1, 1)]])
    cached.encode_texts(["red"], long=False)
    cached.encode_texts(["red"], long=True)
    assert inner.pictures == 3 and inner.texts == ["red", "red"]


def test_another_models_embeddings_are_not_taken():
    store = EmbeddingStore()
    for fingerprint in "ab":
        inner, cached = encoded(store, fingerprint)
        cached.encode_images([picture("red")], [[]])
        assert inner.pictures == 1


def test_a_place_that_cannot_keep_anything_is_named(tmp_path):
    (tmp_path / FILE).write_bytes(b"no database at all" * 100)
    with pytest.raises(EvaluationError, match=r"cannot be kept.*--cache"):
        EmbeddingStore(tmp_path)


EVALUATION = """
import sys, time
from pathlib import Path
from datagen.evaluation.benchmark import Choices, Source, find
from datagen.evaluation.cache import CachedEncoder, EmbeddingStore
from tests.evaluation.words import BagOfWords

class Slow(BagOfWords):
    def encode_images(self, pictures, boxes):
        with open(sys.argv[3], "a") as log:
            print(*(p.getpixel((1, 0)) for p in pictures), sep="\\n", file=log)
        time.sleep(0.3 if sys.argv[4] == "slowly" else 0)
        return super().encode_images(pictures, boxes)

encoder = CachedEncoder(Slow(), EmbeddingStore(sys.argv[2]))
source = Source(annotations=sys.argv[1] + "/texts", images=sys.argv[1] + "/images")
outcome = find("urban1k").run(encoder, source, Choices())
print(outcome.results[0].n)
"""


def test_an_evaluation_that_is_killed_does_not_encode_again(tmp_path):
    folders = [tmp_path / "images", tmp_path / "texts"]
    for folder in folders:
        folder.mkdir()
    for i in range(300):  # five batches
        image = Image.new("RGB", (4, 4), (i % 5, 0, 0))
        image.putpixel((1, 0), (i % 256, i // 256, 7))
        image.save(folders[0] / f"{i}.png")
        (folders[1] / f"{i}.txt").write_text(f"red {i}")
    log = tmp_path / "log"
    command = [sys.executable, "-c", EVALUATION, str(tmp_path), str(tmp_path / "cache"), str(log)]
    here = Path(__file__).parents[2]
    with subprocess.Popen([*command, "slowly"], cwd=here) as run:
        while not log.exists() or len(log.read_text().splitlines()) < 150:
            assert run.poll() is None
            time.sleep(0.02)
        os.kill(run.pid, signal.SIGKILL)
    before = log.read_text().splitlines()
    done = subprocess.run([*command, "fast"], cwd=here, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "300"
    lines = log.read_text().splitlines()
    assert len(set(lines)) == 300
    assert len(before) < 300 and len(lines) <= 300 + 64  # the batch in flight is done again
