"""Labelled images: folders, manifests, class names."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from zsclip import InputError, LabelError, LabelSet
from zsclip.evaluation.dataset import ClassNames, LabelledImages, from_folder, from_manifest


def tree(root: Path, *files: str) -> Path:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(b"x")
    return root


def pairs(data: LabelledImages, root: Path) -> list[tuple[str, str]]:
    return [(os.path.relpath(path, root), label) for path, label in zip(data.paths, data.truth, strict=True)]


def test_a_folder_a_label(tmp_path: Path) -> None:
    root = tree(
        tmp_path, "hot_dog/a.jpg", "hot_dog/more/b.png", "cat/c.jpg", "cat/notes.txt", "loose.jpg", ".git/x.jpg",
        "@eaDir/y.jpg", "cat/._c.jpg", "Mine.photoslibrary/originals/z.jpg",
    )  # fmt: skip
    (root / "empty").mkdir()
    data = from_folder(root)
    assert pairs(data, root) == [
        ("cat/c.jpg", "cat"),
        ("hot_dog/a.jpg", "hot dog"),
        ("hot_dog/more/b.png", "hot dog"),
    ]
    assert data.labels.names == ("cat", "empty", "hot dog")
    assert data.notes == (
        "Folders and their labels: hot_dog → hot dog.",
        f"Left out, for want of a label: 1 image directly in {root}.",
        "Passed over 1 other file (1 .txt), 1 hidden file, 1 hidden folder, 1 system folder, 1 photo library; "
        "add `hidden` to include hidden files, system folders and photo libraries.",
        "1 label without images: empty.",
    )
    assert ".git" in from_folder(root, hidden=True).truth


def test_folders_of_one_label_come_together(tmp_path: Path) -> None:
    data = from_folder(tree(tmp_path, "hot_dog/a.jpg", "hot dog/b.jpg", "cat/c.jpg"))
    assert data.labels.names == ("cat", "hot dog")
    assert data.truth == ("cat", "hot dog", "hot dog")


def test_what_sort_made_leaves_out_the_undecided(tmp_path: Path) -> None:
    root = tree(tmp_path, "cat/a.jpg", "dog/b.jpg", "unknown/c.jpg")
    data = from_folder(root)
    assert data.labels.names == ("cat", "dog")
    assert "1 image labelled 'unknown'" in data.notes[0]
    assert len(from_folder(root, LabelSet.of(["cat", "dog", "unknown"])).paths) == 3


def test_labels_that_are_given(tmp_path: Path) -> None:
    root = tree(tmp_path, "cat/a.jpg", "dog/b.jpg")
    data = from_folder(root, LabelSet.of(["dog", "bird", "cat"]))
    assert data.labels.names == ("dog", "bird", "cat")
    assert data.notes == ("1 label without images: bird.",)
    with pytest.raises(LabelError, match=r"'cat' \(1 image\), 'dog' \(1 image\)\. Did you mean 'cats'"):
        from_folder(root, LabelSet.of(["cats", "bird"]))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("names.yaml", "n01: [tench, Tinca tinca]\nn02: goldfish\nn03: goldfish\nn99: shark\n"),
        ("names.csv", "folder,label,synonym\nn01,tench,Tinca tinca\nn02,goldfish\nn03,goldfish,\nn99,shark\n"),
        ("names.csv", "n01,tench,Tinca tinca\nn02,goldfish\nn03,goldfish\nn99,shark\n"),
    ],
)
def test_class_names(tmp_path: Path, name: str, content: str) -> None:
    root = tree(tmp_path / "images", "n01/a.jpg", "n02/b.jpg", "n03/c.jpg", "n_4/d.jpg")
    (tmp_path / name).write_text(content)
    data = from_folder(root, names=ClassNames.load(tmp_path / name))
    assert [(label.name, label.members) for label in data.labels.labels] == [
        ("tench", ("tench", "Tinca tinca")),
        ("goldfish", ("goldfish",)),
        ("n 4", ("n 4",)),
    ]
    assert data.truth == ("tench", "goldfish", "goldfish", "n 4")
    assert "1 name without a folder: n99." in data.notes[0]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("n.csv", "a,cat\nb\n", r"n.csv:2: class names: expected a folder"),
        ("n.csv", "a,cat\na,dog\n", r"n.csv:2: .*stands here again"),
        ("n.csv", "", "none in it"),
        ("n.yaml", "a: cat\na: dog\n", r"n.yaml:2: .*again"),
        ("n.yaml", "a:\n", r"n.yaml:1: .*no label"),
        ("n.yaml", "[a, b]", "expected `folder: label`"),
        ("n.yaml", "", "none in it"),
    ],
)
def test_class_names_that_cannot_be_used(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(LabelError, match=message):
        ClassNames.load(tmp_path / name)


def test_synonyms_in_two_places_are_refused(tmp_path: Path) -> None:
    (tmp_path / "n.yaml").write_text("cat: [cat, kitten]\n")
    with pytest.raises(LabelError, match="has synonyms there"):
        from_folder(
            tree(tmp_path / "i", "cat/a.jpg"), LabelSet.of(["cat", "dog"]), ClassNames.load(tmp_path / "n.yaml")
        )


def write(path: Path, text: str) -> Path:
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    return path


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl"])
def test_manifests(tmp_path: Path, kind: str) -> None:
    rows = [
        ("/x/a.jpg", "cat", ""),
        ("/x/b,\tc.jpg", " hot dog ", ""),
        ("/x/d.jpg", "", "no such file"),
        ("/x/e.jpg", "", ""),
        ("/x/f.jpg", "unknown", ""),
        ("/x/a.jpg", "cat", ""),
        ("/x/\udcff\u2028.jpg", "cat", ""),
    ]
    if kind == "jsonl":
        text = "".join(json.dumps({"path": p, "label": n or None, "error": e or None}) + "\n" for p, n, e in rows)
    else:
        import csv
        import io

        stream = io.StringIO()
        out = csv.writer(stream, delimiter="," if kind == "csv" else "\t")
        out.writerows([("Path", "score", "label", "error"), *((p, 1, n, e) for p, n, e in rows)])
        text = "\ufeff" + stream.getvalue()
    data = from_manifest(write(tmp_path / "manifest.txt", text))
    assert data.paths == ("/x/a.jpg", "/x/b,\tc.jpg", "/x/\udcff\u2028.jpg")
    assert data.truth == ("cat", "hot dog", "cat")
    assert data.labels.names == ("cat", "hot dog")
    assert data.notes == (
        "Left out of manifest.txt: 1 row with an error, 1 row without a label, 1 row labelled 'unknown', "
        "1 row repeated.",
    )


def test_where_relative_paths_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path / "data", "a.jpg", "b.jpg")
    manifest = write(tmp_path / "data" / "m.csv", "path,label\na.jpg,cat\nb.jpg,dog\n")
    data = from_manifest(manifest)
    assert data.paths == (str(tmp_path / "data" / "a.jpg"), str(tmp_path / "data" / "b.jpg"))
    assert "Relative paths are taken from" in data.notes[0]
    assert from_manifest(manifest, Path("/elsewhere")).paths[0] == "/elsewhere/a.jpg"
    monkeypatch.chdir(tmp_path / "data")
    assert from_manifest(manifest).paths == ("a.jpg", "b.jpg")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the first line must name the columns"),
        ("file,class\na,b\n", "path and label among them, not: file,class"),
        ("path,label\na.jpg,cat\na.jpg,dog\n", r"m.csv:3: .*'dog' here and 'cat' on line 2"),
        ("path,label\n,cat\n", r"m.csv:2: .*no path"),
        ("path,label\n", "no labelled images in it"),
        ("path,label,error\na,,x\n", r"no labelled images in it; Left out of m.csv: 1 row with an error"),
        ('{"path": "a"}', r"m.csv:1: .*expected"),
        ('{"path": "a", "label": 3}', r"m.csv:1: .*must be texts"),
        ('{"path": "a", "label": "b"}\n{', r"m.csv:2: .*not JSON"),
    ],
)
def test_manifests_that_cannot_be_read(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        from_manifest(write(tmp_path / "m.csv", text))


def test_folders_without_labelled_images(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such folder"):
        from_folder(tmp_path / "nowhere")
    with pytest.raises(InputError, match="no labelled images found"):
        from_folder(tree(tmp_path, "a.jpg"))


@pytest.mark.skipif(os.name != "posix", reason="names are bytes on POSIX alone")
def test_a_folder_whose_name_is_no_text(tmp_path: Path) -> None:
    strange = os.fsdecode(b"\xff")
    try:
        tree(tmp_path, f"{strange}/a.jpg", "b/a.jpg")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    with pytest.raises(LabelError, match="no readable text"):
        from_folder(tmp_path)
    (tmp_path / "n.csv").write_bytes(b"\xff,cat\n")
    assert from_folder(tmp_path, names=ClassNames.load(tmp_path / "n.csv")).truth == ("b", "cat")


PREDICTED = [
    "path,label,probability,similarity,error\na.jpg,cat,0.9,0.3,\nb.jpg,dog,0.9,0.3,\n",
    "path\tlabel\tprobability\na.jpg\tcat\t0.9\nb.jpg\tdog\t0.9\n",
    '{"path": "a.jpg", "label": "cat", "predictions": []}\n{"path": "b.jpg", "label": "dog"}\n',
]


@pytest.mark.parametrize("text", PREDICTED)
def test_labels_that_are_predictions_are_taken_only_if_that_is_asked_for(tmp_path: Path, text: str) -> None:
    manifest = write(tmp_path / "m.csv", text)
    with pytest.raises(InputError, match=r"m.csv: .*its labels are predictions.*`allow_predictions`"):
        from_manifest(manifest)
    data = from_manifest(manifest, allow_predictions=True)
    assert (data.truth, data.predicted) == (("cat", "dog"), 2)


@pytest.mark.parametrize(
    "text",
    [
        "path,label,predicted,probability,checked\na.jpg,cat,cat,0.9,yes\nb.jpg,dog,cat,0.9,no\nc.jpg,cat,cat,1,\n",
        '{"path": "a.jpg", "label": "cat", "checked": true}\n{"path": "b.jpg", "label": "dog", "checked": false}\n'
        '{"path": "c.jpg", "label": "cat", "probability": 1}\n',
    ],
)
def test_where_labels_were_checked_only_those_count(tmp_path: Path, text: str) -> None:
    manifest = write(tmp_path / "m.csv", text)
    data = from_manifest(manifest, labels=LabelSet.of(["cat", "dog"]))
    assert (data.paths, data.truth, data.predicted) == (("a.jpg",), ("cat",), 0)
    assert data.notes[0] == "Left out of m.csv: 2 rows not checked."
    data = from_manifest(manifest, allow_predictions=True)
    assert (data.truth, data.predicted) == (("cat", "dog", "cat"), 2)


def test_nothing_checked_is_nothing_to_judge_by(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no labelled images in it; Left out of m.csv: 1 row not checked.*Check some"):
        from_manifest(write(tmp_path / "m.csv", "path,label,checked\na.jpg,cat,no\n"))


def test_labels_without_probabilities_are_peoples(tmp_path: Path) -> None:
    data = from_manifest(write(tmp_path / "m.csv", "path,label,score\na.jpg,cat,3\nb.jpg,dog,4\n"))
    assert (len(data.paths), data.predicted) == (2, 0)


def test_one_image_in_two_spellings_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    spellings = ("a.jpg", "./a.jpg", "x/../a.jpg", f"{tmp_path}/a.jpg", f"../{tmp_path.name}/a.jpg")
    rows = "".join(f"{path},cat\n" for path in spellings)
    data = from_manifest(write(tmp_path / "m.csv", f"path,label\n{rows}b.jpg,dog\n"))
    assert data.paths == ("a.jpg", "b.jpg")
    assert data.notes == ("Left out of m.csv: 4 rows repeated.",)
    for other in spellings[1:]:
        with pytest.raises(InputError, match=r"m.csv:3: .*'dog' here and 'cat' on line 2"):
            from_manifest(write(tmp_path / "m.csv", f"path,label\na.jpg,cat\n{other},dog\n"))


def test_a_relative_path_is_the_same_as_an_absolute_one_from_where_it_starts(tmp_path: Path) -> None:
    tree(tmp_path / "data", "a.jpg")
    for folder, root in (("data", None), (".", tmp_path / "data")):
        manifest = tmp_path / folder / "m.csv"
        write(manifest, f"path,label\na.jpg,cat\n{tmp_path / 'data' / 'a.jpg'},dog\n")
        with pytest.raises(InputError, match="'dog' here and 'cat' on line 2"):
            from_manifest(manifest, root)


@pytest.mark.parametrize("given", [None, LabelSet.of(["cat", "dog"])])
def test_a_folder_too_high(tmp_path: Path, given: LabelSet | None) -> None:
    root = tree(tmp_path, "scenes/cat/a.jpg", "scenes/dog/b.jpg", "notes/x.txt", "labels.txt")
    with pytest.raises(InputError, match=r"Only one folder, 'scenes': did you mean .*/scenes\?"):
        from_folder(root, given)
    assert len(from_folder(root, LabelSet.of(["scenes", "dog"])).paths) == 2
    assert len(from_folder(root / "scenes", given).paths) == 2


def test_other_delimiters_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"m.csv: manifest: its columns are separated by ';'.*commas or tabs"):
        from_manifest(write(tmp_path / "m.csv", "path;label\na.jpg;cat\n"))
