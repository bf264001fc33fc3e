"""Images whose label is known: a folder with a folder for each label, or a manifest with paths and labels."""

from __future__ import annotations

import csv
import io
import json
import logging
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from zsclip.errors import InputError, LabelError
from zsclip.images.folders import Walk
from zsclip.text.labels import Label, LabelSet
from zsclip.text.yaml_reader import YamlFile

logger = logging.getLogger("zsclip")

_SHOWN = 5
_MOST_BYTES = 500_000_000  # some millions of rows


@dataclass(frozen=True)
class LabelledImages:
    """Paths with the name of their label, and the labels they are to be told apart by.

    `notes` say what was read in another way than one might think.
    """

    paths: tuple[str, ...]
    truth: tuple[str, ...]
    labels: LabelSet
    notes: tuple[str, ...] = ()


@dataclass
class ClassNames:
    """What folders or a manifest's labels are called: `names[folder]` is the label. Empty: they are called as they are."""

    names: Mapping[str, Label] = field(default_factory=dict)
    source: str = ""

    @classmethod
    def load(cls, path: Path) -> ClassNames:
        """YAML (`folder: label`, or `folder: [label, synonym, …]`) or CSV (`folder,label,synonym…`, a header or none).

        Several folders may have the same label. Raises `LabelError`, naming file and line.
        """
        read = _read_yaml_names if path.suffix.lower() in (".yaml", ".yml") else _read_csv_names
        names = read(path)
        if not names:
            raise LabelError(f"{path}: class names: none in it. Write a line such as: n01440764: tench")
        return cls(names, str(path))


def from_folder(
    folder: Path, labels: LabelSet | None = None, names: ClassNames | None = None, unknown: str = "unknown"
) -> LabelledImages:
    """The images of a folder with a folder for each label; in those's names `_` is a space.

    `labels` are all labels to tell apart (default: the folders'). A folder called `unknown`, as `sort` makes it, is left
    out unless that is a label. Raises `InputError` and `LabelError`.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder. Name one with a folder of images for each label.")
    folders, loose = _folders(folder)
    found, passed_over = {}, 0
    for one in folders:
        walk = Walk(os.path.join(folder, one))
        found[one] = list(walk)
        passed_over += sum(walk.passed_over.values())
    if not any(found.values()):
        raise InputError(
            f"{folder}: no labelled images found. It must hold a folder for each label, with that label's images in it."
        )
    names = names or ClassNames()
    _require_level(folder, found, labels, names)
    notes = _unused_names(names, folders, "folder")
    called = {one: names.names.get(one) or Label.of(_label_of_folder(one, folder)) for one in folders}
    if changed := [f"{one} → {called[one].name}" for one in folders if called[one].name != one]:
        notes.append(f"Folders and their labels: {_listed(changed)}.")
    if loose:
        notes.append(f"Left out, for want of a label: {_numbered(loose, 'image')} directly in {folder}.")
    if passed_over:
        notes.append(f"Passed over {_numbered(passed_over, 'other file')}.")
    rows = [(path, called[one]) for one in folders for path in found[one]]
    return _assembled(rows, list(called.values()), labels, names, unknown, notes)


def from_manifest(
    manifest: Path,
    root: Path | None = None,
    labels: LabelSet | None = None,
    names: ClassNames | None = None,
    unknown: str = "unknown",
) -> LabelledImages:
    """The images of a manifest: CSV, TSV or JSON Lines with `path` and `label`, such as zsclip's own output.

    Relative paths start at `root`; without it at the current folder, or at the manifest's where the first is only there.
    Rows with an error, without a label or labelled `unknown` are left out, and so are repeated ones. Raises `InputError`
    and `LabelError`.
    """
    names = names or ClassNames()
    read = _Manifest(manifest, unknown if labels is None or unknown not in labels.names else None)
    pairs = read.pairs()
    given = list(dict.fromkeys(label for _, label in pairs))
    notes = [*read.notes(), *_unused_names(names, given, "label in the manifest")]
    start = root if root is not None else _start(pairs, manifest)
    if root is None and start != Path():
        notes.append(f"Relative paths are taken from {start}, where {manifest.name} lies.")
    called = {label: names.names.get(label) or Label.of(label) for label in given}
    rows = [(os.path.join(start, path) if str(start) != "." else path, called[label]) for path, label in pairs]
    if not rows:
        raise InputError("; ".join([f"{manifest}: no labelled images in it", *read.notes()]) + ".")
    return _assembled(rows, list(called.values()), labels, names, unknown, notes)


def _assembled(
    rows: list[tuple[str, Label]],
    called: list[Label],
    labels: LabelSet | None,
    names: ClassNames,
    unknown: str,
    notes: list[str],
) -> LabelledImages:
    keep_unknown = labels is not None and unknown in labels.names
    if not keep_unknown and any(label.name == unknown for label in called):
        count = sum(label.name == unknown for _, label in rows)
        rows = [(path, label) for path, label in rows if label.name != unknown]
        called = [label for label in called if label.name != unknown]
        if count:
            notes.append(f"Left out: {_numbered(count, 'image')} labelled {unknown!r}, which is no label.")
    if labels is None:
        labels = _joined(called)
    else:
        _require_known(rows, labels)
        if several := next((label for label in names.names.values() if len(label.members) > 1), None):
            raise LabelError(
                f"{names.source}: {several.name!r} has synonyms there, and --labels or --labels-file say what the labels "
                f"are. Give the synonyms in a label file, or leave the labels out."
            )
    if not rows:
        raise InputError("No labelled images are left.")
    counts = Counter(label.name for _, label in rows)
    if without := [name for name in labels.names if not counts[name]]:
        notes.append(f"{_numbered(len(without), 'label')} without images: {_listed(without)}.")
    return LabelledImages(tuple(path for path, _ in rows), tuple(label.name for _, label in rows), labels, tuple(notes))


def _joined(called: list[Label]) -> LabelSet:
    """One label for each name, with the names of all that are called so."""
    members: dict[str, dict[str, None]] = {}
    for label in called:
        members.setdefault(label.name, {}).update(dict.fromkeys(label.members))
    return LabelSet(tuple(Label(name, tuple(of_name)) for name, of_name in members.items()))


def _require_known(rows: list[tuple[str, Label]], labels: LabelSet) -> None:
    strange = Counter(label.name for _, label in rows if label.name not in labels.names)
    if not strange:
        return
    shown = [f"{name!r} ({_numbered(count, 'image')})" for name, count in strange.most_common()]
    close = get_close_matches(next(iter(strange)), labels.names, 1, 0.7)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise LabelError(
        f"Images are labelled with what is not among the labels: {_listed(shown)}.{hint} Add it to --labels or "
        f"--labels-file, leave those out to take the labels from the images, or rename it with --class-names."
    )


def _folders(folder: Path) -> tuple[list[str], int]:
    """The folders in a folder, sorted, without hidden ones; and the number of images beside them."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: os.fsencode(entry.name))
    except OSError as error:
        raise InputError(f"{folder}: cannot be looked into: {error.strerror}.") from None
    folders = [entry.name for entry in entries if entry.is_dir() and not entry.name.startswith(".")]
    return folders, sum(1 for _ in Walk(folder, recursive=False))


