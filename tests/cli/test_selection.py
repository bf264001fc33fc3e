"""A part of a large source: the first images, a sample of them, and those that could not be read the last time."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare
from support.cli import Cli

from zsclip import Classifier
from zsclip.demo.scenes import PAIRS, draw, random_scene
from zsclip.errors import ImageError
from zsclip.images.container import Container
from zsclip.images.item import Contents, Item, Member
from zsclip.images.listing import BackgroundListing, Listing, Piece
from zsclip.images.selection import sampled
from zsclip.images.siblings import Siblings

LABELS = ("-l", "red star,blue ring", "-m", "demo")


class Shelf(Container):
    """Numbered pictures, all of one file's bytes; breaks after `count`, if it `breaks`."""

    def __init__(self, name: str, count: int, data: bytes = b"", *, breaks: bool = False) -> None:
        super().__init__(name)
        self._count, self._data, self._breaks = count, data, breaks
        self.read: list[int] = []

    def members(self, wanted: Collection[int] | None = None) -> Iterator[Member]:
        for position in range(self._count):
            if wanted is None or position in wanted:
                self.read.append(position)
                yield _Numbered(self.row_name(position, str(position)), position, self._data)
        if self._breaks:
            raise ImageError("cut")


class _Numbered(Member):
    def __init__(self, name: str, position: int, data: bytes) -> None:
        super().__init__(name, position, str(position))
        self._data = data

    def read(self, max_pixels: int) -> Contents:
        return Contents(self._data)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    rng = random.Random(0)
    for number in range(12):
        draw(random_scene(rng, PAIRS[number]), rng).save(folder / f"{number:02}.png")
    return folder


def names(pieces: Iterator[Item | Container]) -> list[str]:
    return [
        name
        for piece in pieces
        for name in ([one.name for one in piece.members()] if isinstance(piece, Container) else [piece.name])
    ]


@given(st.lists(st.integers(0, 5), max_size=6), st.integers(1, 12), st.integers())
def test_a_sample_is_a_part_in_order_and_the_same_for_a_seed(sizes: list[int], size: int, seed: int) -> None:
    def pieces() -> list[Piece]:
        kinds = (lambda n, k: Siblings(f"{n}/", [f"{p}" for p in range(k)]), lambda n, k: Shelf(f"{n}", k))
        return [kinds[number % 2](number, count) for number, count in enumerate(sizes)]

    everything = [f"{number}/{place}" for number, count in enumerate(sizes) for place in range(count)]
    drawn = names(sampled(pieces(), size, seed))
    assert len(drawn) == min(size, len(everything))
    assert drawn == [name for name in everything if name in set(drawn)]
    assert drawn == names(sampled(pieces(), size, seed))


def test_each_picture_has_the_same_chance() -> None:
    counts = [0] * 20
    for seed in range(2000):
        for name in names(sampled([Siblings("", [str(n) for n in range(12)]), Shelf("x", 8)], 5, seed)):
            counts[int(name) if name.isdecimal() else 12 + int(name[2:])] += 1
    assert sum(counts) == 10_000
    assert chisquare(counts).pvalue > 0.001


def test_a_container_that_breaks_is_told_in_a_sample() -> None:
    listing = BackgroundListing(sampled([Shelf("x", 8, breaks=True), Siblings("", ["a"])], 3, 0))
    taken: list[Piece] = []
    while not listing.ended:
        taken += listing.take(9)
    errors = [piece for piece in taken if isinstance(piece, Item) and piece.name == "x"]
    with pytest.raises(ImageError, match="cut"):
        errors[0].read(1)


