"""An evaluation of labels on their own as rows of named columns, and as one JSON document."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

from zsclip.evaluation.metrics import Interval
from zsclip.evaluation.multi_label.figures import RESAMPLES, interval
from zsclip.evaluation.multi_label.judge import (
    COMPARED,
    Figure,
    MultiLabelComparison,
    MultiLabelEvaluation,
    MultiLabelResult,
)
from zsclip.evaluation.tables import Row
from zsclip.scoring.calibration import Calibration
from zsclip.unit_vectors import Doubles

METHODS = (
    "average precision as scikit-learn defines it, by the probability of each label; a label holds from its threshold on; micro "
    "figures are of all pairs of an image and a label, macro ones means over the labels that some image has; 95 % intervals "
    f"by {RESAMPLES} bootstrap resamples of the images, the same for all sets, moved to the figure; p from these, adjusted by Holm."
)


def comparison_rows(found: MultiLabelEvaluation) -> list[Row]:
    """A row a set: its figures over all labels, and how it compares with the baseline."""
    against = dict(zip((one.name for one in found.others), found.comparisons, strict=True))
    return [_comparison_row(found, one, against.get(one.name)) for one in found.sets]


def _comparison_row(found: MultiLabelEvaluation, one: MultiLabelResult, against: MultiLabelComparison | None) -> Row:
    row: Row = {"prompts": one.name, "templates": len(one.prompts.templates), "images": len(found.images)}
    row["labels"] = len(found.labels) - len(found.without_images)
    for name, figure in one.means.items():
        row |= {name: figure.value, **(_ends(name, figure.interval) if name in COMPARED else {})}
    if found.images.predicted:
        row["predicted_labels"] = found.images.predicted
    row["baseline"] = found.baseline.name
    for name in COMPARED:
        difference = against.differences[name] if against else None
        column = "difference" if name == "map" else f"{name}_difference"
        row |= {
            column: difference.value if difference else None,
            **_ends(column, difference.interval if difference else None),
        }
    row["p_value"] = against.differences["map"].p_value if against else None
    row |= {"p_adjusted": against.p_adjusted if against else None, "verdict": against.verdict if against else None}
    return {**row, "chance": found.chance, "standing": found.standing(one)}


def _ends(name: str, found: Interval | None) -> Row:
    low, high = found or (None, None)
    return {f"{name}_low": low, f"{name}_high": high}


def label_rows(found: MultiLabelEvaluation) -> list[Row]:
    """A row a set and label: its average precision, precision, recall and F1, and how many images have it."""
    names = found.labels.names
    return [
        {
            "prompts": one.name,
            "label": names[n],
            "average_precision": ap.value,
            **_ends("average_precision", ap.interval),
            "precision": precision,
            "recall": recall,
            "f1": f1.value,
            **_ends("f1", f1.interval),
            "images": images,
        }
        for one in found.sets
        for n, ap, precision, recall, f1, images in label_figures(one)
    ]


def label_figures(
    one: MultiLabelResult,
) -> Iterator[tuple[int, Figure, float | None, float | None, Figure, int]]:
    """Of each label: its number, average precision, precision, recall, F1, images; NaN where there is nothing to divide by."""
    here, resampled = one.figures, one.resampled
    f1, precision, recall, of_resamples = here.f1, here.precision, here.recall, resampled.f1
    for n, images in enumerate(here.positive.tolist()):
        yield (
            n,
            _figure(here.average_precision[n], resampled.average_precision[:, n]),
            _number(precision[n]),
            _number(recall[n]),
            _figure(f1[n], of_resamples[:, n]),
            int(images),
        )


def _figure(value: float, resampled: Doubles) -> Figure:
    return Figure(_number(value), interval(float(value), resampled))


def _number(value: float) -> float | None:
    return None if value != value else float(value)


def document(found: MultiLabelEvaluation, calibration: Calibration | None, unknown: str, *, per_class: bool) -> Row:
    """Everything as one JSON document. `unknown` is what images without a label are called."""
    return {
        "model": found.model,
        "multi_label": True,
        "images": len(found.images),
        "labels": list(found.labels.names),
        "labels_without_images": list(found.without_images),
        "chance": found.chance,
        "predicted_labels": found.images.predicted,
        "rules": {**asdict(found.rules), "unknown_label": unknown},
        "baseline": found.baseline.name,
        "prompts": comparison_rows(found),
        **({"per_class": label_rows(found)} if per_class else {}),
        "calibration": asdict(calibration) if calibration else None,
        "unreadable": [{"path": path, "error": error} for path, error in found.images.unreadable],
        "notes": [*found.warnings, *found.notes],
        "methods": METHODS,
    }
