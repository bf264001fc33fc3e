"""An evaluation as rows of named columns, and as one JSON document."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, TypeAlias

from zsclip.evaluation import metrics
from zsclip.evaluation.comparison import Comparison
from zsclip.evaluation.evaluate import Evaluation, SetResult
from zsclip.evaluation.levels import level_rows
from zsclip.evaluation.speed import ComparedModel
from zsclip.scoring.calibration import Calibration

Row: TypeAlias = dict[str, Any]


def comparison_rows(found: Evaluation) -> list[Row]:
    """A row a set: its metrics, and how it compares with the baseline; of several models, how fast each was, too."""
    against = dict(zip((one.name for one in found.others), found.comparisons, strict=True))
    return [_comparison_row(found, one, against.get(one.name)) for one in found.sets]


def _comparison_row(found: Evaluation, one: SetResult, against: Comparison | None) -> Row:
    row: Row = {
        **_called(one),
        "kind": one.kind,
        "templates": len(one.prompts.templates),
        **_flat(asdict(one.summary)),
    }
    if not found.abstains:
        for name in ("coverage", "covered_accuracy", "covered_low", "covered_high"):
            del row[name]
    compared = {**_flat(asdict(against)), "verdict": against.verdict} if against else {}
    if found.predicted:
        row["predicted_labels"] = found.predicted
    names = ("difference", "difference_low", "difference_high", "gained", "lost", "p_value", "p_adjusted", "verdict")
    row = {**row, "baseline": found.baseline.name, **{name: compared.get(name) for name in names}}
    row = {**row, "chance": found.chance, "commonest": found.commonest[1], "standing": found.standing(one)}
    speed = {model.name: _speed(model) for model in found.models}
    return {**row, **speed.get(one.model, {})}


def _called(one: SetResult) -> Row:
    """The columns that say of what a row is."""
    return {"model": one.model, "prompts": one.prompts.name} if one.model else {"prompts": one.name}


def _speed(model: ComparedModel) -> Row:
    return {"images_per_second": model.images_per_second, "images_computed": model.computed}


def _flat(numbers: Row) -> Row:
    """Intervals as two columns, named after what they are of."""
    flat: Row = {}
    for name, value in numbers.items():
        if name.endswith("interval"):
            what = {"top1_interval": "top1", "covered_interval": "covered", "interval": "difference"}[name]
            flat[f"{what}_low"], flat[f"{what}_high"] = value or (None, None)
        else:
            flat[name] = value
    return flat


def label_rows(found: Evaluation) -> list[Row]:
    """A row a set and label: precision, recall, F1, images, and what it is most often taken for."""
    names = found.labels.names
    rows = []
    for one in found.sets:
        for scores in metrics.per_label(one.predictions, len(names)):
            row = {**_called(one), **asdict(scores), "label": names[scores.label]}
            rows.append({**row, "confused_with": None if scores.confused_with is None else names[scores.confused_with]})
    return rows


def template_rows(found: Evaluation) -> list[Row]:
    """A row a set and template: the template by itself, the best first."""
    return [
        {
            **_called(one),
            "template": score.template,
            "top1": score.top1,
            "top1_low": score.interval.low,
            "top1_high": score.interval.high,
            "nll": score.nll,
        }
        for one in found.sets
        for score in one.templates
    ]


def confusion_rows(found: Evaluation) -> list[Row]:
    """A row a set and cell of its confusion matrix that is not 0."""
    names = found.labels.names
    return [
        {**_called(one), "label": names[true], "predicted": names[said], "images": count}
        for one in found.sets
        for true, said, count in metrics.confusions(one.predictions)
    ]


def error_rows(found: Evaluation, most: int) -> list[Row]:
    """A row a set and mistake, of the most confident ones."""
    names = found.labels.names
    rows = []
    for one in found.sets:
        said = one.predictions
        for n in mistakes(one, most):
            row = {**_called(one), "path": found.paths[n], "label": names[said.truth[n]]}
            rows.append({**row, "predicted": names[said.predicted[n]], "probability": float(said.confidence[n])})
    return rows


def mistakes(one: SetResult, most: int) -> list[int]:
    """The images a set is wrong about, the most confident first."""
    wrong = [n for n, right in enumerate(one.predictions.correct.tolist()) if not right]
    return sorted(wrong, key=lambda n: (-one.predictions.confidence[n], n))[:most]


def document(
    found: Evaluation, tables: Sequence[str], errors: int, calibration: Calibration | None, unknown: str
) -> Row:
    """Everything as one JSON document. `unknown` is what images without a label are called."""
    return {
        **({"models": model_rows(found)} if found.models else {"model": found.model}),
        "images": found.baseline.summary.images,
        "labels": list(found.labels.names),
        "chance": found.chance,
        "commonest": {"label": found.commonest[0], "share": found.commonest[1]},
        "chosen_on": found.chosen_on,
        "predicted_labels": found.predicted,
        "rules": {**asdict(found.rules), "unknown_label": unknown},
        "baseline": found.baseline.name,
        "prompts": [
            {**row, "chosen": dict(one.prompts.chosen), "weights": list(one.prompts.weights) or None}
            for row, one in zip(comparison_rows(found), found.sets, strict=True)
        ],
        **{name: DETAILS[name](found, errors) for name in tables},
        "calibration": asdict(calibration) if calibration else None,
        "unreadable": [{"path": path, "error": error} for path, error in found.unreadable],
        "notes": [*found.warnings, *found.notes],
        "methods": METHODS,
    }


def learning_rows(found: Evaluation) -> list[Row]:
    """A row for each number of examples of each label, of each set."""
    return [
        {
            "prompts": curve.prompts, "shots": point.shots, "examples": point.examples, "judged": point.judged, "seeds": curve.seeds,
            "zero_shot": point.texts, "taught": point.taught, **_ends("taught", point.taught_interval), "difference": point.gain,
            **_ends("difference", point.gain_interval),
        }
        for curve in found.curves
        for point in curve.points
    ]  # fmt: skip


def _ends(name: str, interval: metrics.Interval | None) -> Row:
    low, high = interval or (None, None)
    return {f"{name}_low": low, f"{name}_high": high}


def model_rows(found: Evaluation) -> list[Row]:
    """A row for each of several models: what it is, and how fast it was."""
    return [{"model": one.name, "title": one.title, **_speed(one)} for one in found.models]


DETAILS: dict[str, Callable[[Evaluation, int], list[Row]]] = {
    "per_class": lambda found, errors: label_rows(found),
    "per_template": lambda found, errors: template_rows(found),
    "per_level": lambda found, errors: [
        {**_called(one), **row} for one in found.sets if one.levels for row in level_rows(one.levels)
    ],
    "confusion": lambda found, errors: confusion_rows(found),
    "learning": lambda found, errors: learning_rows(found),
    "errors": error_rows,
}
METHODS = (
    "top-1 with Wilson's 95 % interval; recall and F1 are means over the labels that have images; ECE in 15 equal-width "
    "bins of the top probability; NLL in nats; differences with Tango's interval; p by the exact McNemar test, adjusted "
    "by Holm."
)


COLUMNS = {  # of the tables that may have no row
    "per_template": ("prompts", "template", "top1", "top1_low", "top1_high", "nll"),
    "errors": ("prompts", "path", "label", "predicted", "probability"),
}


def columns(found: Evaluation, table: str) -> tuple[str, ...]:
    """The header of a table that may have no row."""
    return (*(("model",) if found.models else ()), *COLUMNS.get(table, ()))
