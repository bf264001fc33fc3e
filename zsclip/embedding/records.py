"""What travels from stage to stage: plain records of one picture, or of some."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from zsclip.images.item import Item, Member, Stamp
from zsclip.store.members import MemberList
from zsclip.unit_vectors import Embedding, Floats, Quality

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


@dataclass(frozen=True, slots=True)
class Clip:
    """The frames of a video that is one row: unit vectors float32 (k, d), and their times in seconds (k,)."""

    vectors: Floats
    times: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class ImageEmbeddings:
    """Pictures in the order of the input, as arrays; iterated over, one by one as `ImageEmbedding`.

    `paths` are those of all (n,); `errors` are of those that could not be read, by place. Of the others, in order: unit
    vectors float32 (m, d), and how good these are (m,). `clips` are the frames of those of them that are pooled videos, by their
    number among the m.
    """

    paths: list[str]
    vectors: Floats
    qualities: NDArray[np.uint8]
    errors: Mapping[int, tuple[str, ErrorKind | None]] = field(default_factory=dict)
    clips: Mapping[int, Clip] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.paths)

    def __iter__(self) -> Iterator[ImageEmbedding]:
        read = zip(self.vectors, self.qualities.tolist(), strict=True)
        for place, path in enumerate(self.paths):
            if place in self.errors:
                yield ImageEmbedding(path, None, *self.errors[place])
            else:
                vector, quality = next(read)
                yield ImageEmbedding(path, Embedding(vector, Quality(quality)))

    def __getitem__(self, place: int) -> ImageEmbedding:
        return list(self)[place]

    @property
    def read(self) -> list[str]:
        """The paths of those that could be read (m,)."""
        if not self.errors:
            return self.paths
        return [path for place, path in enumerate(self.paths) if place not in self.errors]

    @property
    def unread(self) -> list[tuple[str, str]]:
        """The paths of those that could not be read, and why."""
        return [(self.paths[place], error) for place, (error, _) in self.errors.items()]


class Embedded(ABC):
    """Pictures whose vectors are there already."""

    @abstractmethod
    def batches(self) -> Iterator[ImageEmbeddings]:
        """Some at a time, in order."""


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


@dataclass(frozen=True, slots=True)
class Known:
    """Pictures in a row that the store knew by their stamps: the place of the first in the order of the input, their names,
    unit vectors float32 (n, d), and how good these are (n,).
    """

    number: int
    names: list[str]
    vectors: Floats
    qualities: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, part: slice) -> Known:
        """The first of them: a part that begins where they begin."""
        return Known(self.number, self.names[part], self.vectors[part], self.qualities[part])


@dataclass(slots=True)
class Entry:
    """One picture that the store did not know, on its way, with its place in the order of the input.

    `listed` is the list of a container's members in which it is to be kept, if there is one.
    """

    number: int
    item: Item
    loading: Future[Loaded] | None = None
    listed: MemberList | None = None

    def __len__(self) -> int:
        return 1


@dataclass(frozen=True, slots=True)
class Batch:
    """What the store knew, which passes by, and entries to be computed together. Without either: nothing is at hand."""

    known: list[Known] = field(default_factory=list)
    unknown: list[Entry] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Encoded:
    """One picture with its embedding or error. `computed` tells a vector that is new from one that the store had for the same
    bytes; `listed`, `position` and `inner` are of a container's member."""

    number: int
    name: str
    embedding: Embedding | None
    loaded: Loaded
    computed: bool = False
    listed: MemberList | None = None
    position: int = 0
    inner: str = ""

    @classmethod
    def of(cls, entry: Entry, embedding: Embedding | None, loaded: Loaded, *, computed: bool) -> Encoded:
        """What came of an entry."""
        if isinstance(entry.item, Member):
            return cls(
                entry.number,
                entry.item.name,
                embedding,
                loaded,
                computed,
                entry.listed,
                entry.item.position,
                entry.item.inner,
            )
        return cls(entry.number, entry.item.name, embedding, loaded, computed)

    def __len__(self) -> int:
        return 1


@dataclass(slots=True)
class Counts:
    """How many pictures the store had a vector for, how many were computed, and how many have none."""

    found: int = 0
    computed: int = 0
    unread: int = 0