def _require_level(folder: Path, found: Mapping[str, list[str]], labels: LabelSet | None, names: ClassNames) -> None:
    """Raise `InputError` where all images are in folders of one folder, which is no label that is known."""
    with_images = [one for one, paths in found.items() if paths]
    if len(with_images) != 1 or with_images[0] in names.names:
        return
    (one,) = with_images
    inner = os.path.join(folder, one)
    below = {os.path.relpath(path, inner).split(os.sep)[0] for path in found[one] if os.path.dirname(path) != inner}
    if len(below) > 1 and (labels is None or _label_of_folder(one, folder) not in labels.names):
        raise InputError(
            f"{folder}: Only one folder, {one!r}: did you mean {inner}? It has {len(below)} folders with images."
        )


def _label_of_folder(name: str, folder: Path) -> str:
    label = " ".join(name.replace("_", " ").split())
    if not label:
        raise LabelError(f"{folder / name}: this folder's name is no label. Rename it, or name it with --class-names.")
    if not label.isprintable() or any("\ud800" <= character <= "\udfff" for character in label):
        raise LabelError(
            f"{os.path.join(folder, name)}: this folder's name is no readable text. Give it a label with --class-names."
        )
    return label


def _unused_names(names: ClassNames, used: list[str], what: str) -> list[str]:
    unused = [name for name in names.names if name not in used]
    if not unused:
        return []
    return [f"{names.source}: {_numbered(len(unused), 'name')} without a {what}: {_listed(unused)}."]


def _read_yaml_names(path: Path) -> dict[str, Label]:
    file = YamlFile(path, "class names", LabelError)
    root = file.root()
    names = {}
    for key, value in file.items(root, "`folder: label` on each line") if root is not None else []:
        members = file.texts(value, "a label")
        file.require_distinct(members, f"{key.value!r}: a name")
        if not members:
            raise file.fail(key.line, f"{key.value!r} has no label.")
        names[key.value] = Label(members[0].value, tuple(member.value for member in members))
    return names


def _read_csv_names(path: Path) -> dict[str, Label]:
    names: dict[str, Label] = {}
    for line, row in _csv_rows(path, _text(path, "class names"), ","):
        folder, *members = (cell.strip() for cell in row)
        members = [member for member in members if member]
        if line == 1 and [cell.lower() for cell in (folder, *members)][:2] == ["folder", "label"]:
            continue
        if not folder or not members:
            raise LabelError(f"{path}:{line}: class names: expected a folder, a comma and its label.")
        if folder in names:
            raise LabelError(f"{path}:{line}: class names: {folder!r} stands here again.")
        names[folder] = Label(members[0], tuple(dict.fromkeys(members)))
    return names


