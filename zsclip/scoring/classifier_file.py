"""A taught classifier as a file: labels, prompts and what examples added, as plain JSON, for the model it was taught with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zsclip.errors import InputError, ZsclipError
from zsclip.scoring.calibration import Binding
from zsclip.scoring.rules import Rules
from zsclip.scoring.taught import Taught
from zsclip.text.labels import Label, LabelSet
from zsclip.text.prompts import PromptSet

_FORMAT = 1
_REMEDY = "Make it with: zsclip classify … `examples=DIR` `save_classifier=FILE`"


@dataclass(frozen=True)
class TaughtClassifier:
    """What `classify` needs to go on: `examples` says how many each label was taught by; `model` is a title to be shown.

    What binds it to the model is the digest in `binding`.
    """

    labels: LabelSet
    prompts: tuple[PromptSet, ...]
    combine: str
    background: tuple[str, ...] | None
    taught: Taught
    binding: Binding
    model: str
    examples: Mapping[str, int]
    measured: Mapping[str, Any]

    @property
    def digest(self) -> str:
        """Of all that decides."""
        return hashlib.sha256(to_json(self).encode()).hexdigest()[:16]

    def require(self, found: Sequence[str], dimension: int, source: str | Path) -> None:
        """Raise `InputError` if none of the digests `found` is that of its model, or its weights are not of `dimension`."""
        if self.binding.model not in found:
            raise InputError(
                f"it was taught with another model ({self.model}), and knows nothing of this one's vectors.",
                where=f"`classifier={source}`",
                remedy=f"Use that model, or teach again. {_REMEDY}",
            )
        if self.taught.weights.shape[1] != dimension:
            raise InputError(
                "damaged: weights of another length than the model's vectors.", where=f"`classifier={source}`"
            )


def to_json(one: TaughtClassifier) -> str:
    """The text that `read_file` reads to the same classifier."""
    document: dict[str, Any] = {
        "zsclip classifier": _FORMAT,
        "model": one.model,
        "binding": {"model": one.binding.model, "labels": one.binding.labels, "prompts": one.binding.prompts},
        "labels": [{"path": list(label.path), "names": list(label.members)} for label in one.labels.labels],
        "prompts": [
            {"name": each.name, "templates": list(each.templates), "weights": list(each.weights),
             "labels": {label: list(texts) for label, texts in each.label_prompts.items()}}
            for each in one.prompts
        ],
        "combine": one.combine,
        "background": one.background and list(one.background),
        "examples": dict(one.examples),
        "held out": dict(one.measured),
        "texts": one.taught.texts,
        "biases": _numbers(one.taught.biases),
        "weights": [_numbers(row) for row in one.taught.weights],
    }  # fmt: skip
    lines = [
        f"{json.dumps(key)}: {_lines(value) if key == 'weights' else json.dumps(value)}"
        for key, value in document.items()
    ]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _numbers(row: np.ndarray[Any, np.dtype[np.float32]]) -> list[float]:
    return [float(str(value)) for value in row]  # the shortest decimals that stand for these float32


def _lines(rows: list[list[float]]) -> str:
    return "[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]"


def read_file(path: Path) -> TaughtClassifier:
    """Read a classifier; raises `InputError`, naming the file and what is wrong in it."""
    where = f"`classifier={path}`"
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}.", where=where) from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"not JSON: {error}.", where=where, remedy=_REMEDY) from None
    if not isinstance(document, dict) or "zsclip classifier" not in document:
        raise InputError("not a classifier of zsclip.", where=where, remedy=_REMEDY)
    if document["zsclip classifier"] != _FORMAT:
        raise InputError(
            f"written by another version of zsclip (format {document['zsclip classifier']}).",
            where=where,
            remedy=_REMEDY,
        )
    try:
        return _made(document)
    except KeyError as missing:
        raise InputError(f"{missing.args[0]!r} is missing in it.", where=where, remedy=_REMEDY) from None
    except (TypeError, ValueError, AttributeError, ZsclipError) as error:
        raise InputError(f"damaged: {error}", where=where, remedy=_REMEDY) from None


def _made(document: dict[str, Any]) -> TaughtClassifier:
    labels = LabelSet(tuple(Label.at(tuple(one["path"]), tuple(one["names"])) for one in document["labels"]))
    prompts = tuple(
        PromptSet(
            one["name"], tuple(one["templates"]), {label: tuple(texts) for label, texts in one["labels"].items()},
            weights=tuple(one["weights"]),
        )
        for one in document["prompts"]
    )  # fmt: skip
    taught = Taught(
        float(document["texts"]),
        np.asarray(document["weights"], np.float32),
        np.asarray(document["biases"], np.float32),
    )
    if taught.weights.ndim != 2 or len(taught.weights) != len(labels) or taught.biases.shape != (len(labels),):
        raise ValueError(f"weights of {len(labels)} labels are expected.")
    if not (np.isfinite(taught.weights).all() and np.isfinite(taught.biases).all() and 0 < taught.texts < np.inf):
        raise ValueError("a weight is no finite number.")
    binding = Binding(*(str(document["binding"][name]) for name in ("model", "labels", "prompts")))
    return TaughtClassifier(
        labels,
        prompts,
        Rules(combine=document["combine"]).combine,
        _texts(document["background"]),
        taught,
        binding,
        str(document["model"]),
        document["examples"],
        document["held out"],
    )


def _texts(given: list[str] | None) -> tuple[str, ...] | None:
    return None if given is None else tuple(map(str, given))
