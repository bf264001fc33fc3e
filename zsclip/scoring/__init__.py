"""Scores from unit vectors: class vectors, similarities, probabilities, rankings, decisions. NumPy only."""

from __future__ import annotations

from zsclip.scoring.classes import ClassVectors, class_vectors
from zsclip.scoring.decisions import Decision, Scorer, Scores, decide
from zsclip.scoring.probability import independent_probabilities, probabilities, ranking, similarities
from zsclip.scoring.rules import COMBINE, Rules, require_choice
from zsclip.unit_vectors import Doubles, Floats, normalise, unit_mean

__all__ = [
    "COMBINE",
    "ClassVectors",
    "Decision",
    "Doubles",
    "Floats",
    "Rules",
    "Scorer",
    "Scores",
    "class_vectors",
    "decide",
    "independent_probabilities",
    "normalise",
    "probabilities",
    "ranking",
    "require_choice",
    "similarities",
    "unit_mean",
]
