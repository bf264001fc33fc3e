"""Images that may have several labels, or none: a manifest, or a folder with a folder for each label."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from zsclip.classifier import Classifier
from zsclip.embedding.records import ImageEmbeddings
from zsclip.errors import InputError
from zsclip.evaluation import dataset
from zsclip.evaluation.dataset import ClassNames, LabelledImages
from zsclip.evaluation.embedded import require_some
from zsclip.evaluation.manifest import Manifest
from zsclip.evaluation.metrics import Booleans
from zsclip.text.labels import Label, LabelSet
from zsclip.text.wording import counted, listed
from zsclip.unit_vectors import Floats


@dataclass(frozen=True)
class MultiLabelledImages:
    """Paths with the names of all their labels, and the labels to ask for; see `dataset.LabelledImages`."""

    paths: tuple[str, ...]
    truth: tuple[tuple[str, ...], ...]
    labels: LabelSet
    notes: tuple[str, ...] = ()
    predicted: int = 0

    @classmethod
    def of(cls, data: LabelledImages) -> MultiLabelledImages:
        """Images with one label each, which have none of the others."""
        return cls(data.paths, tuple((label,) for label in data.truth), data.labels, data.notes, data.predicted)


def from_manifest(
    manifest: Path,
    root: Path | None = None,
    labels: LabelSet | None = None,
    names: ClassNames | None = None,
    unknown: str = "unknown",
    *,
    allow_predictions: bool = False,
) -> MultiLabelledImages:
    """The images of a manifest with columns `path` and `labels` or `label`; see `dataset.from_manifest`.

    In CSV and TSV labels are joined by `;`, as `classify` writes them, in JSON Lines they are a list. Rows of one path
    are joined. Where a row has no labels the image has none of them; where one is `unknown`, the row is left out. Raises
    `InputError` and `LabelError`.
    """
    names = names or ClassNames()
    no_label = unknown if labels is None or unknown not in labels.names else None
    read = Manifest(manifest, no_label, allow_predictions=allow_predictions, several=True)
    labelled = read.rows()
    start = root if root is not None else dataset.start_of([row.path for row in labelled], manifest)
    pictures = read.joined(labelled, start)
    given = list(dict.fromkeys(label for of_one in pictures.values() for label in of_one))
    if not given:
        raise InputError("; ".join(["no labels in it", *read.notes()]), where=str(manifest), remedy=read.remedy)
    called = {label: names.names.get(label) or Label.of(label) for label in given}
    if labels is not None and labels.nests:
        called = {label: dataset.leaf(one.name, labels) or one for label, one in called.items()}
    of_pictures = [
        list({called[label].name: called[label] for label in of_one}.values()) for of_one in pictures.values()
    ]
    pairs = [(path, label) for path, of_one in zip(pictures, of_pictures, strict=True) for label in of_one]
    chosen = dataset.label_set(pairs, list(called.values()), labels, names)
    notes = [*read.notes(), *dataset.unused_names(names, given, "label in the manifest")]
    if root is None and start != Path():
        notes.append(f"Relative paths are taken from {start}, where {manifest.name} lies.")
    truth = tuple(tuple(label.name for label in of_one) for of_one in of_pictures)
    if without := truth.count(()):
        notes.append(f"{counted(without, 'image')} with none of the labels.")
    occurring = {label for of_one in truth for label in of_one}
    if missing := [name for name in chosen.names if name not in occurring]:
        notes.append(f"{counted(len(missing), 'label')} without images: {listed(missing)}.")
    return MultiLabelledImages(tuple(pictures), truth, chosen, tuple(notes), read.predicted)


@dataclass(frozen=True)
class MultiLabelImages:
    """Such images as unit vectors float32 (n, d), with which labels each has, bool (n, labels); and those that are not.

    `predicted` rows of the manifest are predictions that nobody checked.
    """

    paths: tuple[str, ...]
    vectors: Floats
    truth: Booleans
    labels: LabelSet
    unreadable: tuple[tuple[str, str], ...] = ()
    predicted: int = 0

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, chosen: Booleans) -> MultiLabelImages:
        paths = tuple(path for path, is_chosen in zip(self.paths, chosen.tolist(), strict=True) if is_chosen)
        return replace(self, paths=paths, vectors=self.vectors[chosen], truth=self.truth[chosen])


def embed(
    classifier: Classifier,
    data: MultiLabelledImages,
    advance: Callable[[], None] = lambda: None,
    known: ImageEmbeddings | None = None,
) -> MultiLabelImages:
    """The images' unit vectors, or those that are `known`, in the same order; raises `InputError` if none can be read."""
    number = {name: n for n, name in enumerate(data.labels.names)}
    truth = np.zeros((len(data.paths), len(number)), bool)
    vectors = np.empty((len(data.paths), classifier.model.spec.embed_dim), np.float32)
    paths: list[str] = []
    unreadable: list[tuple[str, str]] = []
    found = known if known is not None else (one for batch in classifier.embed_images(data.paths) for one in batch)
    for image, of_one in zip(found, data.truth, strict=True):
        if image.embedding is None:
            unreadable.append((image.path, image.error or ""))
        else:
            vectors[len(paths)] = image.embedding.vector
            truth[len(paths), [number[label] for label in of_one]] = True
            paths.append(image.path)
        advance()
    require_some(paths, unreadable)
    read = slice(len(paths))
    return MultiLabelImages(tuple(paths), vectors[read], truth[read], data.labels, tuple(unreadable), data.predicted)
