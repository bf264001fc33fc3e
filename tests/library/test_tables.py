"""Pictures in tables: Parquet as datasets and pyarrow write it, lists of paths, and what is broken."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.cli import Cli, rows_of
from support.hostile_tables import GROUP, hostile_tables

from zsclip import Classifier
from zsclip.embedding.records import ImageEmbedding
from zsclip.errors import ImageError, InputError
from zsclip.images.item import Member
from zsclip.images.opening import Opening
from zsclip.images.tables.columns import TableColumns
from zsclip.images.tables.kinds import open_table

pa = pytest.importorskip("pyarrow")
import pyarrow.parquet as pq  # noqa: E402

COUNT = 3 * GROUP


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of different sizes, in order, of which the fifth is none."""
    folder = tmp_path_factory.mktemp("tables") / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(COUNT):
        Image.fromarray(rng.integers(0, 256, (16, 16 + number, 3), np.uint8)).save(folder / f"{number:02}.png")
    (folder / "05.png").write_bytes(b"no picture")
    return folder


@pytest.fixture(scope="module")
def pictures(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(folder.iterdir())]


def write(path: Path, columns: dict[str, Any], **options: Any) -> Path:
    pq.write_table(pa.table(columns), path, row_group_size=GROUP, **options)
    return path


def table(path: Path, picture: str | None = None, ids: str | None = None, labels: str | None = None) -> Any:
    return open_table(str(path), Opening(tables=TableColumns(picture, ids, labels)))


def embedded(tables: object, store: Path) -> tuple[list[ImageEmbedding], Classifier]:
    with Classifier.load("demo", cache_dir=store, device="cpu") as classifier:
        return [one for batch in classifier.embed_images(tables) for one in batch], classifier  # type: ignore[arg-type]


def facts(found: Sequence[ImageEmbedding]) -> list[tuple[bytes | None, str | None]]:
    """Vector and error of each, without what its picture is called."""
    return [
        (one.embedding.vector.tobytes() if one.embedding else None, one.error and one.error.rpartition(": ")[2])
        for one in found
    ]


def are_alike(found: Sequence[ImageEmbedding], other: Sequence[ImageEmbedding]) -> bool:
    """Whether these are the same pictures; other pictures in a batch change the last bit of a vector."""
    vectors = [np.stack([one.embedding.vector for one in each if one.embedding]) for each in (found, other)]
    errors = [[error for _, error in facts(each)] for each in (found, other)]
    return errors[0] == errors[1] and np.allclose(*vectors, rtol=0, atol=1e-6)


def read(rows: Sequence[Member]) -> tuple[list[int], set[str]]:
    """The numbers of the rows that have a picture, and what the others say."""
    good, said = [], set()
    for row in rows:
        try:
            row.read(10**9)
            good.append(row.position)
        except ImageError as error:
            said.add(str(error))
    return good, said


def test_each_kind_of_table_gives_the_rows_of_the_same_files_and_opens_no_picture_again(
    folder: Path, pictures: list[bytes], tmp_path: Path
) -> None:
    from zsclip.images.sources import Finder

    with Classifier.load("demo", cache_dir=tmp_path / "other", device="cpu") as classifier:
        files = [one for batch in classifier.embed_images(list(Finder([str(folder)]))) for one in batch]
    paths = [os.path.relpath(path, tmp_path) for path in sorted(folder.iterdir())]
    huge = pa.array(pictures, pa.large_binary())
    made = [
        write(tmp_path / "bytes.parquet", {"n": range(COUNT), "image": pictures}),
        write(tmp_path / "large.parquet", {"image": huge}, compression="zstd", data_page_size=100),
        write(tmp_path / "struct.parquet", {"image": [{"bytes": data, "path": "gone.png"} for data in pictures]}),
        write(tmp_path / "paths.parquet", {"file_name": paths, "x": paths}),
        write(tmp_path / "categories.parquet", {"url": pa.array(paths).dictionary_encode()}),
        write(tmp_path / "mixed.parquet", {"i": [{"bytes": None if n % 2 else data, "path": path}
                                                 for n, (data, path) in enumerate(zip(pictures, paths, strict=True))]}),
        tmp_path / "list.csv", tmp_path / "list.tsv", tmp_path / "list.jsonl",
    ]  # fmt: skip
    made[6].write_text("\ufeffn;path\r\n\r\n" + "".join(f'{n};"{path}"\r\n' for n, path in enumerate(paths)), "utf-8")
    made[7].write_text("n\turl\n" + "".join(f"{n}\t{path}\n" for n, path in enumerate(paths)), "utf-16")
    made[8].write_text("".join(json.dumps({"path": path, "n": 1}) + "\n\n" for path in paths))
    found, _ = embedded([table(path) for path in made], tmp_path / "store")
    again, classifier = embedded([table(path) for path in made], tmp_path / "store")
    assert (classifier.counts.found, classifier.counts.computed) == (len(made) * (COUNT - 1), 0)
    assert facts(again) == facts(found)
    assert [one.path for one in found] == [f"{path}#{number}" for path in made for number in range(COUNT)]
    for place, path in enumerate(made):
        assert are_alike(found[place * COUNT : (place + 1) * COUNT], files), path.name
    rows, _ = embedded([open_table(f"{path}#7", Opening()) for path in made], tmp_path / "store")
    assert are_alike(rows, [files[7]] * len(made))
    assert [row.name for row in table(made[0]).members({2, 9})] == [f"{made[0]}#2", f"{made[0]}#9"]


