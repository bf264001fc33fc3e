"""Texts as prefix trees (tries) of tokens, so that a causal text tower computes each prefix once.

A token of a causal tower sees only what stands before it, so "a photo of a" is the same in front of every label. Of 80
templates for 10 labels less than half of the tokens remain. The nodes of the trees run as one packed sequence: an attention
mask lets each see its ancestors, and its depth is its position in the text.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_STEP = 16  # sizes are rounded up to it, so that there are few different ones to prepare for


@dataclass(frozen=True)
class Forest:
    """Some texts as one sequence of n tokens; n and m are rounded up, with tokens that nothing else sees.

    `tokens` and `depths` (position ids) are int32 (n,). `sees` is the attention mask, bool (n, n), true where the token of a
    row sees that of a column. `ends` is int32 (m,): where each text is pooled. Of those the first belong to the texts `rows`
    (k,), k <= m.
    """

    tokens: NDArray[np.int32]
    depths: NDArray[np.int32]
    sees: NDArray[np.bool_]
    ends: NDArray[np.int32]
    rows: NDArray[np.intp]

    @property
    def inputs(self) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.bool_], NDArray[np.int32]]:
        """What a tower is given."""
        return self.tokens, self.depths, self.sees, self.ends


def forests(
    tokens: NDArray[np.int32], lengths: NDArray[np.intp], max_tokens: int, streams: int = 1
) -> Iterator[Forest]:
    """All texts, (texts, width) with `lengths` (texts,) of at least 1, in sequences of about `max_tokens` or fewer, about equal
    and as many as keep all streams equally busy.
    """
    width = int(lengths.max())
    own = np.where(np.arange(width) < lengths[:, None], tokens[:, :width], -1)
    order = np.lexsort(own.T[::-1])
    own, lengths = own[order], lengths[order]
    same = (own[1:] == own[:-1]) & (own[1:] >= 0)
    in_common = np.concatenate([[0], np.logical_and.accumulate(same, axis=1).sum(axis=1)])  # with the text before
    total = int((lengths - in_common).sum())
    parts = streams * -(-total // (max_tokens * streams))
    # A part begins with a whole text, and ends where the next does not fit: both together take about a text's length.
    quota = total / parts + lengths.mean()
    start = size = 0
    for number in range(len(order)):
        more = lengths[number] - in_common[number]
        if number > start and size + more > quota:
            yield _forest(own[start:number], lengths[start:number], in_common[start:number], order[start:number])
            start, size, more = number, 0, lengths[number]
        size += more
    yield _forest(own[start:], lengths[start:], in_common[start:], order[start:])


def _forest(
    tokens: NDArray[np.int32], lengths: NDArray[np.intp], in_common: NDArray[np.intp], rows: NDArray[np.intp]
) -> Forest:
    """The forest of sorted texts, each with its number of tokens in common with the one before; the first stands whole."""
    kept = np.concatenate([[0], in_common[1:]])
    size = _rounded(int((lengths - kept).sum()))
    flat, depths = np.zeros(size, np.int32), np.zeros(size, np.int32)
    sees = np.eye(size, dtype=bool)
    ends = np.zeros(_rounded(len(rows)), np.int32)
    path = np.empty(0, np.intp)  # the tokens of the current text, by their place in the sequence
    used = 0
    for number, (text, length, keep) in enumerate(zip(tokens, lengths, kept, strict=True)):
        new = slice(used, used + length - keep)
        path = np.concatenate([path[:keep], np.arange(new.start, new.stop)])
        flat[new] = text[keep:length]
        depths[new] = np.arange(keep, length)
        sees[new, path[:keep]] = True
        sees[new, new] = np.tri(length - keep, dtype=bool)
        ends[number] = path[-1]
        used = new.stop
    return Forest(flat, depths, sees, ends, rows)


def _rounded(count: int) -> int:
    return -(-count // _STEP) * _STEP
