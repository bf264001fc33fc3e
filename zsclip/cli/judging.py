"""One model, or several one after the other, judged on the same images."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from zsclip.cli import groups
from zsclip.cli.evaluated import known_images
from zsclip.cli.messages import in_options

if TYPE_CHECKING:
    from zsclip.classifier import Classifier
    from zsclip.cli.compared import BetterGroup, TablesGroup
    from zsclip.cli.teaching import JudgedTeachingGroup
    from zsclip.embedding.records import ImageEmbeddings
    from zsclip.evaluation.dataset import LabelledImages
    from zsclip.evaluation.embedded import EmbeddedImages
    from zsclip.evaluation.evaluate import Evaluation
    from zsclip.evaluation.grid import ModelJudged
    from zsclip.evaluation.metrics import Booleans
    from zsclip.scoring.calibration import Calibration
    from zsclip.scoring.rules import Rules
    from zsclip.text.prompts import PromptSet

logger = logging.getLogger("zsclip")


@dataclass(frozen=True)
class Judge:
    """What is asked of every model. Beside an `output` that goes into a pipe no progress is shown."""

    data: LabelledImages
    sets: Sequence[PromptSet]
    rules: Rules
    background: Sequence[str] | None
    tables: TablesGroup
    better: BetterGroup
    reading: groups.ReadingGroup
    store: groups.StoreGroup
    messages: groups.MessageGroup
    output: Path | None
    teaching: JudgedTeachingGroup
    examples: LabelledImages | None = None

    def all(
        self, models: Sequence[groups.ModelGroup], pair: tuple[str, str], baseline: str | None, vectors: str | None
    ) -> tuple[Evaluation, Calibration | None]:
        """One model, or several, whose baseline is a pair; see `one` and `several`."""
        if len(models) > 1:
            return self.several(models, pair), None
        return self.one(models[0], baseline, vectors)

    def one(
        self, model: groups.ModelGroup, baseline: str | None, vectors: str | None
    ) -> tuple[Evaluation, Calibration | None]:
        """A model's evaluation, and a calibration if one is asked for; `vectors` is a run in parts that has the images'."""
        with groups.open_classifier(model, self.reading, self.store) as classifier:
            known = known_images(vectors, classifier, self.data.paths, offline=model.offline)
            embedded, examples = self._apart(classifier, self._embed(classifier, known))
            found = self._evaluate(classifier, embedded, baseline, examples=examples)
            curves = self.teaching.curves(classifier, embedded, self.sets, self.rules, self.background)
            found = replace(found, curves=curves)
            made = self.better.calibrated(classifier, embedded, self.sets[0], self.rules, self.background)
            self.messages.report(classifier)
        return found, made

    def several(self, models: Sequence[groups.ModelGroup], baseline: tuple[str, str]) -> Evaluation:
        """The models' evaluations as one, whose `baseline` is a model and a set.

        All models are fetched before the first computes; no two are loaded at once.
        """
        from zsclip.evaluation import grid
        from zsclip.models import obtain

        obtain([model.resolve for model in models], offline=models[0].offline)
        judged = []
        for number, model in enumerate(models, 1):
            logger.info("%s, model %d of %d.", model.model, number, len(models))
            judged.append(self._judged(model, model.model or ""))
        return grid.compared(judged, baseline)

    def _judged(self, model: groups.ModelGroup, name: str) -> ModelJudged:
        from zsclip.evaluation.grid import ModelJudged, half_of
        from zsclip.evaluation.speed import Stopwatch

        with groups.open_classifier(model, self.reading, self.store) as classifier:
            classifier.model.fetch()
            watch = Stopwatch(name, classifier)
            embedded = self._embed(classifier)
            speed = watch.stop()
            embedded, examples = self._apart(classifier, embedded)
            half = half_of(self.data, embedded, self.better.seed)
            found = self._evaluate(classifier, embedded, half=half, examples=examples)
            self.messages.report(classifier)
        classifier.model.unload()  # what would be said at an interruption still knows the classifier
        chooses = self.better.weigh or self.better.select_templates
        return ModelJudged(speed, found, embedded.places[~half] if chooses else embedded.places)

    def _embed(self, classifier: Classifier, known: ImageEmbeddings | None = None) -> EmbeddedImages:
        from zsclip.cli.inputs import report_known
        from zsclip.cli.progress import into_pipe, progress
        from zsclip.evaluation.embedded import embed

        hidden = self.messages.quiet or into_pipe(self.output)
        with progress(classifier, lambda: len(self.data.paths), hidden=hidden) as advance:
            embedded = embed(classifier, self.data, advance, known)
        report_known(classifier.counts)
        return replace(embedded, unreadable=tuple((path, in_options(why)) for path, why in embedded.unreadable))

    def _apart(self, classifier: Classifier, images: EmbeddedImages) -> tuple[EmbeddedImages, EmbeddedImages | None]:
        """The images that are no examples, and the examples."""
        from zsclip.evaluation.examples import apart

        examples = self.teaching.images(classifier, self.examples)
        return (images if examples is None else apart(images, examples)), examples

    def _evaluate(
        self,
        classifier: Classifier,
        embedded: EmbeddedImages,
        baseline: str | None = None,
        half: Booleans | None = None,
        examples: EmbeddedImages | None = None,
    ) -> Evaluation:
        from zsclip.evaluation.evaluate import evaluate

        return evaluate(
            classifier, embedded, self.sets, rules=self.rules, background=self.background, baseline=baseline,
            per_template=self.tables.per_template, weigh=self.better.weigh, select=self.better.select_templates,
            seed=self.better.seed, half=half, examples=examples,
        )  # fmt: skip
