"""Label sets: the class names to choose from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

from zsclip.errors import LabelError
from zsclip.models import open_clip_data
from zsclip.text import label_files
from zsclip.text.label_files import SEPARATOR

BUILTIN = {"builtin:imagenet": "the 1,000 ImageNet classes, as named by open_clip"}


@dataclass(frozen=True)
class Label:
    """A label and the names it is prompted by: itself, or the synonyms and subclasses a label file lists for it.

    Its `path` are its own name and before it those of the levels that it stands below, the top one first. Its `name` is all
    of them: `animal/dog`.
    """

    name: str
    members: tuple[str, ...]
    path: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.path:
            object.__setattr__(self, "path", (self.name,))

    @classmethod
    def of(cls, name: str) -> Label:
        """A label that is prompted by its own name."""
        return cls(name, (name,))

    @classmethod
    def at(cls, path: tuple[str, ...], members: tuple[str, ...]) -> Label:
        """A label below others."""
        return cls(SEPARATOR.join(path), members, path)


@dataclass(frozen=True)
class LabelSet:
    """Labels in the order given. Raises `LabelError` for none, for an empty one and for a repeated one.

    Where labels stand in levels, it also raises for a `/` in a name, and for a label that is a level above others, too.
    """

    labels: tuple[Label, ...]

    def __post_init__(self) -> None:
        if not self.labels:
            raise LabelError("No labels.", remedy="Give some with `labels=cat,dog` or `labels_file=FILE`.")
        for number, label in enumerate(self.labels, 1):
            if isinstance(label.members, str):
                raise LabelError(f"Label {label.name!r}: its names must be a list, not one text: ({label.members!r},).")
            if not all(label.path) or not all(label.members) or not label.members:
                raise LabelError(f"Label {number} is empty. Remove the stray comma or line, or name it.")
        for name, count in Counter(self.names).items():
            if count > 1:
                raise LabelError(f"Label {name!r} is given {count} times. Every label must be given once.")
        if self.nests:
            self._require_levels()

    def _require_levels(self) -> None:
        for name in (name for label in self.labels for name in label.path):
            if SEPARATOR in name:
                raise LabelError(label_files.separator_in_a_name(name))
        if both := next(iter({*self.above}.intersection(self.names)), None):
            raise LabelError(f"{both!r} is a label and also a level above others. Call one of them otherwise.")

    @property
    def names(self) -> tuple[str, ...]:
        """The labels' names, in order."""
        return tuple(label.name for label in self.labels)

    @cached_property
    def nests(self) -> bool:
        """Whether labels stand in levels: some below others."""
        return any(len(label.path) > 1 for label in self.labels)

    @cached_property
    def above(self) -> tuple[str, ...]:
        """The names of what stands above labels, each before what is below it. None of them is itself prompted."""
        paths = (label.path[:depth] for label in self.labels for depth in range(1, len(label.path)))
        return tuple(dict.fromkeys(map(SEPARATOR.join, paths)))

    def below(self, name: str) -> frozenset[str]:
        """The names of all that stands below that one, labels and what is above them, and itself."""
        if name not in self.above:
            return frozenset([name])
        return frozenset([name, *(one for one in (*self.above, *self.names) if one.startswith(name + SEPARATOR))])

    def called(self, name: str) -> list[str]:
        """The labels that are meant by that name: the one of that name, else those whose own name it is, apart from levels."""
        return [name] if name in self._known else self._own.get(name, [])

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self.names)

    @cached_property
    def _own(self) -> dict[str, list[str]]:
        own: dict[str, list[str]] = {}
        for label in self.labels:
            own.setdefault(label.path[-1], []).append(label.name)
        return own

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

        YAML and JSON are a list of labels, or a mapping of a label to the names it is prompted by (synonyms or subclasses)
        or to a mapping of the labels below it; tables have a column `label`, or one column and no header.
        Raises `LabelError`, naming file and line.
        """
        if str(source).startswith("builtin:"):
            return _builtin(str(source))
        labels = label_files.read(Path(source))
        if not labels:
            raise LabelError(f"{source}: label file: no labels in it. Write one a line.")
        return cls(tuple(Label.at(path, members) for path, members in labels))

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
