"""Manifests of pictures with several labels, or none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zsclip import InputError, LabelError, LabelSet
from zsclip.evaluation import dataset
from zsclip.evaluation.dataset import ClassNames
from zsclip.evaluation.manifest import split_labels
from zsclip.evaluation.multi_label.data import MultiLabelledImages, from_manifest
from zsclip.output.rows import joined_labels


def written(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text)
    return folder / name


def truth_of(data: MultiLabelledImages) -> dict[str, tuple[str, ...]]:
    return dict(zip(data.paths, data.truth, strict=True))


@pytest.mark.parametrize("kind", ["labels.csv", "label.csv", "tsv", "rows.csv", "jsonl", "both.csv"])
def test_labels_are_joined_in_a_cell_listed_or_in_rows_of_their_own(tmp_path: Path, kind: str) -> None:
    pictures = {"a.png": ["cat", "black;white"], "b.png": [], "c.png": ["back\\slash"], "d e.png": ["cat"]}
    cells = {path: joined_labels(labels) for path, labels in pictures.items()}
    rows = [(path, joined_labels([label])) for path, labels in pictures.items() for label in labels] + [("b.png", "")]
    texts = {
        "labels.csv": "path,labels\n" + "".join(f"{path},{cell}\n" for path, cell in cells.items()),
        "label.csv": "Label,path\n" + "".join(f"{cell},{path}\n" for path, cell in cells.items()),
        "tsv": "path\tlabels\n" + "".join(f"{path}\t{cell}\n" for path, cell in cells.items()),
        "rows.csv": "path,label\n" + "".join(f"{path},{cell}\n" for path, cell in rows),
        "jsonl": "".join(json.dumps({"path": path, "label": labels}) + "\n" for path, labels in pictures.items()),
        "both.csv": "path,label,labels\n" + "".join(f"{path},dog,{cell}\n" for path, cell in cells.items()),
    }
    data = from_manifest(written(tmp_path, f"m.{kind}", texts[kind]), tmp_path)
    assert truth_of(data) == {str(tmp_path / path): tuple(labels) for path, labels in pictures.items()}
    assert set(data.labels.names) == {"cat", "black;white", "back\\slash"}
    assert "1 image with none of the labels." in data.notes


@given(st.lists(st.text("a;\\ ,\n", min_size=1), max_size=4))
def test_what_is_joined_in_a_cell_is_split_again(labels: list[str]) -> None:
    assert split_labels(joined_labels(labels)) == labels


def test_rows_of_one_picture_come_together_however_it_is_spelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = f"path,label\na.png,cat\n./a.png,dog\n{tmp_path}/a.png,cat\nb.png,unknown\nc.png,dog\n"
    data = from_manifest(written(tmp_path, "m.csv", text))
    assert truth_of(data) == {"a.png": ("cat", "dog"), "c.png": ("dog",)}
    assert "Left out of m.csv: 1 row labelled 'unknown'." in data.notes


def test_given_labels_and_class_names_mean_what_they_mean_elsewhere(tmp_path: Path) -> None:
    manifest = written(tmp_path, "m.csv", "path,labels\na.png,n01;n02\nb.png,n02;n03\n")
    names = ClassNames.load(written(tmp_path, "names.csv", "n01,cat\nn02,cat\nn03,dog\n"))
    data = from_manifest(manifest, names=names)
    assert truth_of(data) == {"a.png": ("cat",), "b.png": ("cat", "dog")}
    more = from_manifest(manifest, labels=LabelSet.of(["dog", "cat", "horse"]), names=names)
    assert more.labels.names == ("dog", "cat", "horse")
    assert "1 label without images: horse." in more.notes
    with pytest.raises(LabelError, match=r"not among the labels: 'cat' \(2 images\)"):
        from_manifest(manifest, labels=LabelSet.of(["dog", "horse"]), names=names)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,labels\na.png,\nb.png,\n", "no labels in it"),
        ("path,name\na.png,cat\n", "with path and label among them"),
        ('{"path": "a.png", "labels": ["cat", 3]}\n', "path and its labels must be texts"),
        ('{"path": "a.png", "labels": {"cat": 1}}\n', "path and its labels must be texts"),
        ("path,labels,probability\na.png,cat,0.9\n", "its labels are predictions"),
    ],
)
def test_what_cannot_be_read(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        from_manifest(written(tmp_path, "m", text))


def test_predictions_count_only_where_they_were_checked_or_are_asked_for(tmp_path: Path) -> None:
    text = "path,labels,probability,checked\na.png,cat;dog,0.9,yes\nb.png,cat,0.8,no\n"
    data = from_manifest(written(tmp_path, "m.csv", text))
    assert truth_of(data) == {"a.png": ("cat", "dog")}
    everything = from_manifest(tmp_path / "m.csv", allow_predictions=True)
    assert (len(everything.paths), everything.predicted) == (2, 1)


def test_where_a_picture_has_one_label_a_semicolon_is_part_of_it(tmp_path: Path) -> None:
    data = dataset.from_manifest(written(tmp_path, "m.csv", "path,labels,label\na.png,x,a;b\nb.png,y,c\n"))
    assert data.truth == ("a;b", "c")
    assert split_labels("a; b;;\\") == ["a", " b", "\\"]
