"""Label sets: the class names to choose from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from zsclip.errors import LabelError
from zsclip.models import open_clip_data
from zsclip.text import label_files

BUILTIN = {"builtin:imagenet": "the 1,000 ImageNet classes, as named by open_clip"}


@dataclass(frozen=True)
class Label:
    """A label and the names it is prompted by: itself, or the synonyms and subclasses a label file lists for it."""

    name: str
    members: tuple[str, ...]

    @classmethod
    def of(cls, name: str) -> Label:
        """A label that is prompted by its own name."""
        return cls(name, (name,))


@dataclass(frozen=True)
class LabelSet:
    """Labels in the order given. Raises `LabelError` for none, for an empty one and for a repeated one."""

    labels: tuple[Label, ...]

    def __post_init__(self) -> None:
        if not self.labels:
            raise LabelError("No labels.", remedy="Give some with `labels=cat,dog` or `labels_file=FILE`.")
        for number, label in enumerate(self.labels, 1):
            if isinstance(label.members, str):
                raise LabelError(f"Label {label.name!r}: its names must be a list, not one text: ({label.members!r},).")
            if not label.name or not all(label.members) or not label.members:
                raise LabelError(f"Label {number} is empty. Remove the stray comma or line, or name it.")
        for name, count in Counter(self.names).items():
            if count > 1:
                raise LabelError(f"Label {name!r} is given {count} times. Every label must be given once.")

    @property
    def names(self) -> tuple[str, ...]:
        """The labels' names, in order."""
        return tuple(label.name for label in self.labels)

    def __len__(self) -> int:
        return len(self.labels)

    @classmethod
    def of(cls, names: Iterable[str]) -> LabelSet:
        """Labels from plain names, stripped of white space around them."""
        if isinstance(names, str):
            raise LabelError(f"Labels must be a list of names, not one text. Use LabelSet.parse({names!r}).")
        return cls(tuple(Label.of(name.strip()) for name in names))

    @classmethod
    def parse(cls, text: str) -> LabelSet:
        """Labels from one comma-separated text: `"cat, dog"`."""
        return cls.of(text.split(","))

    @classmethod
    def load(cls, source: str | Path) -> LabelSet:
        """Labels from a text file (one a line, `#` begins a comment), YAML, JSON, CSV or TSV, or `builtin:imagenet`.

        YAML and JSON are a list of labels, or a mapping of a label to the names it is prompted by (synonyms or subclasses);
        tables have a column `label`, or one column and no header.
        Raises `LabelError`, naming file and line.
        """
        if str(source).startswith("builtin:"):
            return _builtin(str(source))
        labels = label_files.read(Path(source))
        if not labels:
            raise LabelError(f"{source}: label file: no labels in it. Write one a line.")
        return cls(tuple(Label(name, members) for name, members in labels))

    def __add__(self, other: LabelSet) -> LabelSet:
        return LabelSet(self.labels + other.labels)


LabelsLike: TypeAlias = "LabelSet | Sequence[str]"


def as_label_set(labels: LabelsLike) -> LabelSet:
    """A `LabelSet` as it is; a sequence of names (not one text) as a `LabelSet`."""
    if isinstance(labels, LabelSet):
        return labels
    return LabelSet.of(labels)


def _builtin(name: str) -> LabelSet:
    if name not in BUILTIN:
        raise LabelError(f"There is no label set {name!r}. There is: {', '.join(BUILTIN)}.")
    names = open_clip_data.imagenet_classes()
    repeated = {name for name, count in Counter(names).items() if count > 1}
    return LabelSet(
        tuple(Label(f"{name} ({n})" if name in repeated else name, (name,)) for n, name in enumerate(names))
    )
