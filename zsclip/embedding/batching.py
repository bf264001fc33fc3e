"""Batch: pictures to be computed together, while those that are known pass by."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from zsclip.embedding.model import Model
from zsclip.embedding.records import MOST_KNOWN_AHEAD, Batch, Entry, Known

# How many pictures are decoded while the model runs: some batches, and no fewer than suits many threads.
_BATCHES_AHEAD = 3
_LEAST_AHEAD = 96


def batched(pieces: Iterable[list[Known | Entry]], model: Model) -> Iterator[Batch]:
    """Batches of the model's size. What is known is handed on at once, across the unknown around it.

    The model is loaded here, before the first batch that needs it: nothing is if the store knows all bytes under other
    names. Smaller batches come where the next pictures are not known yet, and at the end.
    """
    source = iter(pieces)
    waiting: deque[Entry] = deque()  # in the order of the input
    newest, ended = 0, False
    while True:
        wanted = max(model.batch_size * _BATCHES_AHEAD, _LEAST_AHEAD)
        while len(waiting) < wanted and not (waiting and newest - waiting[0].number > MOST_KNOWN_AHEAD):
            piece = next(source, None)
            if not piece:
                ended = piece is None
                break
            newest = piece[-1].number + len(piece[-1]) - 1
            waiting += (part for part in piece if isinstance(part, Entry))
            if known := [part for part in piece if isinstance(part, Known)]:
                yield Batch(known=known)
        if ended and not waiting:
            return
        yield Batch(unknown=_next_batch(waiting, model, ended))


def _next_batch(waiting: deque[Entry], model: Model, ended: bool) -> list[Entry]:
    size = min(model.batch_size, len(waiting))
    if model.engine is None and any(_must_be_computed(waiting[place]) for place in range(size)):
        model.load()
    size = model.batch_size
    if model.engine is not None and ended:
        size = last_batch_size(len(waiting), size, model.engine.streams)
    return [waiting.popleft() for _ in range(min(size, len(waiting)))]


def _must_be_computed(entry: Entry) -> bool:
    """Waits until it is loaded."""
    return entry.loading is not None and entry.loading.result().pixels is not None


def last_batch_size(waiting: int, size: int, streams: int) -> int:
    """The size of the next batch once all pictures are at hand: the fewer are waiting the smaller, so that streams end
    together.

    Guided self-scheduling (Polychronopoulos and Kuck, 1987) with half a stream's share of what is left at a time. A quarter
    of a full batch still runs at nine tenths of its speed, a smaller one does not.
    """
    guided = -(-waiting // (2 * streams))
    smallest = min(-(-size // 4), -(-waiting // streams))
    return min(size, max(guided, smallest)) if streams > 1 else size
