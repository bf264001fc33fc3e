"""The report of `evaluate`: the comparison, and for each set what it confuses, how sure it may be, and its mistakes."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from zsclip.evaluation import metrics, tables
from zsclip.evaluation.evaluate import Evaluation, SetResult
from zsclip.report import render
from zsclip.report.pictures import Pictures
from zsclip.scoring.calibration import Calibration
from zsclip.text.wording import counted

_MISTAKES = 60
_POINTS = 400  # of a curve, more than pixels


def evaluation_html(found: Evaluation, title: str, pictures: Pictures, calibration: Calibration | None = None) -> str:
    """The page."""
    rows = tables.comparison_rows(found)
    data = {
        "title": title,
        "model": found.model or counted(len(found.models), "model"),
        "models": tables.model_rows(found),
        "learning": tables.learning_rows(found),
        "images": found.baseline.summary.images,
        "labels": list(found.labels.names),
        "chance": found.chance,
        "commonest": found.commonest,
        "baseline": found.baseline.name,
        "abstains": found.abstains,
        "unreadable": found.unreadable,
        "notes": [*found.warnings, *found.notes],
        "methods": tables.METHODS,
        "calibration": asdict(calibration) if calibration else None,
        "sets": [
            {"name": one.name, **row, **_details(found, one, pictures)}
            for row, one in zip(rows, found.sets, strict=True)
        ],
    }
    return render("evaluation", title, data)


def _details(found: Evaluation, one: SetResult, pictures: Pictures) -> dict[str, Any]:
    said = one.predictions
    worst = tables.mistakes(one, _MISTAKES)
    sources = pictures.sources([found.paths[n] for n in worst])
    return {
        "list": [
            {"text": template, "weight": one.prompts.weights[n] if one.prompts.weights else None}
            for n, template in enumerate(one.prompts.templates)
        ],
        "chosen": dict(one.prompts.chosen),
        "alone": [asdict(score) for score in one.templates],
        "confusions": metrics.confusions(said),
        "bins": [asdict(found) for found in metrics.reliability(said.confidence, said.correct)],
        "curve": _thinned(metrics.coverage_curve(said)),
        "classes": [asdict(scores) for scores in metrics.per_label(said, len(found.labels))],
        "wrong": int((~said.correct).sum()),
        "mistakes": [
            {
                "path": found.paths[n],
                "src": source,
                "label": int(said.truth[n]),
                "predicted": int(said.predicted[n]),
                "probability": round(float(said.confidence[n]), 6),
            }
            for n, source in zip(worst, sources, strict=True)
        ],
    }


def _thinned(curve: list[metrics.Coverage]) -> list[list[float]]:
    if not curve:
        return []
    step = max(1, len(curve) // _POINTS)
    kept = curve[::step] + ([curve[-1]] if (len(curve) - 1) % step else [])
    return [[round(value, 6) for value in point] for point in kept]
