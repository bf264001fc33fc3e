"""How similarities become probabilities and decisions, as the user wants it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zsclip.errors import InputError, LabelError

COMBINE = ("mean", "max", "sum")


@dataclass(frozen=True)
class Rules:
    """How similarities become probabilities, and when to abstain.

    Probabilities are a softmax over the labels (and the background, if there is one), or with `multi_label` one by one.
    `combine` says what a label of several names is: the unit `mean` of their vectors; its best name (`max`); or the `sum`
    of its names' probabilities. An image gets no label if its best one has a probability under `min_probability`, leads
    by less than `min_margin`, has a similarity under `min_similarity`, or loses to the background. `logit_thresholds`, of
    `multi_label` alone, are the logits at which the labels' probabilities are one half, in the order of the labels: a
    calibration's, instead of 0 for all. Raises `LabelError` for values that make no sense, and `InputError` for `multi_label`
    with `min_margin`.
    """

    temperature: float = 1.0
    combine: str = "mean"
    multi_label: bool = False
    min_probability: float | None = None
    min_margin: float | None = None
    min_similarity: float | None = None
    logit_thresholds: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < self.temperature < np.inf:
            raise LabelError(f"A temperature must be above 0, not {self.temperature}.")
        if self.combine not in COMBINE:
            raise LabelError(f"There is no combine={self.combine!r}. There are: {', '.join(COMBINE)}.")
        if self.multi_label and self.combine == "sum":
            raise LabelError("A sum of names' probabilities needs a softmax: use combine mean or max with multi-label.")
        if self.multi_label and self.min_margin is not None:
            raise InputError(
                "A margin is between labels that compete, and labels on their own do not.",
                remedy="Leave out one of `multi_label` and `min_margin`.",
            )
        if self.logit_thresholds and not self.multi_label:
            raise LabelError("Thresholds of labels on their own need `multi_label`.")
        for name, value in (("probability", self.min_probability), ("margin", self.min_margin)):
            if value is not None and not 0 <= value <= 1:
                raise LabelError(f"A least {name} must be between 0 and 1, not {value}.")
        if self.min_similarity is not None and not -1 <= self.min_similarity <= 1:
            raise LabelError(f"A least similarity must be between -1 and 1, not {self.min_similarity}.")

    @property
    def abstains(self) -> bool:
        """Whether an image may get no label even without a background."""
        thresholds = (self.min_probability, self.min_margin, self.min_similarity)
        return self.multi_label or any(value is not None for value in thresholds)

    @property
    def least_probability(self) -> float:
        """The probability a label must have: with `multi_label`, where "yes" begins at one half, 0.5 by default."""
        return self.min_probability if self.min_probability is not None else 0.5 if self.multi_label else 0.0


def require_choice(
    names: Sequence[str],
    rules: Rules,
    background: Sequence[str] | None,
    *,
    unknown: str | None = None,
    above: Sequence[str] = (),
    remedy: str = "`multi_label` or `background`",
) -> None:
    """Raise `LabelError` for labels that leave nothing to decide; `remedy` asks whether a single one is there.

    A single label has nothing to be told apart from, unless it stands on its own, against a background or a least
    similarity. No label, nor what is `above` some, may be called `unknown`, if that is what images without a label will be called.
    """
    if unknown in (*names, *above) and (rules.abstains or background):
        raise LabelError(
            f"{unknown!r} is a label and also what images without a decision are called.",
            remedy="Call those something else: `unknown_label='no decision'`.",
        )
    if len(names) == 1 and not (rules.multi_label or background or rules.min_similarity is not None):
        raise LabelError(
            f"Only one label is given ({names[0]!r}), and the softmax over one label is always 1, whatever the picture "
            f"shows.",
            remedy=f"Give what it is to be told apart from as well, such as `labels='{names[0]},something else'`, or ask "
            f"whether it is there at all with {remedy}.",
        )
