"""Laws that hold for whatever comes in. `make fuzz` tries them with many more examples."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
import string
import tempfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from support.corpus import picture, saved

from zsclip import ImageError, InputError, LabelError, LabelSet, PromptSet, PromptSetError, scoring
from zsclip.errors import ZsclipError
from zsclip.evaluation.dataset import ClassNames, from_manifest
from zsclip.images.decoding import pixels
from zsclip.images.item import Stamp
from zsclip.images.jpeg_metadata import without_metadata
from zsclip.images.preprocessing import Preprocessing
from zsclip.output.cells import printable
from zsclip.output.delimited import delimited_rows, delimited_text
from zsclip.output.rows import MATCH_LAYOUT, joined_labels, json_line, result_layout, row_writer
from zsclip.scoring.batches import ImageResults
from zsclip.scoring.classes import ClassVectors
from zsclip.scoring.decisions import Decisions
from zsclip.scoring.results import Match, Prediction
from zsclip.scoring.rules import Rules
from zsclip.store.database import Store
from zsclip.text.yaml_reader import YamlFile
from zsclip.unit_vectors import Embedding, Quality

# Text as it comes out of os.fsdecode: any characters, and bytes that are no UTF-8 as lone surrogates.
paths = st.binary(max_size=40).map(lambda data: data.replace(b"\0", b"").decode("utf-8", "surrogateescape"))
texts = st.text(max_size=30)
odd = st.sampled_from(
    ["[red]x[/red]", "\x1b[31m", "{label.__class__}", "%s", "%(label)s", "$HOME", "`id`", '"', "'", ",", "\t", "\r", "\n", "\r\n",
     "\u2028", "\x85", "\u202eabc", "😀", "e\u0301", "é", "=1+1", "-", "#", " # ", ": ", "- ", "null", "true", "1", "<label>", "{}", "\\N"]
)  # fmt: skip
names = st.lists(texts | odd, min_size=1, max_size=3).map("".join)


@pytest.fixture(scope="module")
def folder() -> Path:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


# What is written reads back equal.


@given(st.lists(st.lists(paths | names, min_size=2, max_size=5), max_size=5), st.sampled_from([",", "\t"]))
def test_rows_read_back_equal(rows: list[list[str]], delimiter: str) -> None:
    stream = io.StringIO(newline="")
    delimited_rows(stream, delimiter).writerows(rows)
    assert delimited_text(rows, delimiter) == stream.getvalue()
    assert list(csv.reader(io.StringIO(stream.getvalue(), newline=""), delimiter=delimiter)) == rows
    assert stream.getvalue().count("\n") >= len(rows)
    if not any("\r" in field for row in rows for field in row):
        assert "\r" not in stream.getvalue()


predictions = st.lists(
    st.tuples(names, st.floats(0, 1), st.floats(-1, 1)), min_size=2, max_size=4, unique_by=lambda one: one[0]
)


@given(st.lists(st.tuples(paths, predictions, st.none() | names), max_size=5), st.sampled_from(["csv", "tsv", "jsonl"]))
def test_results_read_back_equal(
    rows: list[tuple[str, list[tuple[str, float, float]], str | None]], format: str
) -> None:
    labels = [label for _, found, _ in rows for label, _, _ in found[:2]]
    numbers = np.array([[one[1:] for one in found[:2]] for _, found, error in rows if error is None]).reshape(-1, 2, 2)
    ranked = [[2 * row, 2 * row + 1] for row, (_, _, error) in enumerate(rows) if error is None]
    decisions = Decisions(
        labels, 2, np.array(ranked, int).reshape(-1, 2), *np.moveaxis(numbers, 2, 0), np.zeros(len(ranked), bool)
    )
    errors = {row: (error or "x", None) for row, (_, _, error) in enumerate(rows) if error is not None}
    batch = ImageResults([path for path, _, _ in rows], decisions, errors)
    results = list(batch)
    assert [one.error for one in results] == [error if error is None else error or "x" for _, _, error in rows]
    for result, (_, found, error) in zip(results, rows, strict=True):
        assert result.predictions == (() if error is not None else tuple(Prediction(*one) for one in found[:2]))
    stream = io.StringIO(newline="")
    writer = row_writer(format, stream, result_layout(2))
    for place in range(len(rows)):
        writer.write(batch.take([place]))
    at_once = io.StringIO(newline="")
    row_writer(format, at_once, result_layout(2)).write(batch)
    assert at_once.getvalue() == stream.getvalue()
    text = stream.getvalue().encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")
    if format == "jsonl":
        documents = [json.loads(line) for line in text.splitlines()]
        assert [one["path"] for one in documents] == [one.path for one in results]
        assert [one["error"] for one in documents] == [one.error for one in results]
        for document, result in zip(documents, results, strict=True):
            assert [one["label"] for one in document["predictions"]] == [one.label for one in result.predictions]
            for said, meant in zip(document["predictions"], result.predictions, strict=True):
                assert math.isclose(said["probability"], meant.probability, abs_tol=6e-7)
        return
    read = list(csv.reader(io.StringIO(text, newline=""), delimiter="," if format == "csv" else "\t"))[1:]
    assert [row[0] for row in read] == [one.path for one in results]
    assert [row[1] for row in read] == [one.label or "" for one in results]
    assert [row[4] for row in read] == [one.predictions[1].label if one.predictions else "" for one in results]
    assert [row[-1] for row in read] == [one.error or "" for one in results]


@given(st.lists(names.filter(lambda name: name and not set(name) & set("\r\n\0")), min_size=1, max_size=5))
def test_labels_in_one_cell_are_told_apart(labels: list[str]) -> None:
    """By the reader that the README names."""
    reader = csv.reader([joined_labels(labels)], delimiter=";", quoting=csv.QUOTE_NONE, escapechar="\\")
    assert next(reader) == labels


@given(st.lists(st.tuples(paths, st.floats(-1, 1)), max_size=5), st.sampled_from(["csv", "tsv", "jsonl", "paths"]))
def test_matches_read_back_equal(rows: list[tuple[str, float]], format: str) -> None:
    stream = io.StringIO(newline="")
    writer = row_writer(format, stream, MATCH_LAYOUT, null=True)
    writer.write([Match(path, similarity) for path, similarity in rows])
    text = stream.getvalue()
    if format == "jsonl":
        read = [json.loads(line)["path"] for line in text.splitlines()]
    elif format == "paths":
        read = text.split("\0")[:-1]
    else:
        read = [
            row[0] for row in csv.reader(io.StringIO(text, newline=""), delimiter="," if format == "csv" else "\t")
        ][1:]
    assert read == [path for path, _ in rows]


@given(paths | names)
def test_what_a_terminal_is_shown_moves_nothing(text: str) -> None:
    assert printable(text).isprintable() or not text
    assert json.loads(json_line({"x": text}))["x"] == text


# Label and prompt files: a set, or an error that names the file.

nodes = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts | odd | st.dates(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts | odd, inner, max_size=4),
    max_leaves=12,
)
templates = st.lists(names.map(lambda name: f"{name} <label>"), min_size=1, max_size=4)
prompt_documents = st.fixed_dictionaries(
    {}, optional={"templates": templates | nodes, "labels": st.dictionaries(names, templates, max_size=3) | nodes,
                  "description": texts | nodes, "more": nodes},
)  # fmt: skip


def load(folder: Path, data: bytes | str, suffix: str, loader):
    path = folder / f"file{suffix}"
    path.write_bytes(data if isinstance(data, bytes) else data.encode("utf-8", "replace"))
    try:
        return loader(path)
    except (LabelError, PromptSetError):
        return None


def dumped(document: object, flow: bool) -> str:
    return yaml.safe_dump(document, allow_unicode=True, default_flow_style=flow, sort_keys=False)


@given(
    st.binary(max_size=200) | (texts | nodes.map(lambda node: json.dumps(node, default=str))).map(str.encode),
    st.sampled_from([".txt", ".yaml", ".yml", ".json", ".csv", ".tsv"]),
)
def test_any_bytes_as_a_label_file(folder: Path, data: bytes, suffix: str) -> None:
    labels = load(folder, data, suffix, LabelSet.load)
    if labels is not None:
        assert len(set(labels.names)) == len(labels) > 0
        assert all(name and name == name.strip() for name in labels.names)


@given(
    st.binary(max_size=200)
    | st.text('{}[],:"\n\t \\u0path label error.png', max_size=80).map(str.encode)
    | st.lists(st.tuples(names, names), max_size=4).map(
        lambda rows: "\n".join(json.dumps({"path": path, "label": label}) for path, label in rows).encode()
    )
)
def test_any_bytes_as_a_manifest_or_class_names(folder: Path, data: bytes) -> None:
    path = folder / "manifest"
    path.write_bytes(data)
    with contextlib.suppress(InputError, LabelError):
        found = from_manifest(path)
        assert len(found.paths) == len(found.truth) > 0
    with contextlib.suppress(InputError, LabelError):
        ClassNames.load(path)


def test_manifests_that_are_bombs_are_refused(tmp_path: Path) -> None:
    (tmp_path / "deep").write_text('{"path": "a", "label": ' + "[" * 100_000 + "\n")
    with pytest.raises(InputError, match="deep:1: manifest: not JSON"):
        from_manifest(tmp_path / "deep")
    with open(tmp_path / "huge", "wb") as file:
        file.truncate(8 << 30)
    with pytest.raises(InputError, match="larger than 500 MB"):
        from_manifest(tmp_path / "huge")


@given(nodes | prompt_documents, st.booleans())
def test_any_yaml_as_labels_or_prompts(folder: Path, document: object, flow: bool) -> None:
    text = dumped(document, flow)
    labels = load(folder, text, ".yaml", LabelSet.load)
    assert labels is None or all(label.name and label.members for label in labels.labels)
    prompts = load(folder, text, ".yaml", PromptSet.load)
    if prompts is not None and prompts.templates:
        assert all("cat" in text for text in prompts.expand("cat")) or "cat" in prompts.label_prompts


@given(prompt_documents, st.data())
def test_yaml_with_a_wound(folder: Path, document: object, data: st.DataObject) -> None:
    text = dumped(document, False)
    at = data.draw(st.integers(0, len(text)))
    wound = data.draw(
        st.sampled_from(
            [*list("&*!|>%@`{}[]:#-?,'\"\t\n\x00\x85\ufeff"), "<<: *a", "&a", "*a", "!!set", "---\n", "..."]
        )
    )
    load(folder, text[:at] + wound + text[at + data.draw(st.integers(0, 3)) :], ".yaml", PromptSet.load)
    load(folder, text[:at] + wound + text[at:], ".yaml", LabelSet.load)


@given(st.lists(names.map(str.strip).filter(bool), min_size=1, max_size=6, unique=True))
def test_labels_in_yaml_come_back(folder: Path, labels: list[str]) -> None:
    written = [label for label in labels if all(c.isprintable() for c in label)]
    if written:
        text = yaml.safe_dump(written, allow_unicode=True, default_style='"')
        assert LabelSet.load(_written(folder, text)).names == tuple(written)


@given(names, names.map(str.strip).filter(bool))
def test_a_label_is_put_in_as_it_is_and_nothing_is_evaluated(template: str, label: str) -> None:
    for placeholder in ("{}", "{label}", "{c}", "<label>"):
        template = template.replace(placeholder, "")
    (text,) = PromptSet.of([f"x {template} <label>"]).expand(label)
    assert text == f"x {template} <label>".strip().replace("<label>", label)


@given(st.text(string.printable, max_size=60))
def test_any_text_as_inline_labels_and_templates(text: str) -> None:
    with contextlib.suppress(ZsclipError):
        assert LabelSet.parse(text).names == tuple(part.strip() for part in text.split(","))
    with contextlib.suppress(ZsclipError):
        PromptSet.of([text]).expand("cat")


def _written(folder: Path, text: str) -> Path:
    path = folder / "labels.yaml"
    path.write_text(text, encoding="utf-8", newline="")
    return path


# Images: any bytes, and sound files with wounds.

SOUND = [saved(picture((48, 32), mode), codec) for codec, mode in (
    ("PNG", "RGB"), ("PNG", "P"), ("PNG", "I;16"), ("JPEG", "RGB"), ("JPEG", "CMYK"), ("GIF", "P"), ("WEBP", "RGBA"), ("TIFF", "RGB"),
    ("BMP", "RGB"), ("ICO", "RGBA"), ("QOI", "RGB"), ("TGA", "RGBA"), ("PPM", "RGB"), ("AVIF", "RGB"), ("JPEG2000", "RGB"), ("MPO", "RGB"),
    ("ICNS", "RGBA"), ("DDS", "RGBA"), ("SGI", "RGB"), ("PCX", "P"),
)]  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@given(
    st.sampled_from(SOUND),
    st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=4)), max_size=6),
    st.floats(0, 1),
)
def test_a_file_with_wounds_is_an_image_or_an_error(
    sound: bytes, wounds: list[tuple[float, bytes]], cut: float
) -> None:
    data = bytearray(sound)
    for where, wound in wounds:
        at = int(where**2 * len(data))  # rather in the head
        data[at : at + len(wound)] = wound
    if cut > 0.5:
        del data[int(cut * len(data)) :]
    with contextlib.suppress(ImageError):
        image, _ = pixels(bytes(data), Preprocessing(size=(32, 32)), max_pixels=4_000_000)
        assert (image.shape, image.dtype) == ((32, 32, 3), np.uint8)


@given(st.binary(max_size=300))
def test_any_bytes_behind_the_head_of_a_jpeg(data: bytes) -> None:
    with contextlib.suppress(ImageError):
        bare = without_metadata(b"\xff\xd8\xff" + data)
        assert len(bare) <= len(data) + 3
        assert without_metadata(bare) == bare


# Scoring.


@given(
    st.integers(1, 6),
    st.integers(1, 40),
    st.floats(1e-3, 1e3),
    st.integers(0, 2**32 - 1),
    st.sampled_from(scoring.COMBINE),
)
def test_probabilities_are_probabilities(images: int, labels: int, temperature: float, seed: int, combine: str) -> None:
    rng = np.random.default_rng(seed)
    members = [int(rng.integers(1, 4)) for _ in range(labels)]
    rows = iter(range(sum(members)))
    groups = [[[next(rows)] for _ in range(count)] for count in members]
    prompts = scoring.normalise(rng.standard_normal((sum(members), 8)).astype(np.float32))
    vectors = tuple(scoring.class_vectors(prompts, groups, combine))
    classes = ClassVectors(tuple(map(str, range(labels))), vectors, 100.0)
    embeddings = scoring.normalise(rng.standard_normal((images, 8)).astype(np.float32))
    scored = classes.score(embeddings, labels, Rules(temperature, combine))
    for one in scored:
        chances = [prediction.probability for prediction in one.predictions]
        assert chances == sorted(chances, reverse=True)
        assert math.isclose(sum(chances), 1, abs_tol=1e-9)
        assert sorted(prediction.label for prediction in one.predictions) == sorted(classes.names)
        assert (one.labels, one.abstained) == ((one.predictions[0].label,), False)
    alone = [classes.score(embedding[None], labels, Rules(temperature, combine))[0] for embedding in embeddings]
    assert [one.labels for one in alone] == [one.labels for one in scored]
    order = rng.permutation(labels)
    other = ClassVectors(tuple(classes.names[n] for n in order), tuple(vectors[n] for n in order), 100.0)
    for one, two in zip(scored, other.score(embeddings, labels, Rules(temperature, combine)), strict=True):
        mine = {prediction.label: prediction.probability for prediction in one.predictions}
        for prediction in two.predictions:  # the order of the labels does not matter
            assert math.isclose(prediction.probability, mine[prediction.label], rel_tol=1e-6, abs_tol=1e-12)


# The store.


@pytest.mark.slow
@given(
    st.lists(st.tuples(paths, st.integers(0, 2**62), st.integers(-(2**63), 2**63 - 1), st.integers(0, 3)), max_size=6),
    st.sampled_from(Quality), st.integers(0, 2**32 - 1), names,
)  # fmt: skip
def test_the_store_gives_back_what_it_was_given(
    files: list[tuple[str, int, int, int]], quality: Quality, seed: int, identity: str
) -> None:
    # Of 128 numbers, as the smallest models have: of 16, rounding twice to float16 shows in one vector of 600.
    rng = np.random.default_rng(seed)
    identity = identity.encode("utf-8", "replace").decode()
    vectors = {
        bytes([n]) * 32: Embedding(
            scoring.normalise(rng.standard_normal((1, 128)).astype(np.float32))[0], quality
        ).as_stored()
        for n in range(4)
    }
    stamps = {
        Stamp(path.encode("utf-8", "surrogateescape"), size, when): bytes([n]) * 32 for path, size, when, n in files
    }
    last = {stamp.name: (stamp, digest) for stamp, digest in stamps.items()}
    with tempfile.TemporaryDirectory() as place, Store(Path(place)) as store:
        store.put(identity, vectors, list(stamps.items()))
        found = store.get(identity, list(vectors), 128, least=quality)
        assert {digest: one.vector.tobytes() for digest, one in found.items()} == {
            digest: one.vector.tobytes() for digest, one in vectors.items()
        }
        known = store.get_files(identity, list(stamps), 128, least=quality)
        assert set(known) == {stamp for stamp, _ in last.values()}
        for stamp, digest in last.values():
            assert np.array_equal(known[stamp].vector, vectors[digest].vector)
        assert store.get(identity + "x", list(vectors), 128, least=Quality.INT8) == {}


@given(st.floats(-1e20, 1e20))
def test_any_time_of_change_fits_the_store(seconds: float) -> None:
    class Status:
        st_size, st_ino = 1, 1
        st_mtime_ns = st_ctime_ns = int(seconds * 1e9)

    stamp = Stamp.of_file("x", Status)
    assert -(2**63) <= stamp.mtime_ns < 2**63
    if abs(Status.st_mtime_ns) < 2**63:
        assert stamp.mtime_ns == Status.st_mtime_ns


# Other bombs and floods.


@pytest.mark.parametrize("suffix", [".txt", ".yaml"])
@pytest.mark.skipif(not hasattr(__import__("os"), "truncate"), reason="needs sparse files")
def test_files_of_gigabytes_are_refused_before_they_are_read(tmp_path: Path, suffix: str) -> None:
    with open(tmp_path / f"huge{suffix}", "wb") as file:
        file.truncate(8 << 30)
    with pytest.raises(LabelError, match="larger than 20 MB"):
        LabelSet.load(tmp_path / f"huge{suffix}")
    with pytest.raises(PromptSetError, match="larger than 20 MB"):
        PromptSet.load(tmp_path / f"huge{suffix}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 1_000_000, "nested more than 10 deep"),
        ("{a: " * 100_000, "nested more than 10 deep"),
        ("".join(" " * n + "a:\n" for n in range(2000)), ":11: .*nested more than 10 deep"),
        ("- " * 100_000 + "x", "nested more than 10 deep"),
        ("&a [*a, b]", "expected a label"),
        ("- *a", "undefined alias"),
        ("- a\n---\n- b\n", "another document"),
        ("!!python/object/apply:os.system ['touch executed']", ":1: .*the tag .*os.system is not read"),
        ("- a\n- !!python/name:os.system x", ":2: .*the tag"),
        ("- !include /etc/passwd", "the tag !include"),
        ("a: &a [x1, x2]\n" + "".join(f"b{n}: *a\n" for n in range(5000)), "aliases in a file of this size are too many"),
        ("- a\0b", "not valid YAML"),
    ],
)  # fmt: skip
def test_bombs_in_yaml_are_refused_with_a_message(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "labels.yaml"
    path.write_text(text)
    with pytest.raises(LabelError, match=message):
        LabelSet.load(path)


def test_shared_prompts_by_alias_are_read(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text("labels:\n  couch: &seat [a seat, a sofa]\n  sofa: *seat\n")
    assert PromptSet.load(path).expand("sofa") == ("a seat", "a sofa")


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".txt", ".yaml"])
def test_fifty_thousand_labels_are_read(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"labels{suffix}"
    path.write_text("".join(f"{'- ' if suffix == '.yaml' else ''}label number {n}\n" for n in range(50_000)))
    assert len(LabelSet.load(path)) == 50_000


def test_a_pipe_may_be_a_label_file(tmp_path: Path) -> None:
    import os
    import threading

    if not hasattr(os, "mkfifo"):
        pytest.skip("needs named pipes")
    os.mkfifo(tmp_path / "pipe")
    threading.Thread(target=lambda: (tmp_path / "pipe").write_text("cat\ndog\n"), daemon=True).start()
    assert YamlFile(tmp_path / "pipe", "label file", LabelError).read() == "cat\ndog\n"
