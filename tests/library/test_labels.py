from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zsclip import LabelError, LabelSet
from zsclip.text.labels import as_label_set

NAMES = st.lists(
    st.text(st.characters(blacklist_characters=",", blacklist_categories=("Cs",)), min_size=1)
    .map(str.strip)
    .filter(bool),
    min_size=1,
    unique=True,
)


@given(NAMES)
def test_comma_separated_labels_come_back(names: list[str]) -> None:
    assert LabelSet.parse(" , ".join(names)).names == tuple(names)


def test_a_text_file_has_one_label_a_line(tmp_path: Path) -> None:
    file = tmp_path / "labels.txt"
    file.write_bytes(b"\xef\xbb\xbf# animals\ncat\r\n  dog # man's friend\n\nC#\n")
    assert LabelSet.load(file).names == ("cat", "dog", "C#")


def test_a_yaml_file_lists_labels_or_maps_them_to_names(tmp_path: Path) -> None:
    file = tmp_path / "labels.yaml"
    file.write_text("- cat\n- no\n- 1\n")
    assert LabelSet.load(file).names == ("cat", "no", "1")
    file.write_text("couch: [couch, sofa]\nanimal:\n  - cat\n  - dog\nbird:\ntree: oak\n")
    labels = LabelSet.load(file)
    assert labels.names == ("couch", "animal", "bird", "tree")
    assert [label.members for label in labels.labels] == [("couch", "sofa"), ("cat", "dog"), ("bird",), ("oak",)]


def test_imagenets_repeated_names_are_told_apart_but_prompted_alike() -> None:
    labels = LabelSet.load("builtin:imagenet")
    assert len(labels) == len(set(labels.names)) == 1000
    assert [label.name for label in labels.labels if label.name != label.members[0]] == [
        "missile (657)",
        "missile (744)",
        "sunglasses (836)",
        "sunglasses (837)",
    ]
    assert labels.labels[657].members == ("missile",)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "cat\ndog\ncat\n", r"a\.txt:3: .*'cat' stands here again; it was on line 1"),
        ("a.txt", "# nothing\n\n", r"no labels in it"),
        ("a.yaml", "", r"no labels in it"),
        ("a.yaml", "- cat\n- cat\n", r"a\.yaml:2: .*'cat' stands here again; it was on line 1"),
        ("a.yaml", "- cat\n- ''\n", r"a\.yaml:2: .*empty"),
        ("a.yaml", "cat: [a]\ndog: [b]\ncat: [c]\n", r"a\.yaml:3: .*'cat' stands here again"),
        ("a.yaml", "cat: [a, a]\n", r"a\.yaml:1: .*'a' stands here again"),
        ("a.yaml", "cat: [{x: y}]\n", r"a\.yaml:1: .*expected a synonym"),
        ("a.yaml", "cat: [\n", r"a\.yaml:2: .*not valid YAML"),
        ("a.yaml", "just text", r"a\.yaml:1: .*expected a list of labels"),
    ],
)
def test_a_bad_file_is_refused_with_its_line(tmp_path: Path, name: str, content: str, message: str) -> None:
    file = tmp_path / name
    file.write_text(content)
    with pytest.raises(LabelError, match=message):
        LabelSet.load(file)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "labels.txt"
    file.write_bytes(b"cat\ndog\n\xff\xfe\n")
    with pytest.raises(LabelError, match=r"labels\.txt:3: .*not UTF-8"):
        LabelSet.load(file)
    with pytest.raises(LabelError, match="No such file"):
        LabelSet.load(tmp_path / "missing.txt")


@pytest.mark.parametrize(
    ("text", "message"), [("cat,,dog", "Label 2 is empty"), ("cat,dog,cat", "'cat' is given 2 times")]
)
def test_bad_labels_are_refused(text: str, message: str) -> None:
    with pytest.raises(LabelError, match=message):
        LabelSet.parse(text)


