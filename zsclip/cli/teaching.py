"""Labels that examples teach: `--examples`, `--save-classifier`, `--classifier`."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from zsclip.cli.messages import say

if TYPE_CHECKING:
    from zsclip.classifier import Classifier
    from zsclip.cli.asked import Asked
    from zsclip.cli.groups import LabelGroup
    from zsclip.cli.outputs import Outputs
    from zsclip.evaluation.dataset import LabelledImages
    from zsclip.evaluation.embedded import EmbeddedImages
    from zsclip.evaluation.examples import Taken
    from zsclip.evaluation.learning import Curve
    from zsclip.scoring.classifier_file import TaughtClassifier
    from zsclip.scoring.rules import Rules
    from zsclip.text.labels import LabelSet
    from zsclip.text.prompts import PromptSet

logger = logging.getLogger("zsclip")

_PANEL = "Examples"

Examples = Annotated[
    Optional[Path],
    typer.Option("--examples", metavar="DIR|FILE", rich_help_panel=_PANEL,
                 help="Pictures whose label is known, to learn from: a folder with a folder for each label, or a gallery's labels.csv "
                      "(path and label; also TSV, JSON Lines)."),
]  # fmt: skip
SaveClassifier = Annotated[
    Optional[Path],
    typer.Option("--save-classifier", metavar="FILE", rich_help_panel=_PANEL,
                 help="Write what was learned (.json), for --classifier."),
]  # fmt: skip
ClassifierFile = Annotated[
    Optional[Path],
    typer.Option("--classifier", metavar="FILE", rich_help_panel=_PANEL,
                 help="What --save-classifier wrote, for this model: it brings its labels and prompts."),
]  # fmt: skip

Shots = Annotated[
    Optional[str],
    typer.Option("--shots", metavar="1,2,4,…", rich_help_panel=_PANEL,
                 help="A learning curve: so many images of each label teach, and those that are not set apart for it are judged."),
]  # fmt: skip
Seeds = Annotated[
    int,
    typer.Option("--seeds", min=1, metavar="N", rich_help_panel=_PANEL, help="How often the images for --shots are drawn anew."),
]  # fmt: skip


@dataclass(repr=False, eq=False)
class TeachingGroup:
    """What is learned from, or was."""

    examples: Examples = None
    save_classifier: SaveClassifier = None
    classifier_file: ClassifierFile = None

    @cached_property
    def saved(self) -> tuple[TaughtClassifier, Path] | None:
        """The classifier that is named, with its file; raises `InputError`."""
        from zsclip.scoring.classifier_file import read_file

        return None if self.classifier_file is None else (read_file(self.classifier_file), self.classifier_file)

    def labels(self, labels: LabelGroup, paths: Sequence[str]) -> LabelSet:
        """Those of the classifier that is named, or else those of the options."""
        return self.saved[0].labels if self.saved else labels.read(paths)

    def read(self, labels: LabelSet, unknown: str, outputs: Outputs) -> LabelledImages | None:
        """The examples of the labels, if there are any. Says what was left out.

        Raises `InputError`, also for a classifier that cannot be written, and for an input that one of the `outputs` would replace.
        """
        from zsclip.cli.outputs import require_extension, require_folder
        from zsclip.evaluation import examples

        require_extension("--save-classifier", self.save_classifier, (".json",))
        require_folder("--save-classifier", self.save_classifier)
        files = [str(path) for path in (self.examples, self.classifier_file) if path is not None and not path.is_dir()]
        outputs.refuse(files)
        if self.examples is None:
            return None
        data = examples.read(self.examples, labels, unknown)
        outputs.refuse(data.paths)
        for note in data.notes:
            logger.info("%s", note)
        return data

    def teach(self, asked: Asked, classifier: Classifier, data: LabelledImages | None) -> Asked:
        """What is asked, with what examples teach. Says what they bring, and writes the classifier if that is asked for."""
        from zsclip.evaluation import examples

        if data is None:
            return asked
        classes = classifier.classes(asked.labels, asked.sets, asked.rules, asked.background)
        taken = examples.take(classifier, classes, data, asked.rules.combine)
        for note in taken.notes():
            logger.info("%s", note)
        for warning in taken.warnings():
            logger.warning("%s", warning)
        if self.save_classifier is not None:
            _write(self.save_classifier, asked, classifier, taken)
        return replace(asked, learned=taken)


@dataclass(repr=False, eq=False)
class JudgedTeachingGroup:
    """What examples bring, judged on images whose label is known."""

    examples: Examples = None
    shots: Shots = None
    seeds: Seeds = 5

    @cached_property
    def numbers(self) -> tuple[int, ...]:
        """How many examples of each label, for a learning curve; raises `typer.BadParameter`."""
        if self.shots is None:
            return ()
        words = self.shots.split(",")
        if not all(word.strip().isdecimal() and 0 < int(word) < 10**6 for word in words):
            raise typer.BadParameter(
                f"{self.shots!r} is no list of numbers from 1, such as 1,2,4,8.", param_hint="--shots"
            )
        return tuple(sorted({int(word) for word in words}))

    def read(self, labels: LabelSet, unknown: str, outputs: Outputs) -> LabelledImages | None:
        """See `TeachingGroup`."""
        return TeachingGroup(self.examples).read(labels, unknown, outputs)

    def images(self, classifier: Classifier, data: LabelledImages | None) -> EmbeddedImages | None:
        """The examples' vectors."""
        from zsclip.evaluation.examples import embed_examples

        return None if data is None else embed_examples(classifier, data)

    def curves(
        self,
        classifier: Classifier,
        images: EmbeddedImages,
        sets: Sequence[PromptSet],
        rules: Rules,
        background: Sequence[str] | None,
    ) -> tuple[Curve, ...]:
        """A learning curve for each set, if they are asked for."""
        from zsclip.evaluation.learning import curve

        if not self.numbers:
            return ()
        return tuple(
            curve(
                one.name, classifier.class_vectors(images.labels, [one], combine=rules.combine, background=background), images.vectors,
                images.truth, self.numbers, self.seeds, rules,
            )
            for one in sets
        )  # fmt: skip


def _write(path: Path, asked: Asked, classifier: Classifier, taken: Taken) -> None:
    from zsclip.output.targets import open_output
    from zsclip.scoring.calibration import Binding
    from zsclip.scoring.classifier_file import TaughtClassifier, to_json

    model, gain = classifier.model, taken.gain
    binding = Binding.of(model.identity, asked.labels, asked.sets, asked.rules.combine, asked.background)
    measured = {"examples": gain.examples, "texts": gain.texts, "taught": gain.taught, "interval": list(gain.interval)}
    one = TaughtClassifier(
        asked.labels,
        asked.sets,
        asked.rules.combine,
        asked.background,
        taken.taught,
        binding,
        model.spec.title,
        taken.counts,
        measured,
    )
    with open_output(path, "save_classifier") as stream:
        stream.write(to_json(one))
    say(f"Wrote {path}. Use it with: zsclip classify … --classifier {path}")
