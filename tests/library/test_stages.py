"""The stages that a picture goes through, each by itself."""

from __future__ import annotations

import io
import random
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from zsclip.embedding.batching import batched, last_batch_size
from zsclip.embedding.encoding import encode
from zsclip.embedding.keeping import keep
from zsclip.embedding.loading import Loader, load
from zsclip.embedding.lookup import look_up
from zsclip.embedding.model import Model
from zsclip.embedding.ordering import in_order
from zsclip.embedding.records import Batch, Counts, Encoded, Entry, ImageEmbedding, Known, Loaded
from zsclip.embedding.timings import Timings
from zsclip.engines.base import Computing
from zsclip.errors import ImageError
from zsclip.images.files import File, InMemory
from zsclip.images.item import Contents, Item, Stamp
from zsclip.images.listing import Listing
from zsclip.images.reading import Reading
from zsclip.images.sources import SOURCES, Finder, Source
from zsclip.models import resolve
from zsclip.store.database import Store
from zsclip.unit_vectors import Embedding, Quality, normalise


def vector(seed: int) -> Embedding:
    rng = np.random.default_rng(seed)
    return Embedding(normalise(rng.standard_normal((1, 128)).astype(np.float32))[0])


def known(number: int, count: int = 1) -> Known:
    """So many pictures that the store knew, from that number."""
    vectors = np.stack([vector(n).vector for n in range(number, number + count)])
    return Known(number, [str(n) for n in range(number, number + count)], vectors, np.full(count, 3, np.uint8))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "store") as store:
        yield store


@pytest.fixture
def model(store: Store) -> Model:
    """The demo model, not loaded."""
    return Model(resolve("demo"), store, Computing("cpu"))


