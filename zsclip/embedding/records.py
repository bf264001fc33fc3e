"""What travels from stage to stage: plain records of one picture, or of some."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from zsclip.images.item import Item, Stamp
from zsclip.unit_vectors import Embedding

if TYPE_CHECKING:
    from zsclip.errors import ErrorKind


# How far the input may be known beyond a picture that is not done yet: bounds what is held to keep the order.
MOST_KNOWN_AHEAD = 4096


@dataclass(frozen=True, slots=True)
class ImageEmbedding:
    """One picture and its unit vector, or the error that kept it from being read, and its kind."""

    path: str
    embedding: Embedding | None = None
    error: str | None = None
    error_kind: ErrorKind | None = None


@dataclass(slots=True)
class Loaded:
    """What came of a picture's bytes: uint8 pixels (height, width, 3), or the embedding the store had for them, or an error.

    `reduced` says that the pixels were decoded at a reduced scale. `digest` and `stamp` are there where there is a store.
    """

    pixels: NDArray[np.uint8] | None = None
    reduced: bool = False
    digest: bytes | None = None
    stamp: Stamp | None = None
    embedding: Embedding | None = None
    error: str | None = None
    error_kind: ErrorKind | None = None


@dataclass(slots=True)
class Entry:
    """One picture on its way, with its place in the order of the input.

    Either the store knew its `embedding`, or it is `loading`.
    """

    number: int
    item: Item
    embedding: Embedding | None = None
    loading: Future[Loaded] | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """Entries that the store knew, which pass by, and entries to be computed together. Without either: nothing is at hand."""

    known: list[Entry] = field(default_factory=list)
    unknown: list[Entry] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Encoded:
    """One picture with its embedding or error. `loaded` is None where the store knew it by its stamp; `computed` tells a
    vector that is new from one that the store had for the same bytes."""

    number: int
    name: str
    embedding: Embedding | None
    loaded: Loaded | None = None
    computed: bool = False


@dataclass(slots=True)
class Counts:
    """How many pictures the store had a vector for, how many were computed, and how many have none."""

    found: int = 0
    computed: int = 0
    unread: int = 0
