"""A part of a large source, for a first look: pictures drawn at random, in the order of the input."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Iterator

from zsclip.errors import ImageError
from zsclip.images.container import Container
from zsclip.images.files import File
from zsclip.images.item import Item, Member, Unreadable
from zsclip.images.listing import Piece
from zsclip.images.reading import Reading
from zsclip.images.siblings import Siblings


class _Chosen(Container):
    """Some members of a container. It has no stamp: its list is not the container's."""

    def __init__(self, container: Container, positions: frozenset[int]) -> None:
        super().__init__(container.name)
        self._container = container
        self._positions = positions

    def row_name(self, position: int, inner: str) -> str:
        """See `Container`."""
        return self._container.row_name(position, inner)

    def prepare(self, reading: Reading) -> None:
        """See `Container`."""
        self._container.prepare(reading)

    def members(self, wanted: Collection[int] | None = None) -> Iterator[Member]:
        """See `Container`."""
        chosen = self._positions if wanted is None else self._positions.intersection(wanted)
        yield from self._container.members(chosen)


def sampled(
    pieces: Iterable[Piece], size: int, seed: int, reading: Reading | None = None
) -> Iterator[Item | Container]:
    """`size` of the pictures, each with the same chance, in their order; the same for the same input and `seed`.

    All are listed first, and containers opened, without keeping what is not drawn (reservoir sampling: Vitter's algorithm R,
    1985). What decodes by itself does so as `reading` says. A container that breaks is in the sample as what stands for the error.
    """
    rng = random.Random(seed)  # noqa: S311
    reservoir: list[tuple[int, Item | tuple[Container, int]]] = []
    broken: list[tuple[int, Item | tuple[Container, int]]] = []
    seen = number = 0
    for number, found in enumerate(_candidates(pieces, reading or Reading())):
        if isinstance(found, Unreadable):
            broken.append((number, found))
            continue
        seen += 1
        if len(reservoir) < size:
            reservoir.append((number, found))
        elif (place := rng.randrange(seen)) < size:
            reservoir[place] = number, found
    yield from _together(found for _, found in sorted(reservoir + broken, key=lambda one: one[0]))


def _candidates(pieces: Iterable[Piece], reading: Reading) -> Iterator[Item | tuple[Container, int]]:
    for piece in pieces:
        if isinstance(piece, Siblings):
            yield from map(File, piece.paths)
        elif isinstance(piece, Container):
            piece.prepare(reading)
            try:
                for member in piece.members():
                    yield piece, member.position
            except ImageError as error:
                yield Unreadable(piece.name, error)
        else:
            yield piece


def _together(chosen: Iterable[Item | tuple[Container, int]]) -> Iterator[Item | Container]:
    """Members of one container as one."""
    container: Container | None = None
    positions: list[int] = []
    for one in chosen:
        owner = one[0] if isinstance(one, tuple) else None
        if container is not None and owner is not container:
            yield _Chosen(container, frozenset(positions))
            positions = []
        container = owner
        if isinstance(one, tuple):
            positions.append(one[1])
        else:
            yield one
    if container is not None:
        yield _Chosen(container, frozenset(positions))
