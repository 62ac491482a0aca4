"""The check that needs a model: is a new value, which the lexicon does not know, another word for
the old one?

Sentence embeddings tell spellings and close synonyms apart from the rest. They do not tell
opposites from synonyms ("wet" is near "dry"), so the lexicon has the last word on its own values.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from datagen.negatives.drafts import OTHER_OBJECT, Draft
from datagen.negatives.lexicon import Lexicon

NAME = "meaning"
SENTENCE = "a {} object"
"""Values are compared in it: alone, they are nearer to other senses of theirs."""


class Embedder(Protocol):
    """What makes unit vectors of texts."""

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(n, E) of n texts."""
        ...


class Meaning:
    """Compares values, each of which is encoded once.

    Args:
        most: cosine, up to 1, from which on two values mean the same.
    """

    def __init__(self, embedder: Embedder, lexicon: Lexicon, most: float) -> None:
        self._embedder, self._lexicon, self._most = embedder, lexicon, most
        self._vectors: dict[str, NDArray[np.float32]] = {}

    def failures(self, drafts: Sequence[Draft]) -> list[str | None]:
        """For each draft why it is refused, or None. One call encodes all new values together."""
        pairs = [self._unknown(draft) for draft in drafts]
        new = {value for some in pairs for pair in some for value in pair} - self._vectors.keys()
        if new:
            ordered = sorted(new)
            self._vectors |= zip(
                ordered, self._embedder.encode([SENTENCE.format(v) for v in ordered]), strict=True
            )
        return [self._failure(some) for some in pairs]

    def _unknown(self, draft: Draft) -> list[tuple[str, str]]:
        """Old and new values of a draft whose new value the lexicon does not know."""
        if draft.change == OTHER_OBJECT:
            return []
        values = [(draft.old(e).lower(), draft.new(e).lower()) for e in draft.edits if e.slot]
        split = self._lexicon.split_shade
        return [(old, new) for old, new in values if self._lexicon.kind_of(split(new)[1]) is None]

    def _failure(self, pairs: Sequence[tuple[str, str]]) -> str | None:
        for old, new in pairs:
            if float(self._vectors[old] @ self._vectors[new]) >= self._most:
                return f"{new!r} means about the same as {old!r}"
        return None