@pytest.fixture
def scenes(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{number}.png" for number in range(5)]
    for number, path in enumerate(paths):
        Image.new("RGB", (80, 80), (40 * number, 10, 200)).save(path)
    return paths


class FromNowhere(Item):
    """An item as a new kind of source would make it: bytes from memory, a part of something."""

    def __init__(self, name: str, data: bytes) -> None:
        super().__init__(name)
        self._data = data

    def read(self, max_pixels: int) -> Contents:
        if not self._data:
            raise ImageError("no answer", kind="timeout")
        return Contents(self._data, Stamp(self.name.encode(), len(self._data), 0, version="v1"))


# find


def test_a_new_kind_of_source_is_a_row_of_the_table(scenes: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    made_up = Source(lambda path: path.startswith("memory:"), lambda path, finder: iter([FromNowhere(path, b"x")]))
    monkeypatch.setattr("zsclip.images.sources.SOURCES", (made_up, *SOURCES))
    items = list(Finder(["memory:1", str(scenes[0]), str(scenes[0].parent)]))
    assert [type(item) for item in items] == [FromNowhere, *[File] * 6]


# look up


def test_known_files_are_found_by_their_stamp_and_changed_ones_are_not(
    model: Model, store: Store, scenes: list[Path]
) -> None:
    items = [File(str(path)) for path in scenes]
    stamps = [item.stamp() for item in items]
    store.put(model.identity, {b"%032d" % n: vector(n) for n in range(4)},
              [(stamp, b"%032d" % n) for n, stamp in enumerate(stamps[:4]) if stamp])  # fmt: skip
    scenes[1].write_bytes(b"changed")
    for listing in (Listing(items), Listing(Finder([str(scenes[0].parent)]).pieces())):
        (parts,) = [window for window in look_up(listing, model, store, Timings()) if window]
        assert [(type(part), part.number, len(part)) for part in parts] == [
            (Known, 0, 1), (Entry, 1, 1), (Known, 2, 2), (Entry, 4, 1)
        ]  # fmt: skip
        assert parts[2].names == [str(path) for path in scenes[2:4]]
        assert np.array_equal(parts[2].vectors, [vector(2).vector, vector(3).vector])
        assert parts[1].item.name == str(scenes[1])
    again = look_up(Listing(items), model, store, Timings(), rehash=True)
    assert not any(isinstance(part, Known) for window in again for part in window)


# read and decode


def test_loading_gives_pixels_errors_and_what_the_bytes_are_known_as(
    model: Model, store: Store, scenes: list[Path]
) -> None:
    with Loader(model, store, Reading(max_pixels=10_000), Timings()) as loader:
        loaded = loader(File(str(scenes[0])))
        assert loaded.pixels is not None
        assert loaded.pixels.shape == (64, 64, 3)
        assert loaded.stamp == File(str(scenes[0])).stamp()
        assert loaded.digest
        store.put(model.identity, {loaded.digest: vector(1)})
        known = loader(File(str(scenes[0])))
        assert (known.pixels, known.embedding is not None) == (None, True)
        Image.new("RGB", (200, 200)).save(scenes[1])
        for item, kind, error in (
            (File(str(scenes[1])), "too_large", "200 x 200 pixels"),
            (File("nowhere.png"), "not_found", "No such file"),
            (FromNowhere("x", b"no image"), "other", "not an image"),
            (FromNowhere("x", b""), "timeout", "no answer"),
            (File(str(scenes[0].parent)), "other", "a folder"),
        ):
            failed = loader(item)
            assert failed.error_kind == kind
            assert error in (failed.error or "")


def test_an_item_of_any_kind_is_loaded_and_keeps_its_stamp(model: Model, store: Store, scenes: list[Path]) -> None:
    with Loader(model, store, Reading(), Timings()) as loader:
        loaded = loader(FromNowhere("s3://bucket/0.png", scenes[0].read_bytes()))
        assert loaded.stamp == Stamp(b"s3://bucket/0.png", scenes[0].stat().st_size, 0, version="v1")
        assert np.array_equal(loaded.pixels, loader(File(str(scenes[0]))).pixels)
        image = Image.open(scenes[0])
        assert np.array_equal(loader(InMemory("mine", image)).pixels, loaded.pixels)


def test_loading_begins_few_at_a_time_and_leaves_known_ones_alone(model: Model, store: Store) -> None:
    parts = [known(n) if n % 2 else Entry(n, File("nowhere")) for n in range(200)]
    with ThreadPoolExecutor(2) as pool, Loader(model, store, Reading(), Timings()) as loader:
        pieces = load(iter([parts, []]), loader, pool, pool)
        first = next(pieces)
        assert 0 < sum(isinstance(part, Entry) and part.loading is not None for part in first) < 40
        assert not any(isinstance(part, Entry) and part.loading for part in parts[len(first) :])
        rest = list(pieces)
    assert [part.number for piece in [first, *rest] for part in piece] == list(range(200))
    assert rest[-1] == []  # "nothing at hand" is handed on
    assert all(part.loading for part in parts if isinstance(part, Entry))


# batch


def loaded_entry(number: int, *, pixels: bool = False) -> Entry:
    future: Future[Loaded] = Future()
    future.set_result(Loaded(np.zeros((64, 64, 3), np.uint8)) if pixels else Loaded(error="damaged"))
    return Entry(number, File(str(number)), future)


def test_known_entries_pass_by_while_a_batch_fills(model: Model) -> None:
    parts = [loaded_entry(n) if n % 3 else known(n) for n in range(100)]
    batches = list(batched(iter([parts[:50], parts[50:]]), model))
    assert [bool(batch.known) for batch in batches[:2]] == [True, True]
    assert [part.number for batch in batches for part in batch.known] == list(range(0, 100, 3))
    assert [len(batch.unknown) for batch in batches[2:]] == [32, 32, 2]
    assert [entry.number for batch in batches for entry in batch.unknown] == [n for n in range(100) if n % 3]
    assert model.engine is None  # nothing had pixels, so nothing had to be computed


def test_the_model_is_loaded_before_the_first_batch_that_needs_it(model: Model) -> None:
    batches = batched(iter([[loaded_entry(0), loaded_entry(1, pixels=True)]]), model)
    first = next(batches)
    assert model.engine is not None
    assert [entry.number for batch in (first, *batches) for entry in batch.unknown] == [0, 1]


def test_what_is_at_hand_is_worked_on_where_the_next_is_not_known_yet(model: Model) -> None:
    batches = batched(iter([[loaded_entry(0)], [], [], [loaded_entry(1)]]), model)
    assert [entry.number for entry in next(batches).unknown] == [0]
    assert next(batches) == Batch()
    assert [entry.number for entry in next(batches).unknown] == [1]


@pytest.mark.slow
def test_known_entries_are_not_held_without_end_behind_an_unknown_one(model: Model) -> None:
    one = known(1)
    pieces = ([loaded_entry(0)] if n == 0 else [replace(one, number=n)] for n in range(20_000))
    passed = 0
    for batch in batched(pieces, model):
        if batch.unknown:
            break
        passed += len(batch.known)
    assert 4000 < passed < 4200


@given(st.integers(1, 500), st.integers(1, 64), st.integers(1, 8))
def test_last_batches_are_smaller_and_smaller_and_hold_all(waiting: int, size: int, streams: int) -> None:
    sizes = []
    while waiting:
        sizes.append(last_batch_size(waiting, size, streams))
        assert 1 <= sizes[-1] <= min(size, waiting) or streams == 1
        waiting -= min(waiting, sizes[-1])
    assert sizes == sorted(sizes, reverse=True)


# encode


def test_copies_in_a_batch_are_computed_once_and_keep_how_they_were_made(model: Model, scenes: list[Path]) -> None:
    """Of copies, the vector is exact or not as the one that was computed, whichever stands where in the batch."""
    model.load()
    pixels = np.zeros((64, 64, 3), np.uint8)

    def entry(number: int, loaded: Loaded) -> Entry:
        future: Future[Loaded] = Future()
        future.set_result(loaded)
        return Entry(number, File(str(number)), loading=future)

    for reduced in (True, False):
        copies = [
            Loaded(pixels.copy(), reduced=reduced, digest=b"same"),
            Loaded(pixels.copy(), reduced=not reduced, digest=b"same"),
            Loaded(embedding=vector(3), digest=b"other"),
            Loaded(error="damaged"),
        ]
        entries = [entry(n, one) for n, one in enumerate(copies)]
        (done,) = encode(iter([Batch(unknown=entries)]), model, Timings())
        first, second, other, damaged = done
        assert first.embedding is second.embedding
        assert first.embedding
        assert first.embedding.exact is not reduced
        assert (first.computed, other.computed, damaged.computed) == (True, False, False)
        assert other.embedding is not None
        assert damaged.embedding is None
        assert all(one.pixels is None for one in copies)  # what waits to be kept holds no pixels


@pytest.mark.slow
def test_known_entries_wait_for_a_slow_one_that_is_being_computed(model: Model) -> None:
    """Else all that is known of a large collection would be held in memory behind it."""
    model.load()
    slow: Future[Loaded] = Future()
    handed: list[int] = []

    def batches() -> Iterator[Batch]:
        yield Batch(unknown=[Entry(0, File("slow"), loading=slow)])
        for number in range(1, 8000):
            handed.append(number)
            if number == 4000:
                threading.Timer(1, lambda: slow.set_result(Loaded(error="damaged"))).start()
            yield Batch(known=[replace(one, number=number)])

    one = known(1)
    for part in encode(batches(), model, Timings()):
        if part[0].number == 0:
            break
    assert 4000 < len(handed) < 4200


def test_a_callers_pictures_are_drawn_few_at_a_time(model: Model, store: Store) -> None:
    drawn: list[int] = []

    def pictures() -> Iterator[Image.Image]:
        for number in range(500):
            drawn.append(number)
            yield Image.new("RGB", (80, 80), (number % 256, 0, 0))

    windows = look_up(Listing.of(pictures()), model, store, Timings())
    for _ in range(4):
        next(windows)
    assert len(drawn) <= 4 * 32


# keep


def test_each_part_is_kept_before_it_is_handed_on(model: Model, store: Store, scenes: list[Path]) -> None:
    stamp = File(str(scenes[0])).stamp()
    new = Encoded(0, "a", vector(1), Loaded(digest=b"1" * 32, stamp=stamp), computed=True)
    copy = Encoded(1, "b", vector(2), Loaded(digest=b"2" * 32, embedding=vector(2)))
    damaged = Encoded(2, "c", None, Loaded(error="damaged"))
    counts = Counts()
    parts = keep(iter([[new, copy, damaged, known(3, 5)]]), model, store, counts, Timings())
    next(parts)
    assert (counts.found, counts.computed, counts.unread) == (6, 1, 1)
    assert set(store.get(model.identity, [b"1" * 32, b"2" * 32], 128, least=Quality.EXACT)) == {b"1" * 32}
    assert stamp
    assert list(store.get_files(model.identity, [stamp], 128, least=Quality.EXACT)) == [stamp]


def test_vectors_are_kept_for_the_weights_that_made_them(model: Model, store: Store) -> None:
    """What the weights are may come out only when they arrive, in the middle of a run."""
    new = Encoded(0, "a", vector(1), Loaded(digest=b"1" * 32), computed=True)
    parts = keep(iter([[new]]), model, store, Counts(), Timings())
    model.identity = "what came"
    next(parts)
    assert set(store.get("what came", [b"1" * 32], 128, least=Quality.EXACT)) == {b"1" * 32}


# put in order


@given(st.integers(0, 60), st.randoms(use_true_random=False), st.integers(1, 9))
def test_results_come_in_order_as_soon_as_they_can(count: int, rng: random.Random, size: int) -> None:
    parts: list[Known | Encoded] = []
    while (number := sum(map(len, parts))) < count:
        some = min(rng.randint(1, 9), count - number)
        damaged = Encoded(number, str(number), None, Loaded(error="x", error_kind="other"))
        new = Encoded(number, str(number), vector(number), Loaded())
        parts.append(rng.choice([known(number, some), known(number), damaged, new]))
    wrong = {part.number for part in parts if isinstance(part, Encoded) and part.embedding is None}
    rng.shuffle(parts)
    given_so_far: set[int] = set()
    seen: list[ImageEmbedding] = []

    def source() -> Iterator[list[Known | Encoded]]:
        for start in range(0, len(parts), size):
            missing = next(n for n in range(count + 1) if n not in given_so_far)
            assert len(seen) == missing  # all that could come has come
            given_so_far.update(
                n for part in parts[start : start + size] for n in range(part.number, part.number + len(part))
            )
            yield parts[start : start + size]

    for ready in in_order(source(), 128):
        assert ready
        assert ready.read == [one.path for one in ready if one.embedding]
        assert ready.unread == [(one.path, "x") for one in ready if one.error]
        seen += ready
    assert [one.path for one in seen] == [str(n) for n in range(count)]
    assert {n for n, one in enumerate(seen) if one.error} == wrong
    assert all(np.array_equal(one.embedding.vector, vector(n).vector) for n, one in enumerate(seen) if one.embedding)


def test_the_image_is_closed_or_damaged_says_so() -> None:
    image = Image.open(io.BytesIO(b"P6 2 2 255\n" + bytes(12)))
    image.close()
    item = InMemory("x", image)
    item.prepare()
    with pytest.raises(ImageError, match="closed"):
        item.read(100)
