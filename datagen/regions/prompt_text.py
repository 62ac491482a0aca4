"""Phrases as the text that a Grounding DINO reads, and its answer read back phrase by phrase.

Nothing but numpy is imported here, so that detectors in other environments can use it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

# Grounding DINO's code splits a text into phrases at these ids of BERT's: [CLS], [SEP], ".", "?".
CLS, SEP, STOP = 101, 102, 1012
DELIMITERS = frozenset({CLS, SEP, STOP, 1029})


@dataclass(frozen=True)
class PromptText:
    """A text that holds phrases: "a mug . a red car ." as token ids.

    ``spans`` are the token positions of the words of each phrase, ``phrase_indices`` the phrases'
    positions in the caller's list.
    """

    ids: tuple[int, ...]
    spans: tuple[tuple[int, ...], ...]
    phrase_indices: tuple[int, ...]


def prompt_texts(
    phrases: Sequence[str],
    encode: Callable[[str], Sequence[int]],
    token_of: Callable[[int], str],
    limit: int,
) -> Iterator[PromptText]:
    """The phrases in as few texts as hold them; those without a token are left out.

    Args:
        phrases: in any case; they are asked for in lower case.
        encode: the token ids of a string, without special tokens.
        token_of: the token of an id.
        limit: tokens that a text may have, special ones included.
    """
    ids: list[int] = [CLS]
    spans: list[tuple[int, ...]] = []
    indices: list[int] = []
    for index, phrase in enumerate(phrases):
        # Without delimiters, for "a St. Bernard" must stay one phrase. A phrase has the text's
        # limit without [CLS], full stop and [SEP].
        tokens = [i for i in encode(phrase.lower()) if i not in DELIMITERS][: limit - 3]
        if not tokens:
            continue
        if len(ids) + len(tokens) + 2 > limit:
            yield PromptText((*ids, SEP), tuple(spans), tuple(indices))
            ids, spans, indices = [CLS], [], []
        # Punctuation does not count, unless there is nothing else.
        words = [i for i, token in enumerate(tokens) if any(map(str.isalnum, token_of(token)))]
        spans.append(tuple(len(ids) + i for i in words or range(len(tokens))))
        indices.append(index)
        ids += [*tokens, STOP]
    if indices:
        yield PromptText((*ids, SEP), tuple(spans), tuple(indices))


def candidates(
    chances: np.ndarray, boxes: np.ndarray, text: PromptText, floor: float
) -> list[tuple[int, tuple[float, float, float, float], float]]:
    """Phrase, box and score of every query that shows a phrase with a score of at least the floor.

    The score of a phrase is the mean over the tokens of its own words.

    Args:
        chances: (queries, tokens), sigmoids, 0..1.
        boxes: (queries, 4), centre x, centre y, width, height in 0..1 of the image's sides.
        text: what was asked.
        floor: lowest score, 0..1.

    Returns:
        (position in the caller's list of phrases, (x1, y1, x2, y2), score), best score first.
    """
    scores = np.stack([chances[:, list(span)].mean(-1) for span in text.spans], -1)
    half = boxes[:, 2:] / 2
    corners = np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], -1)
    queries, phrases = np.nonzero(scores >= floor)
    found = []
    for query, phrase in zip(queries, phrases, strict=True):
        x1, y1, x2, y2 = corners[query].tolist()
        box = (x1, y1, x2, y2)
        found.append((text.phrase_indices[phrase], box, float(scores[query, phrase])))
    return sorted(found, key=lambda candidate: -candidate[2])
