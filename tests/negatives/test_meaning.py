import numpy as np

from datagen.negatives.lexicon import load_lexicon
from datagen.negatives.meaning import Meaning
from datagen.negatives.rewriter import compare
from datagen.negatives.slots import Slot
from datagen.text_embeddings import TextEmbedder

LEXICON = load_lexicon()


def draft(positive, old, new):
    start = positive.index(old)
    slot = Slot("colour", old, start, start + len(old), "mug")
    return compare(positive, positive.replace(old, new), [slot])


def test_a_word_that_the_lexicon_lacks_is_judged_by_its_meaning():
    meaning = Meaning(TextEmbedder(), LEXICON, most=0.8)
    same, other, known = meaning.failures(
        [
            draft("a gray mug", "gray", "grayish"),
            draft("a gray mug", "gray", "holographic"),
            draft("a red mug", "red", "blue"),  # the lexicon knows these two
        ]
    )
    assert same == "'grayish' means about the same as 'gray'"
    assert other is None
    assert known is None


def test_each_value_is_encoded_once():
    asked = []

    class Counting:
        def encode(self, texts):
            asked.extend(texts)
            return np.eye(len(texts), 8, dtype=np.float32)

    embedder = Counting()
    meaning = Meaning(embedder, LEXICON, most=0.7)
    for _ in range(3):
        meaning.failures([draft("a gray mug", "gray", "ashen")])
    assert asked == ["a ashen object", "a gray object"]