class _Manifest:
    """A manifest as it is read, counting what it leaves out."""

    def __init__(self, path: Path, unknown: str | None) -> None:
        self.path = path
        self._unknown = unknown
        self._keys: set[str] = set()  # what its rows tell
        self._errors = self._unlabelled = self._undecided = self._repeated = 0

    def pairs(self) -> list[tuple[str, str]]:
        """Paths and labels, without those left out; raises `InputError`."""
        text = _text(self.path, "manifest")
        rows = self._json_rows(text) if text.lstrip()[:1] == "{" else self._table_rows(text)
        seen: dict[str, tuple[str, str, int]] = {}
        for line, path, label, error in rows:
            if error:
                self._errors += 1
            elif not path:
                raise InputError(f"{self.path}:{line}: manifest: no path in this row.")
            elif not label:
                self._unlabelled += 1
            elif label == self._unknown:
                self._undecided += 1
            elif (key := os.path.normpath(path)) not in seen:
                seen[key] = (path, label, line)
            elif seen[key][1] == label:
                self._repeated += 1
            else:
                _, other, where = seen[key]
                raise InputError(
                    f"{self.path}:{line}: manifest: {path} is {label!r} here and {other!r} on line {where}. "
                    f"Leave one of them."
                )
        if self._keys & {"probability", "predictions"} and "checked" not in self._keys:
            logger.warning("%s: its labels are predictions: sets that agree with them look right.", self.path)
        return [(path, label) for path, label, _ in seen.values()]

    def notes(self) -> list[str]:
        """What was left out."""
        counts = (
            (self._errors, "with an error"),
            (self._unlabelled, "without a label"),
            (self._undecided, f"labelled {self._unknown!r}"),
            (self._repeated, "repeated"),
        )
        left_out = [f"{_numbered(count, 'row')} {what}" for count, what in counts if count]
        return [f"Left out of {self.path.name}: {', '.join(left_out)}."] if left_out else []

    def _json_rows(self, text: str) -> Iterator[tuple[int, str, str, str]]:
        for number, line in enumerate(text.split("\n"), 1):
            if not line.strip():
                continue
            try:
                document: Any = json.loads(line)
            except (ValueError, RecursionError) as fault:
                raise InputError(f"{self.path}:{number}: manifest: not JSON: {fault}.") from None
            if not isinstance(document, dict) or "path" not in document or "label" not in document:
                raise InputError(f'{self.path}:{number}: manifest: expected {{"path": …, "label": …}} on each line.')
            self._keys |= document.keys()
            path, label, error = (document.get(name) for name in ("path", "label", "error"))
            if not isinstance(path, str) or not isinstance(label, (str, type(None))):
                raise InputError(f"{self.path}:{number}: manifest: path and label must be texts.")
            yield number, path, (label or "").strip(), str(error or "")

    def _table_rows(self, text: str) -> Iterator[tuple[int, str, str, str]]:
        head = text.split("\n", 1)[0]
        rows = _csv_rows(self.path, text, "\t" if "\t" in head else ",")
        _, header = next(rows, (1, []))
        columns = [cell.strip().lower() for cell in header]
        self._keys |= set(columns)
        if "path" not in columns or "label" not in columns:
            for delimiter in (";", "|"):
                if {"path", "label"} <= {cell.strip().strip('"').lower() for cell in head.split(delimiter)}:
                    raise InputError(
                        f"{self.path}: manifest: its columns are separated by {delimiter!r}. Write it with commas or tabs."
                    )
            raise InputError(
                f"{self.path}: manifest: the first line must name the columns, with path and label among them, "
                f"not: {head.strip()[:80]}"
            )
        place = {name: columns.index(name) for name in ("path", "label", "error") if name in columns}
        for line, row in rows:
            cells = {name: row[at] if at < len(row) else "" for name, at in place.items()}
            yield line, cells["path"], cells["label"].strip(), cells.get("error", "").strip()


def _csv_rows(path: Path, text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        for row in rows:
            if any(cell.strip() for cell in row):
                yield rows.line_num, row
    except csv.Error as error:
        raise InputError(f"{path}:{rows.line_num}: not CSV: {error}.") from None


def _text(path: Path, what: str) -> str:
    """A file's text; bytes that are not UTF-8 stay what they are, for they occur in paths."""
    try:
        with open(path, "rb") as file:  # a pipe has no size to ask for
            is_larger = os.fstat(file.fileno()).st_size > _MOST_BYTES
            data = b"" if is_larger else file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise InputError(f"{path}: {what}: {error.strerror}.") from None
    if is_larger or len(data) > _MOST_BYTES:
        raise InputError(f"{path}: {what}: larger than {_MOST_BYTES // 10**6} MB. Split it.")
    return data.decode("utf-8-sig", "surrogateescape")


def _start(pairs: list[tuple[str, str]], manifest: Path) -> Path:
    relative = next((path for path, _ in pairs if not os.path.isabs(path)), None)
    beside = manifest.parent
    if relative is None or os.path.lexists(relative) or not os.path.lexists(beside / relative):
        return Path()
    return beside


def _numbered(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _listed(items: list[str]) -> str:
    return ", ".join(items[:_SHOWN]) + (f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else "")
