"""Find: listings of items, at hand or found on a thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from zsclip.errors import InputError
from zsclip.images.files import File
from zsclip.images.item import Item
from zsclip.images.listing import BackgroundListing, Listing, size
from zsclip.images.siblings import Siblings


def test_a_listing_gives_what_is_asked_for_and_says_when_it_ended() -> None:
    listing = Listing(File(str(number)) for number in range(5))
    assert not listing.is_empty()
    assert [item.name for item in listing.take(3)] == ["0", "1", "2"]
    assert not listing.ended
    assert [item.name for item in listing.take(3)] == ["3", "4"]
    assert listing.ended
    assert Listing(iter(())).is_empty()


def test_files_of_a_folder_are_taken_together_where_they_fit() -> None:
    listing = Listing([File("x"), Siblings("a/", ["0", "1"]), Siblings("b/", ["2", "3", "4", "5"]), File("y")])
    assert not listing.is_empty()
    taken: list[list[str]] = []
    while not listing.ended:
        pieces = listing.take(4)
        assert sum(map(size, pieces)) <= 4
        taken.append([name for one in pieces for name in (one.paths if isinstance(one, Siblings) else [one.name])])
    assert taken == [["x", "a/0", "a/1"], ["b/2", "b/3", "b/4", "b/5"], ["y"]]
    listing = Listing([Siblings("a/", list("0123456789"))])
    assert [[piece.names for piece in listing.take(4)] for _ in range(3)] == [
        [list("0123")],
        [list("4567")],
        [list("89")],
    ]
    assert listing.ended


def test_a_slow_listing_gives_what_is_known_and_holds_nobody_up() -> None:
    go_on = threading.Event()

    def slow() -> Iterator[Item]:
        yield File("0")
        yield File("1")
        assert go_on.wait(30)
        yield File("2")

    listing = BackgroundListing(slow())
    assert not listing.is_empty()
    taken: list[Item] = []
    while len(taken) < 2:
        taken += listing.take(9)
    started = time.monotonic()
    assert listing.take(9) == []
    assert not listing.ended
    assert time.monotonic() - started < 10
    go_on.set()
    while not listing.ended:
        taken += listing.take(9)
    assert [item.name for item in taken] == ["0", "1", "2"]


def test_what_a_slow_listing_stumbles_over_comes_after_what_it_found() -> None:
    def broken() -> Iterator[Item]:
        yield File("0")
        raise InputError("the list cannot be read")

    listing = BackgroundListing(broken())
    assert not listing.is_empty()
    assert [item.name for item in listing.take(1)] == ["0"]
    deadline = time.monotonic() + 20
    with pytest.raises(InputError, match="the list cannot be read"):
        _ = [listing.take(1) for _ in iter(lambda: time.monotonic() < deadline, False)]


def test_a_slow_listing_looks_no_further_ahead_than_it_should() -> None:
    found: list[int] = []

    def endless() -> Iterator[Item]:
        while True:
            found.append(1)
            yield File("x")

    listing = BackgroundListing(endless())
    assert not listing.is_empty()
    deadline = time.monotonic() + 20
    while len(found) < 4096 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.1)
    assert len(found) <= 4098
    listing.close()


def test_asking_whether_a_listing_is_empty_loses_nothing_of_it() -> None:
    """Where the only item is known at once, the listing had ended before it was taken."""
    for _ in range(20):
        listing = BackgroundListing(iter([File("a.png")]))
        time.sleep(0.002)
        assert not listing.is_empty()
        taken = []
        while not listing.ended:
            taken += listing.take(96)
        assert [item.name for item in taken] == ["a.png"]
    assert BackgroundListing(iter([])).is_empty()
