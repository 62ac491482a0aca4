"""Ranks in retrieval, both ways at once, in tiles: no matrix of all scores is ever there."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Literal

import numpy as np
from numpy.typing import NDArray

RankTies = Literal["wrong", "correct"]
TIE = 1e-6
"""Products of equal rows differ by rounding in float32, by up to about 3e-7: what differs by no
more than this is a tie."""


def ranks(
    left: NDArray[np.floating],
    right: NDArray[np.floating],
    owner_of_left: NDArray[np.integer],
    owner_of_right: NDArray[np.integer],
    *,
    ties: RankTies = "wrong",
    tie: float = TIE,
    tile: int = 768,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """How many rows of others stand before each row's best own one, both ways: 0 is first.

    Both ways are counted from the same products, which are computed in tiles and never kept, so
    memory stays bounded however many rows there are; the embeddings may be memory-mapped. What
    grows is 8 bytes a row and 40 a pair of one owner.

    Args:
        left, right: (L, E) and (R, E), unit length.
        owner_of_left, owner_of_right: (L,) and (R,); equal numbers belong together.
        ties: whether a row of another owner with the same score stands before ("wrong") or after
            one's own ("correct").
        tie: scores that differ by at most this are the same.
        tile: rows of either side compared at a time; of 256 to 4,096, 768 was the fastest on a CPU.

    Returns:
        (L,) of the left rows among the right ones, and (R,) the other way; a row without own ones
        has the size of the other side.
    """
    pairs = _own_pairs(owner_of_left, owner_of_right)
    own = [
        np.einsum("pe,pe->p", left[pairs[0, at : at + tile]], right[pairs[1, at : at + tile]])
        for at in range(0, pairs.shape[1], tile)
    ]
    scores_of_own = np.concatenate(own) if own else np.zeros(0, np.float32)
    limits = []
    for rows, side in zip(pairs, (left, right), strict=True):
        best = np.full(len(side), -np.inf, np.result_type(left, right))
        np.maximum.at(best, rows, scores_of_own)
        limits.append(best - tie if ties == "wrong" else best + tie)
    tiles = _by_tile(pairs, tile, len(right))
    before_left, before_right = np.zeros(len(left), np.int64), np.zeros(len(right), np.int64)
    for a in range(0, len(left), tile):
        some = np.ascontiguousarray(left[a : a + tile])
        for b in range(0, len(right), tile):
            scores = some @ right[b : b + tile].T
            scores[next(tiles)] = -np.inf  # own rows are not others
            ahead = scores > limits[0][a : a + tile, None]
            before_left[a : a + tile] += ahead.sum(1, dtype=np.int32)
            np.greater(scores, limits[1][b : b + tile], out=ahead)
            before_right[b : b + tile] += ahead.sum(0, dtype=np.int32)
    before_left[np.isneginf(limits[0])] = len(right)
    before_right[np.isneginf(limits[1])] = len(left)
    return before_left, before_right


def _own_pairs(
    owner_of_left: NDArray[np.integer], owner_of_right: NDArray[np.integer]
) -> NDArray[np.int64]:
    """(2, P) the rows of left and right that belong together."""
    order = np.argsort(owner_of_right, kind="stable")
    ordered = owner_of_right[order]
    first = np.searchsorted(ordered, owner_of_left, "left")
    many = np.searchsorted(ordered, owner_of_left, "right") - first
    rows = np.repeat(np.arange(len(owner_of_left)), many)
    place = np.arange(len(rows)) + np.repeat(first - (np.cumsum(many) - many), many)
    return np.stack([rows, order[place]])


def _by_tile(
    pairs: NDArray[np.int64], tile: int, columns: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Rows and columns of the pairs inside each tile, tile by tile and row by row of them."""
    across = -(-columns // tile)
    number = pairs[0] // tile * across + pairs[1] // tile
    order = np.argsort(number, kind="stable")
    ordered = number[order]
    at = 0
    for place in count():
        end = int(np.searchsorted(ordered, place, "right"))
        rows, others = pairs[:, order[at:end]] % tile
        yield rows, others
        at = end