def test_a_changed_file_is_seen_though_the_list_that_names_it_is_as_it_was(tmp_path: Path) -> None:
    Image.new("RGB", (32, 32), "red").save(tmp_path / "a.png")
    listed = write(tmp_path / "a.parquet", {"path": ["a.png", None, ""]})
    before, _ = embedded(table(listed), tmp_path / "store")
    Image.new("RGB", (40, 40), "blue").save(tmp_path / "a.png")
    after, classifier = embedded(table(listed), tmp_path / "store")
    assert classifier.counts.computed == 1
    assert facts(before)[0] != facts(after)[0]
    assert [one.error for one in after[1:]] == ["no picture in this row"] * 2


def test_what_datasets_writes_is_read_with_its_class_names(pictures: list[bytes], tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    data = datasets.Dataset.from_dict({
        "thumb": [{"bytes": data, "path": None} for data in pictures], "caption": ["x"] * COUNT,
        "picture": [{"bytes": data, "path": None} for data in pictures], "label": [0, 1, -1] * GROUP,
    })  # fmt: skip
    data = data.cast_column("picture", datasets.Image()).cast_column("label", datasets.ClassLabel(names=["cat", "dog"]))
    data.to_parquet(str(tmp_path / "d.parquet"), batch_size=GROUP)
    one = table(tmp_path / "d.parquet", labels="label")
    rows = list(one.members())
    assert [row.label for row in rows] == ["cat", "dog", None] * GROUP
    assert read(rows)[0] == list(range(COUNT))
    assert list(one.labelled()) == [(row.name, row.label) for row in rows]


def test_ids_name_rows_and_repeated_or_missing_ones_are_kept_apart(pictures: list[bytes], tmp_path: Path) -> None:
    ids = ["a", "b", "b", None, "", "\u00e9", *map(str, range(6))]
    path = write(tmp_path / "t.parquet", {"image": pictures, "id": ids, "n": range(COUNT)})
    found, _ = embedded(table(path, ids="id"), tmp_path / "store")
    again, classifier = embedded(table(path, ids="id"), tmp_path / "store")
    assert [one.path for one in found] == ["a", "b", "b", f"{path}#3", f"{path}#4", "\u00e9", *map(str, range(6))]
    assert facts(found) == facts(again)
    assert [one.path for one in found] == [one.path for one in again]
    assert facts(found)[1] != facts(found)[2]
    assert [row.name for row in table(path, ids="n").members()] == [str(number) for number in range(COUNT)]
    other, classifier = embedded(table(path, ids="n"), tmp_path / "store")
    assert (classifier.counts.found, [one.path for one in other][:2]) == (COUNT - 1, ["0", "1"])


@pytest.mark.parametrize(
    ("columns", "asked", "says"),
    [
        ({"a": [b"1"], "b": [b"2"]}, {}, "2 columns may be of pictures.*a .binary., b .binary."),
        ({"a": [1], "text": ["x"]}, {}, "no column is clearly one of pictures.*column=NAME.*a .int64., text .string."),
        ({"a": [1], "b": [b"x"]}, {"picture": "a"}, "column=a`: int64 are no pictures"),
        ({"b": [b"x"]}, {"picture": "c"}, "column=c`: there is no such column.*b .binary."),
        ({"b": [b"x"]}, {"ids": "c"}, "id_column=c`: there is no such column"),
        ({"b": [b"x"]}, {"labels": "c"}, "label_column=c`: there is no such column"),
        ({"image": ["x"], "url": ["y"]}, {}, "2 columns may be of pictures"),
    ],
)
def test_a_column_that_is_not_clear_is_asked_for(columns: Any, asked: Any, says: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=says):
        list(table(write(tmp_path / "t.parquet", columns), **asked).members())


def test_lists_say_which_rows_are_broken_and_go_on(tmp_path: Path) -> None:
    Image.new("RGB", (32, 32)).save(tmp_path / "a.png")
    os.link(tmp_path / "a.png", os.fsencode(tmp_path) + b"/b\xff.png")
    lines = [b'{"url": "a.png"}', b"{", b"[1]", b'{"url": 3}', b'{"x": 1}', b'{"url": "a.png"}']
    (tmp_path / "l.jsonl").write_bytes(b"\n".join(lines))
    good, said = read(list(table(tmp_path / "l.jsonl").members()))
    assert good == [0, 5]
    assert {text.partition(":")[0] for text in said} == {"line 2", "line 3", "url", "no picture in this row"}
    (tmp_path / "l.csv").write_bytes(b'path,id\na.png,"x\ny"\nb\xff.png\n"missing.png",z,more\nftp://a/b,w')
    rows = list(table(tmp_path / "l.csv", ids="id").members())
    assert [row.name for row in rows] == ["x\ny", f"{tmp_path / 'l.csv'}#1", "z", "w"]
    good, said = read(rows)
    assert good == [0, 1]
    assert any("missing.png: No such file or directory" in text for text in said)
    (tmp_path / "huge.csv").write_text("path\na.png\n" + "x" * 200_000)
    with pytest.raises(ImageError, match="line 3: not CSV: field larger"):
        list(table(tmp_path / "huge.csv").members())
    (tmp_path / "empty.csv").touch()
    with pytest.raises(ImageError, match="no rows in it"):
        list(table(tmp_path / "empty.csv").members())
    (tmp_path / "cut.csv").write_bytes("path\na.png\n".encode("utf-16") + b"x")
    with pytest.raises(ImageError, match="its text cannot be read"):
        list(table(tmp_path / "cut.csv").members())


def test_of_a_broken_table_rows_before_and_beside_the_damage_are_kept(pictures: list[bytes], tmp_path: Path) -> None:
    seen = 0
    for one in hostile_tables(pictures):
        path = tmp_path / f"{one.name}.parquet"
        path.write_bytes(one.data)
        rows: list[Member] = []
        said = set()
        try:
            rows += table(path).members()
        except ImageError as error:
            said.add(str(error))
        good, of_rows = read(rows)
        assert tuple(good) == one.read, one.name
        assert all(one.says in text for text in said | of_rows), (one.name, said | of_rows)
        assert said | of_rows, one.name
        seen += 1
    assert seen >= 18
    broken = tmp_path / "page of noise.parquet"
    names = [name for name, _ in table(broken, ids="id", labels="id").labelled()]
    assert names == [row.name for row in table(broken, ids="id").members()] == [f"i{number}" for number in range(COUNT)]
    found, _ = embedded(table(broken), tmp_path / "store")
    again, classifier = embedded(table(broken), tmp_path / "store")
    assert facts(found) == facts(again)
    assert [one.path for one in found] == [one.path for one in again]
    assert (classifier.counts.found, classifier.counts.unread, len(found)) == (2 * GROUP, GROUP, COUNT)


def test_a_table_of_another_machine_names_no_files_of_this_one() -> None:
    from zsclip.images.tables.rows import beside

    assert beside("s3://bucket/a/t.parquet?x=1", "b/c.png") == "s3://bucket/a/b/c.png"
    assert beside("s3://bucket/a/t.parquet", "https://host/c.png") == "https://host/c.png"
    assert beside("a/t.parquet", "/b/c.png") == "/b/c.png"
    for path in ("/etc/passwd", "C:/x.png", "\\\\host\\x.png"):
        with pytest.raises(ImageError, match="a path of some machine"):
            beside("https://host/t.parquet", path)


def test_the_commands_take_tables_and_folders_of_their_parts(
    cli: Cli, folder: Path, pictures: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZSCLIP_MODEL", "demo")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "parts" / "deep").mkdir(parents=True)
    write(tmp_path / "parts" / "0.parquet", {"image": pictures[:6], "label": ["red", "blue"] * 3})
    write(tmp_path / "parts" / "deep" / "1.parquet", {"image": pictures[6:], "label": ["red", None] * 3})
    (tmp_path / "parts" / "_SUCCESS").touch()
    base = ("classify", "-l", "red,blue", "-f", "csv")
    run, other = cli(*base, "parts"), cli(*base, folder)
    names = [f"parts/0.parquet#{n}" for n in range(6)] + [f"parts/deep/1.parquet#{n}" for n in range(6)]
    assert [row.pop("path") for row in rows_of(run.out)] == names
    assert [{**row, "path": ""} for row in rows_of(run.out)] == [{**row, "path": ""} for row in rows_of(other.out)]
    assert "1 without extension" in run.err
    assert ".parquet" not in run.err.split("passed over")[-1]
    given_back = cli(*base, "parts/0.parquet#3")
    assert [row["path"] for row in rows_of(given_back.out)] == ["parts/0.parquet#3"]
    assert cli(*base, "parts/0.parquet#99").code == 3
    assert "no such file" in cli(*base, "nothing.parquet#3").err
    assert "this is for tables" in " ".join(cli(*base, folder / "00.png", "--column", "x").err.split())
    assert "--column had no effect" in cli(*base, folder, "--column", "x").err
    assert "tables are not sorted" in cli("sort", "parts/0.parquet", "-l", "red,blue", "--into", "sorted").err
    assert "No images found" in cli("sort", "parts", "-l", "red,blue", "--into", "sorted").err
    judged = cli("evaluate", "parts", "--label-column", "label", "-f", "json")
    assert judged.code == 3
    assert json.loads(judged.out)["images"] == 8
    assert "for want of a label: 3 images" in judged.err
    assert "which column has the labels" in " ".join(cli("evaluate", "parts/0.parquet").err.replace("│", " ").split())
    Image.new("RGB", (32, 32)).save(tmp_path / "parts" / "own.png")
    assert [row["path"] for row in rows_of(cli(*base, "parts").out)] == ["parts/own.png"], (
        "a picture beside them: a folder of pictures"
    )


def test_without_pyarrow_a_message_names_the_extra(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, red_star: Path
) -> None:
    monkeypatch.setenv("ZSCLIP_MODEL", "demo")
    path = write(tmp_path / "t.parquet", {"image": [red_star.read_bytes()]})
    for name in ("pyarrow", "pyarrow.parquet", "pyarrow.compute"):
        monkeypatch.setitem(sys.modules, name, None)
    for arguments in (("classify", path, "-l", "red,blue"), ("classify", red_star, "-l", "red,blue", "-f", "parquet"),
                      ("embed", red_star, "-o", tmp_path / "v.parquet")):  # fmt: skip
        run = cli(*arguments)
        assert (run.code, "pip install 'zsclip[parquet]'" in run.err) == (1, True)


def test_large_tables_are_read_a_few_megabytes_at_a_time(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    with pq.ParquetWriter(tmp_path / "t.parquet", pa.schema([("image", pa.binary())]), write_batch_size=8) as writer:
        writer.write_table(pa.table({"image": [rng.bytes(100_000) for _ in range(600)]}), row_group_size=600)
    before, most = pa.total_allocated_bytes(), 0
    for row in table(tmp_path / "t.parquet").members():
        most = max(most, pa.total_allocated_bytes() - before)
        row.read(1)
    assert 0 < most < 30_000_000, "of 60 MB in one row group, in pages of a megabyte"
