"""Scores from unit vectors: class vectors, similarities, probabilities, rankings, decisions. NumPy only."""

from zsclip.scoring.classes import ClassVectors as ClassVectors
from zsclip.scoring.classes import class_vectors as class_vectors
from zsclip.scoring.decisions import Decision as Decision
from zsclip.scoring.decisions import Scorer as Scorer
from zsclip.scoring.decisions import Scores as Scores
from zsclip.scoring.probability import independent_probabilities as independent_probabilities
from zsclip.scoring.probability import probabilities as probabilities
from zsclip.scoring.probability import similarities as similarities
from zsclip.scoring.ranking import ranking as ranking
from zsclip.scoring.rules import COMBINE as COMBINE
from zsclip.scoring.rules import Rules as Rules
from zsclip.scoring.rules import require_choice as require_choice
from zsclip.unit_vectors import normalise as normalise
from zsclip.unit_vectors import unit_mean as unit_mean
