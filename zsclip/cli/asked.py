"""The labels that a command asks for, and how they are decided."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from zsclip.classifier import Classifier, Images
    from zsclip.cli.groups import DecisionGroup, PromptGroup
    from zsclip.cluster.rows import Labelling
    from zsclip.evaluation.examples import Taken
    from zsclip.output.provenance import Provenance
    from zsclip.output.rows import Layout
    from zsclip.scoring.batches import ImageResults
    from zsclip.scoring.calibration import Calibration
    from zsclip.scoring.classifier_file import TaughtClassifier
    from zsclip.scoring.rules import Rules
    from zsclip.scoring.taught import Taught
    from zsclip.text.labels import LabelSet
    from zsclip.text.prompts import PromptSet


@dataclass(frozen=True)
class Asked:
    """See the module. `unknown` is what an abstention is called, None where there is none; a `calibration` comes with its file.

    Labels may have been taught: by a `saved` classifier, which comes with its file, or by examples, of which something was `learned` now.
    """

    labels: LabelSet
    sets: tuple[PromptSet, ...]
    rules: Rules
    background: tuple[str, ...] | None
    unknown: str | None
    top_k: int
    calibration: tuple[Calibration, Path] | None
    saved: tuple[TaughtClassifier, Path] | None = None
    learned: Taken | None = None

    @classmethod
    def read(
        cls,
        labels: LabelSet,
        prompts: PromptGroup,
        decision: DecisionGroup,
        rules: Rules,
        top_k: int | None,
        calibration: Path | None,
        *,
        saved: tuple[TaughtClassifier, Path] | None = None,
        unknown_apart: bool = False,
    ) -> Asked:
        """What the options say; raises `ZsclipError`. With `unknown_apart` a label may have the name of an abstention, too.

        A `saved` classifier brings its labels, prompts, `combine` and, unless another is given, background.
        """
        from zsclip.scoring.calibration import read_file
        from zsclip.scoring.rules import require_choice

        background, sets = decision.read_background(), prompts.read()
        if saved is not None:
            labels, sets, rules = saved[0].labels, saved[0].prompts, replace(rules, combine=saved[0].combine)
            background = saved[0].background if background is None else background
        apart = None if unknown_apart else decision.unknown_label
        require_choice(labels.names, rules, background, unknown=apart, above=labels.above)
        unknown = decision.unknown_label if rules.abstains or background is not None else None
        calibrated = (read_file(calibration), calibration) if calibration else None
        kept = min(top_k or len(labels), len(labels))
        return cls(labels, sets, rules, background, unknown, kept, calibrated, saved)

    def results(
        self, classifier: Classifier, images: Images, pool: Literal["mean", "max"] | None = None
    ) -> Generator[ImageResults, None, None]:
        """The images' results; see `Classifier.classify_batches`. Warns of those that are examples."""
        from zsclip.evaluation.examples import Watched

        watched = None if self.learned is None else Watched(classifier, images, self.learned.images, pool)
        batches = classifier.classify_batches(
            images if watched is None else watched,
            self.labels,
            self.sets,
            top_k=self.top_k,
            rules=self.rules_for(classifier),
            background=self.background,
            taught=self.taught_for(classifier),
            pool=pool,
        )
        return batches if watched is None else watched.told(batches)

    def taught_for(self, classifier: Classifier) -> Taught | None:
        """What examples taught, if there are any; raises `InputError` for a classifier of another model."""
        if self.saved is None:
            return None if self.learned is None else self.learned.taught
        one, file = self.saved
        classifier.require_taught(one, file)
        return one.taught

    def layout(self, *, timed: bool) -> Layout[ImageResults]:
        """How the results' rows are laid out; see `rows.result_layout`."""
        from zsclip.output.rows import result_layout

        several, nested = self.rules.multi_label, self.labels.nests
        return result_layout(self.top_k, self.unknown, several=several, timed=timed, nested=nested)

    def rules_for(self, classifier: Classifier) -> Rules:
        """The rules, with what the calibration brings if there is one; raises `CalibrationError`."""
        if self.calibration is None:
            return self.rules
        calibrated, file = self.calibration
        return classifier.calibrated(self.rules, calibrated, self.labels, self.sets, self.background, file)

    def provenance(self, classifier: Classifier) -> Provenance:
        """What is to be said of the results."""
        from zsclip.output.provenance import Provenance

        return Provenance(classifier.model, self.labels, self.sets, self.rules.combine, self.background)

    @property
    def decides(self) -> dict[str, Any]:
        """What labels in parts depend on, the model apart; as JSON has it."""
        calibrated, rules = self.calibration[0] if self.calibration else None, asdict(self.rules)
        del rules["logit_thresholds"]  # which come with a calibration
        return {
            "labels": [[one.name, *one.members] if one.members != (one.name,) else one.name for one in self.labels.labels],
            **({"nested": True} if self.labels.nests else {}),
            "prompts": self._prompts, "background": self.background,
            "rules": rules, "temperature": calibrated.temperature if calibrated else None,
            "label_thresholds": {one.label: one.logit for one in calibrated.label_thresholds} or None if calibrated else None,
            "unknown_label": self.unknown, "top_k": self.top_k,
            **({"classifier": self.saved[0].digest} if self.saved else {}),
        }  # fmt: skip

    @property
    def _prompts(self) -> str:
        """A digest of the templates, and of the prompts of their own that some of these labels have; other labels do not change it.

        Raises `PromptSetError` where a label has no prompts.
        """
        from zsclip.scoring.calibration import Binding
        from zsclip.text.labels import Label, LabelSet

        members = {member for label in self.labels.labels for member in label.members}
        own = {member for member in members if any(member in one.label_prompts for one in self.sets)}
        others = ["<label>"] if all(one.templates for one in self.sets) else members - own
        names = [*own, *others] if own != members else own
        return Binding.of("", LabelSet(tuple(map(Label.of, sorted(names)))), self.sets).prompts

    def told(self, classifier: Classifier) -> tuple[Labelling, Provenance]:
        """What is told of each picture in parts, and of the run."""
        from zsclip.cluster.rows import Labelling
        from zsclip.scoring.levels import in_levels

        rules = self.rules_for(classifier)
        classes = classifier.classes(self.labels, self.sets, rules, self.background)
        scorer = in_levels(replace(classes, taught=self.taught_for(classifier)), self.labels)
        return Labelling(scorer, rules, self.top_k, self.unknown, self.labels.nests), self.provenance(classifier)
