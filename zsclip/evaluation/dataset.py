"""Images whose label is known: a folder with a folder for each label, or a manifest with paths and labels."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path

from zsclip.errors import ImageError, InputError, LabelError
from zsclip.evaluation.manifest import Manifest, csv_rows, read_text
from zsclip.images.container import Container
from zsclip.images.folders import PassedOver, Search, Walk
from zsclip.text.labels import Label, LabelSet
from zsclip.text.wording import counted, listed
from zsclip.text.yaml_reader import YamlFile

logger = logging.getLogger("zsclip")


@dataclass(frozen=True)
class LabelledImages:
    """Paths with the names of their labels, and the labels to choose from.

    `predicted` of the labels are predictions that nobody checked; `notes` say what was read in another way than one might
    think. Pictures that are parts of something are in `containers`, in the order of `paths`; `has_label` says which of
    all in these they are.
    """

    paths: tuple[str, ...]
    truth: tuple[str, ...]
    labels: LabelSet
    notes: tuple[str, ...] = ()
    predicted: int = 0
    containers: tuple[Container, ...] = ()
    has_label: tuple[bool, ...] = ()


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
    folder: Path,
    labels: LabelSet | None = None,
    names: ClassNames | None = None,
    unknown: str = "unknown",
    *,
    hidden: bool = False,
    levels: LabelSet | None = None,
) -> LabelledImages:
    """The images of a folder with a folder for each label; `_` in the name of such a folder is a space.

    `labels` are all labels to choose from (default: the folders'); where they nest, or `levels`, folders may be in folders. A
    folder called `unknown`, as `sort` makes it, is left out unless that is a label. What is hidden, the system's or a photo library is no
    label, unless `hidden` takes it. Raises `InputError` and `LabelError`.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder. Name one with a folder of images for each label.")
    search, passed_over = Search(hidden=hidden), PassedOver(offers_frames=False)
    names = names or ClassNames()
    folders, above = _folders(folder, search, passed_over), [""]
    levels = levels or labels
    if levels is not None and levels.nests:
        folders = _folders_in_levels(folder, folders, levels, names, search, passed_over, above)
    loose = {one: sum(1 for _ in Walk(os.path.join(folder, one), replace(search, recursive=False))) for one in above}
    found = {one: list(Walk(os.path.join(folder, one), search, passed_over)) for one in folders}
    if not any(found.values()):
        raise InputError(
            "; ".join(filter(None, [f"{folder}: no labelled images found", str(passed_over)]))
            + ". It must hold a folder for each label, with that label's images in it."
        )
    _require_level(folder, found, labels, names)
    notes = unused_names(names, folders, "folder")
    called = {one: names.names.get(one) or Label.of(_label_of_folder(one, folder)) for one in folders}
    if changed := [f"{one} → {called[one].name}" for one in folders if called[one].name != one]:
        notes.append(f"Folders and their labels: {listed(changed)}.")
    for one, count in loose.items():
        if count:
            directly = os.path.join(folder, one) if one else folder
            notes.append(f"Left out, for want of a label: {counted(count, 'image')} directly in {directly}.")
    if text := str(passed_over):
        notes.append(f"{text[0].upper()}{text[1:]}.")
    rows = [(path, called[one]) for one in folders for path in found[one]]
    return _assembled(rows, list(called.values()), labels, names, unknown, notes)


def from_manifest(
    manifest: Path,
    root: Path | None = None,
    labels: LabelSet | None = None,
    names: ClassNames | None = None,
    unknown: str = "unknown",
    *,
    allow_predictions: bool = False,
) -> LabelledImages:
    """The images of a manifest: CSV, TSV or JSON Lines with `path` and `label`, such as a gallery's labels.csv.

    Relative paths start at `root`; without it at the current folder, or at the manifest's where the first is only there.
    Rows with an error, without a label or labelled `unknown` are left out, and so are repeated ones and, where there is a
    column `checked`, those that are not. A file with probabilities and without that column holds predictions: it is
    refused, unless `allow_predictions`. Raises `InputError` and `LabelError`.
    """
    names = names or ClassNames()
    no_label = unknown if labels is None or unknown not in labels.names else None
    read = Manifest(manifest, no_label, allow_predictions=allow_predictions)
    labelled = read.rows()
    start = root if root is not None else start_of([row.path for row in labelled], manifest)
    pairs = read.distinct(labelled, start)
    given = list(dict.fromkeys(label for _, label in pairs))
    notes = [*read.notes(), *unused_names(names, given, "label in the manifest")]
    if root is None and start != Path():
        notes.append(f"Relative paths are taken from {start}, where {manifest.name} lies.")
    called = {label: names.names.get(label) or Label.of(label) for label in given}
    if not pairs:
        raise InputError(
            "; ".join(["no labelled images in it", *read.notes()]), where=str(manifest), remedy=read.remedy
        )
    rows = [(path, called[label]) for path, label in pairs]
    data = _assembled(rows, list(called.values()), labels, names, unknown, notes)
    return replace(data, predicted=read.predicted)


def from_containers(
    containers: Sequence[Container],
    labels: LabelSet | None = None,
    names: ClassNames | None = None,
    unknown: str = "unknown",
) -> LabelledImages:
    """The pictures in archives or tables that have a label there (`Container.labelled`).

    A number is the place of a label among `labels`, from 0, unless it is itself one of them or of the `names`. Pictures without a label, or
    labelled `unknown` where that is none of the labels, are left out. What is in a container before it breaks counts. Raises
    `InputError` and `LabelError`.
    """
    names = names or ClassNames()
    found: list[tuple[str, str | None]] = []
    for container in containers:
        try:
            found += container.labelled()
        except ImageError as error:
            found.append((container.name, None))
            logger.warning("%s: %s.", container.name, error)
    given = list(dict.fromkeys(label for _, label in found if label is not None))
    called = {label: _named(label, labels, names) for label in given}
    no_labels = {
        *(() if labels is None else labels.above),
        *({unknown}.difference(() if labels is None else labels.names)),
    }
    left_out = {label for label in given if called[label].name in no_labels}
    kept = [label is not None and label not in left_out for _, label in found]
    rows = [
        (name, called[label])
        for (name, label), is_kept in zip(found, kept, strict=True)
        if is_kept and label is not None
    ]
    if not any(label is not None for _, label in found):
        first = containers[0].name if containers else ""
        raise InputError(f"no labelled images in it; {len(found):,} images have no label there", where=first)
    notes = unused_names(names, given, "label")
    if without := sum(label is None for _, label in found):
        notes.append(f"Left out, for want of a label: {counted(without, 'image')}.")
    if count := sum(label in left_out for _, label in found):
        shown = " or ".join(
            repr(one) for one in dict.fromkeys(called[label].name for label in given if label in left_out)
        )
        notes.append(f"Left out: {counted(count, 'image')} labelled {shown}, which is no label.")
    used = [called[label] for label in given if label not in left_out]
    data = _assembled(rows, used, labels, names, unknown, notes)
    return replace(data, containers=tuple(containers), has_label=tuple(kept))


def _named(given: str, labels: LabelSet | None, names: ClassNames) -> Label:
    """The label that a source means by a name, or by the number of one."""
    if given in names.names:
        return names.names[given]
    if not (given.isascii() and given.isdecimal()) or (labels is not None and labels.called(given)):
        return Label.of(given)
    if labels is None:
        raise LabelError(
            f"Images are labelled with numbers, such as {given}. Give `labels` or `labels_file`, in the order of the numbers."
        )
    if int(given) >= len(labels):
        raise LabelError(
            f"An image is labelled with the number {given}, and there are {counted(len(labels), 'label')}, from 0."
        )
    return labels.labels[int(given)]


def _assembled(
    rows: list[tuple[str, Label]],
    called: list[Label],
    labels: LabelSet | None,
    names: ClassNames,
    unknown: str,
    notes: list[str],
) -> LabelledImages:
    if labels is not None and labels.nests:
        leaves = {label.name: leaf(label.name, labels) for label in called}
        rows = [(path, one) for path, label in rows if (one := leaves[label.name]) is not None]
        if above := [name for name, one in leaves.items() if one is None]:
            notes.append(f"Left out, for their labels are above others: images labelled {listed(above)}.")
        called = [one for one in leaves.values() if one is not None]
    keep_unknown = labels is not None and unknown in labels.names
    if not keep_unknown and any(label.name == unknown for label in called):
        count = sum(label.name == unknown for _, label in rows)
        rows = [(path, label) for path, label in rows if label.name != unknown]
        called = [label for label in called if label.name != unknown]
        if count:
            notes.append(f"Left out: {counted(count, 'image')} labelled {unknown!r}, which is no label.")
    labels = label_set(rows, called, labels, names)
    if not rows:
        raise InputError("No labelled images are left.")
    counts = Counter(label.name for _, label in rows)
    if without := [name for name in labels.names if not counts[name]]:
        notes.append(f"{counted(len(without), 'label')} without images: {listed(without)}.")
    return LabelledImages(tuple(path for path, _ in rows), tuple(label.name for _, label in rows), labels, tuple(notes))


def label_set(
    rows: Iterable[tuple[str, Label]], called: list[Label], labels: LabelSet | None, names: ClassNames
) -> LabelSet:
    """The labels to choose from: those given, among which all must be, else those that occur. Raises `LabelError`."""
    if labels is None:
        return _joined(called)
    _require_known(rows, labels)
    if several := next((label for label in names.names.values() if len(label.members) > 1), None):
        raise LabelError(
            f"{names.source}: {several.name!r} has synonyms there, and `labels` or `labels_file` say what the labels "
            f"are. Give the synonyms in a label file, or leave the labels out."
        )
    return labels


def leaf(name: str, labels: LabelSet) -> Label | None:
    """The label that is meant by its path or its own name; what is none, as it is, and None for what is above labels."""
    meant = labels.called(name)
    if len(meant) > 1:
        raise LabelError(
            f"Images are labelled {name!r}, and that is the name of several labels: {listed(meant)}.",
            remedy="Label them with one of these, or name it with `class_names`.",
        )
    return Label.of(meant[0]) if meant else None if name in labels.above else Label.of(name)


def _joined(called: list[Label]) -> LabelSet:
    """One label for each name, with the names of all that are called so."""
    members: dict[str, dict[str, None]] = {}
    for label in called:
        members.setdefault(label.name, {}).update(dict.fromkeys(label.members))
    return LabelSet(tuple(Label(name, tuple(of_name)) for name, of_name in members.items()))


def _require_known(rows: Iterable[tuple[str, Label]], labels: LabelSet) -> None:
    strange = Counter(label.name for _, label in rows if label.name not in labels.names)
    if not strange:
        return
    shown = [f"{name!r} ({counted(count, 'image')})" for name, count in strange.most_common()]
    close = get_close_matches(next(iter(strange)), labels.names, 1, 0.7)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise LabelError(
        f"Images are labelled with what is not among the labels: {listed(shown)}.{hint} Add it to `labels` or "
        f"`labels_file`, leave those out to take the labels from the images, or rename it with `class_names`."
    )


def _folders(folder: Path, search: Search, passed_over: PassedOver) -> list[str]:
    """The folders in a folder that may be labels, sorted."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: os.fsencode(entry.name))
    except OSError as error:
        raise InputError(f"{folder}: cannot be looked into: {error.strerror}.") from None
    folders = []
    for entry in entries:
        if not os.path.isdir(entry.path):  # a link that leads to itself is none
            continue
        if place := search.place(entry.name):
            passed_over.places[place] += 1
        else:
            folders.append(entry.name)
    return folders


def _folders_in_levels(
    folder: Path,
    folders: Sequence[str],
    labels: LabelSet,
    names: ClassNames,
    search: Search,
    passed_over: PassedOver,
    above: list[str],
) -> list[str]:
    """The folders of labels, those in folders that are called as what is above labels as `animal/dog`. These are added to `above`."""
    found = []
    for one in folders:
        if one in names.names or _label_of_folder(one, folder) not in labels.above:
            found.append(one)
            continue
        above.append(one)
        inside = [f"{one}/{name}" for name in _folders(folder / one, search, passed_over)]
        found += _folders_in_levels(folder, inside, labels, names, search, passed_over, above)
    return found


def _require_level(folder: Path, found: Mapping[str, list[str]], labels: LabelSet | None, names: ClassNames) -> None:
    """Raise `InputError` where all images are in folders of one folder, which is no label that is known."""
    with_images = [one for one, paths in found.items() if paths]
    if len(with_images) != 1 or with_images[0] in names.names:
        return
    (one,) = with_images
    inner = os.path.join(folder, one)
    below = {os.path.relpath(path, inner).split(os.sep)[0] for path in found[one] if os.path.dirname(path) != inner}
    if len(below) > 1 and (labels is None or not labels.called(_label_of_folder(one, folder))):
        raise InputError(
            f"{folder}: Only one folder, {one!r}: did you mean {inner}? It has {len(below)} folders with images."
        )


def _label_of_folder(name: str, folder: Path) -> str:
    label = " ".join(name.replace("_", " ").split())
    if not label:
        raise LabelError(f"{folder / name}: this folder's name is no label. Rename it, or name it with `class_names`.")
    if not label.isprintable() or any("\ud800" <= character <= "\udfff" for character in label):
        raise LabelError(
            f"{os.path.join(folder, name)}: this folder's name is no readable text. Give it a label with `class_names`."
        )
    return label


def unused_names(names: ClassNames, used: Sequence[str], what: str) -> list[str]:
    """What to say of names that nothing is called by."""
    unused = [name for name in names.names if name not in used]
    if not unused:
        return []
    return [f"{names.source}: {counted(len(unused), 'name')} without a {what}: {listed(unused)}."]


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
    for line, row in csv_rows(path, read_text(path, "class names"), ","):
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


def start_of(paths: Sequence[str], manifest: Path) -> Path:
    """Where a manifest's relative paths start."""
    relative = next((path for path in paths if not os.path.isabs(path)), None)
    beside = manifest.parent
    if relative is None or os.path.lexists(relative) or not os.path.lexists(beside / relative):
        return Path()
    return beside
