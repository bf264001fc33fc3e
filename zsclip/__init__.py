"""Zero-shot image classification with CLIP: images sorted by labels you make up.

    from zsclip import Classifier, PromptSet, LabelSet

Names are resolved at first use, so that importing the package imports neither NumPy nor torch.
"""

from __future__ import annotations

from importlib import import_module

# Not from `typing`, which takes longer to import than all that comes before signals are listened to (`zsclip.__main__`).
TYPE_CHECKING = False
if TYPE_CHECKING:
    from zsclip.classifier import Classifier
    from zsclip.errors import (
        CalibrationError,
        ImageError,
        InputError,
        LabelError,
        ModelError,
        PromptSetError,
        ZsclipError,
    )
    from zsclip.scoring.calibration import Calibration
    from zsclip.scoring.classes import ClassVectors
    from zsclip.scoring.results import ImageResult, Prediction
    from zsclip.scoring.rules import Rules
    from zsclip.text.labels import Label, LabelSet
    from zsclip.text.prompts import PromptSet

__version__ = "0.1.0"  # here and nowhere else: the build reads it

__all__ = [
    "Calibration",
    "CalibrationError",
    "ClassVectors",
    "Classifier",
    "ImageError",
    "ImageResult",
    "InputError",
    "Label",
    "LabelError",
    "LabelSet",
    "ModelError",
    "Prediction",
    "PromptSet",
    "PromptSetError",
    "Rules",
    "ZsclipError",
]

_HOMES = {
    "zsclip.scoring.calibration": ("Calibration",),
    "zsclip.errors": (
        "CalibrationError",
        "ImageError",
        "InputError",
        "LabelError",
        "ModelError",
        "PromptSetError",
        "ZsclipError",
    ),
    "zsclip.text.labels": ("Label", "LabelSet"),
    "zsclip.classifier": ("Classifier",),
    "zsclip.text.prompts": ("PromptSet",),
    "zsclip.scoring.results": ("ImageResult", "Prediction"),
    "zsclip.scoring": ("ClassVectors", "Rules"),
}


def __getattr__(name: str) -> object:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(home), name)
    raise AttributeError(f"module 'zsclip' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
