"""Vectors written for other tools."""

from __future__ import annotations

import os
import tempfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from zsclip.output.vectors import NpzWriter


def write(path: Path, names: list[str], dimension: int = 4) -> None:
    vectors = np.arange(len(names) * dimension, dtype=np.float32).reshape(len(names), dimension)
    with open(path, "wb") as stream:
        writer = NpzWriter(stream, dimension, path.parent)
        for start in range(0, len(names), 100):
            writer.write(names[start : start + 100], vectors[start : start + 100])
        writer.close()


def names_in(path: Path) -> list[str]:
    """As any reader can get them, without pickle."""
    with np.load(path, allow_pickle=False) as content:
        blob, ends = content["names_utf8"].tobytes(), content["name_ends"].tolist()
    return [
        blob[start:end].decode("utf-8", "surrogateescape") for start, end in zip([0, *ends[:-1]], ends, strict=True)
    ]


@pytest.mark.parametrize("names", [[], ["a.png"], ["日本語.png", "\udcff.png", "", "a b.png" * 30]])
def test_names_are_there_as_text_and_as_utf8(tmp_path: Path, names: list[str]) -> None:
    write(tmp_path / "v.npz", names)
    with np.load(tmp_path / "v.npz", allow_pickle=False) as content:
        assert content["names"].tolist() == names
        assert content["vectors"].dtype == np.float32
        assert np.array_equal(content["vectors"].ravel(), np.arange(4 * len(names)))
    if names:
        assert names_in(tmp_path / "v.npz") == names


def test_one_long_name_among_many_costs_neither_memory_nor_disk(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """At fixed width 20,000 names would take 1.6 GB for one of 20,000 characters, and building them 3.1 GB."""
    names = [f"photos/{number}.jpg" for number in range(20_000)]
    names[7] = "x" * 20_000
    tracemalloc.start()
    try:
        write(tmp_path / "v.npz", names)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20_000_000
    assert (tmp_path / "v.npz").stat().st_size < 2_000_000
    assert names_in(tmp_path / "v.npz") == names
    assert "`names` is left out" in caplog.text


def test_many_names_are_written_in_little_memory(tmp_path: Path) -> None:
    names = [f"photos/{number:0250}.jpg" for number in range(5_000)]
    tracemalloc.start()
    try:
        write(tmp_path / "v.npz", names)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    with np.load(tmp_path / "v.npz") as content:
        assert content["names"].tolist() == names
    assert (tmp_path / "v.npz").stat().st_size > 5_000_000
    assert peak < 4_000_000


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="needs /proc")
def test_rows_wait_beside_the_output_and_not_in_the_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tmp").mkdir()
    (tmp_path / "out").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    with open(tmp_path / "out" / "v.npz", "wb") as stream:
        writer = NpzWriter(stream, 4, tmp_path / "out")
        writer.write(["a"], np.ones((1, 4), np.float32))
        held = [os.readlink(link.path) for link in os.scandir("/proc/self/fd") if os.path.lexists(link.path)]
        writer.close()
    assert any(path.startswith(f"{tmp_path / 'out'}/") and path.endswith("(deleted)") for path in held)
    assert not any(path.startswith(str(tmp_path / "tmp")) for path in held)