def test_a_limit_ends_within_a_container_whose_list_is_then_not_kept(scenes: Path, tmp_path: Path) -> None:
    data = (scenes / "00.png").read_bytes()
    with Classifier.load("demo", cache_dir=tmp_path / "store", device="cpu") as classifier:
        for known in (False, True):
            pieces: list[Piece] = [Siblings(f"{scenes}/", sorted(os.listdir(scenes))), Shelf("shelf", 500, data)]
            listing = Listing(pieces, limit=14)
            found = [one.path for batch in classifier.embed_images(listing) for one in batch]
            assert found == [*sorted(map(str, scenes.iterdir())), "shelf/0", "shelf/1"]
            assert not known or classifier.counts.found >= 14
    listing = Listing([Siblings(f"{scenes}/", sorted(os.listdir(scenes)))], limit=5)
    with Classifier.load("demo", cache_dir=tmp_path / "store", device="cpu") as classifier:
        assert len([one for batch in classifier.embed_images(listing) for one in batch]) == 5


def test_first_images_and_a_sample_of_them_on_the_command_line(cli: Cli, scenes: Path) -> None:
    whole = cli("classify", scenes, *LABELS).out.splitlines()
    assert cli("classify", scenes, *LABELS, "--limit", "3").out.splitlines() == whole[:4]
    drawn = cli("classify", scenes, *LABELS, "--sample", "4", "--seed", "7").out.splitlines()
    assert len(drawn) == 5
    assert drawn == [row for row in whole if row in drawn]
    other = cli("classify", scenes, *LABELS, "--sample", "4", "--seed", "8").out.splitlines()
    assert other != drawn
    assert cli("classify", scenes, *LABELS, "--sample", "99").out.splitlines() == whole


def test_what_failed_for_a_passing_reason_is_done_again(cli: Cli, scenes: Path, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    said = [
        {"path": str(scenes / "00.png"), "error": None, "error_kind": None},
        {"path": str(scenes / "03.png"), "error": "no answer", "error_kind": "network"},
        {"path": str(scenes / "04.png"), "error": "no image", "error_kind": "damaged"},
        {"path": str(scenes / "01.png"), "error": "too slow", "error_kind": "timeout"},
    ]
    rows.write_text("".join(json.dumps(row) + "\n" for row in said))
    run = cli("classify", "--retry", rows, *LABELS, "-f", "paths")
    assert run.out.splitlines() == [str(scenes / "03.png"), str(scenes / "01.png")]
    table = tmp_path / "rows.csv"
    table.write_text("path,error\n" + "".join(f"{row['path']},{row['error'] or ''}\n" for row in said))
    run = cli("classify", "--retry", table, *LABELS, "-f", "paths")
    assert run.out.splitlines() == [str(scenes / f"{number:02}.png") for number in (3, 4, 1)]


def test_errors_of_rows_are_of_a_kind(cli: Cli, scenes: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    run = cli("classify", scenes / "00.png", tmp_path / "empty.png", *LABELS, "-f", "jsonl")
    assert [json.loads(line)["error_kind"] for line in run.out.splitlines()] == [None, "damaged"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("path,error\nx.png,\n", "none of its 1 rows has an error that may have passed"),
        ("name,error\nx.png,late\n", "it has no column 'path'"),
        ('{"path": "x"\n', "it cannot be read"),
    ],
)
def test_a_file_with_nothing_to_do_again_says_so(cli: Cli, tmp_path: Path, content: str, said: str) -> None:
    file = tmp_path / ("rows.jsonl" if content[0] == "{" else "rows.csv")
    file.write_text(content)
    run = cli("classify", "--retry", file, *LABELS)
    assert run.code == 1
    assert said in " ".join(run.err.split())
    assert "--retry" in run.err


def test_something_must_be_named(cli: Cli, tmp_path: Path) -> None:
    for arguments in (("classify", *LABELS), ("search", "--text", "x"), ("embed", "-o", "x.npz")):
        run = cli(*arguments)
        assert run.code == 2
        assert "PATHS" in run.err
    run = cli("classify", tmp_path, "--retry", tmp_path / "x.csv", *LABELS)
    assert run.code == 2
    assert "--retry and PATHS" in " ".join(run.err.split())
