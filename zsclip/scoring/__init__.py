"""Scores from unit vectors: class vectors, similarities, probabilities, rankings, decisions. NumPy only."""

from __future__ import annotations

from zsclip.scoring.classes import ClassVectors, Scored, Scores, class_vectors
from zsclip.scoring.probability import independent_probabilities, probabilities, ranking, similarities
from zsclip.scoring.rules import COMBINE, UNKNOWN, Rules
from zsclip.unit_vectors import Doubles, Floats, normalise, unit_mean

__all__ = [
    "COMBINE",
    "UNKNOWN",
    "ClassVectors",
    "Doubles",
    "Floats",
    "Rules",
    "Scored",
    "Scores",
    "class_vectors",
    "independent_probabilities",
    "normalise",
    "probabilities",
    "ranking",
    "similarities",
    "unit_mean",
]