def test_one_text_is_not_taken_for_a_list_of_letters() -> None:
    with pytest.raises(LabelError, match="not one text"):
        as_label_set("cat,dog")
    with pytest.raises(LabelError, match="There is no label set 'builtin:x'"):
        LabelSet.load("builtin:x")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("l.csv", "label\ncat\nhot dog\n"),
        ("l.csv", "\ufeffid,Label,color\r\n1,cat,red\r\n2,hot dog,blue\r\n"),
        ("l.tsv", "label\tcount\ncat\t3\n\nhot dog\t4\n"),
        ("l.csv", "cat\n# pets\nhot dog\n"),
        ("l.json", '["cat", "hot dog"]'),
        ("l.json", '[\n\t"cat",\n\t"hot\\u0020dog"\n]'),
    ],
)
def test_tables_and_json_are_read_as_what_they_are(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8", newline="")
    assert LabelSet.load(tmp_path / name).names == ("cat", "hot dog")


def test_json_may_map_labels_to_names(tmp_path: Path) -> None:
    (tmp_path / "l.json").write_text('{"couch": ["couch", "sofa"], "\\ud83d\\ude00": "smile", "tree": null}')
    labels = LabelSet.load(tmp_path / "l.json").labels
    assert [(one.name, one.members) for one in labels] == [
        ("couch", ("couch", "sofa")),
        ("😀", ("smile",)),
        ("tree", ("tree",)),
    ]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "l.txt",
            "label\ncat\ndog\n",
            r"l.txt:1: .*'label' is a column's name.*Remove that line, or call the file l.csv",
        ),
        ("l.txt", "path,label\na.jpg,cat\n", r"l.txt:1: .*a column's name.*call the file l.csv"),
        ("l.txt", '["cat", "dog"]', r"l.txt:1: .*JSON.*call the file l.json"),
        ("l.csv", "cat,kitten\ndog,puppy\n", r"l.csv:1: .*no column is called label"),
        ("l.csv", "id,label\n1,cat\n2,cat\n", r"l.csv:3: .*'cat' stands here again; it was on line 2"),
        ("l.csv", "id,label\n1,cat\n2\n", r"l.csv:3: .*empty"),
        ("l.csv", "label\n", "no labels in it"),
        (
            "l.csv",
            "label;count\ncat;3\n",
            r"l.csv:1: .*looks like a header: call the column label, and divide columns by commas",
        ),
        ("l.tsv", "label,count\ncat,3\n", r"l.tsv:1: .*divide columns by tabs"),
        ("l.csv", "Name\ncat\ndog\n", r"l.csv:1: .*'Name' looks like a header"),
        ("l.csv", '"cat\ndog\nbird\n', r"l.csv.*(line break|not a table)"),
        ("l.json", "[1, 2]", r"l.json: .*expected a list of texts, or labels with"),
        ("l.json", '"cat"', r"l.json: .*expected a list of texts"),
        ("l.json", "3", r"l.json: .*expected a list of texts"),
        ("l.json", "[" + "1" * 5000 + "]", r"l.json: .*not JSON"),
        ("l.json", '["cat", "cat"]', "'cat' is given 2 times"),
        ("l.json", '{"cat": ["a"], "cat": ["b"]}', "'cat' is given 2 times"),
        ("l.json", '["cat"', r"l.json:1: .*not JSON"),
        ("l.json", "[" * 100_000, r"l.json.*not JSON"),
    ],
)
def test_what_only_looks_like_labels_is_refused(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(LabelError, match=message):
        LabelSet.load(tmp_path / name)


def test_only_a_line_by_itself_is_a_comment_in_a_table(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text("# colours\ncode,label\n#ff0000,red star\n3,blue star\n")
    assert LabelSet.load(tmp_path / "l.csv").names == ("red star", "blue star")


def test_a_label_may_be_called_label(tmp_path: Path) -> None:
    (tmp_path / "l.txt").write_text("envelope\nlabel\n")
    assert LabelSet.load(tmp_path / "l.txt").names == ("envelope", "label")
