"""What an engine of OpenVINO is made of: a model's towers as graphs, wherever they come from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from zsclip.engines.openvino.tokenizer import Tokenizer
from zsclip.models.spec import ModelFacts

ALL, LARGEST = "all", "largest"  # where a text tower pools, if not at a token of a certain number


class Source(Protocol):
    """A model's towers before they are compiled, and what is to be known beside them.

    `image` is a graph uint8 (n, height, width, 3) -> float32 (n, d), or the path of its XML file. `text` likewise, int32
    (n, length) or trees of tokens (`prefixes.Forest`) -> float32 (n, d). `pooled_at` is up to where a text must be computed:
    `ALL` of it, or up to its `LARGEST` token, or to the one with that number. `vocabulary` is how many tokens the text tower
    knows (0: it did not say).
    """

    facts: ModelFacts
    parameters: int
    tower_parameters: Mapping[str, int]  # of the towers `image` and `text`
    pooled_at: str | int
    vocabulary: int

    @property
    def image(self) -> Any:
        """The image tower."""

    @property
    def text(self) -> Any:
        """The text tower."""

    @property
    def remedy(self) -> str:
        """What helps if a tower cannot be compiled."""

    def tokenizer(self) -> Tokenizer:
        """The model's tokenizer; raises `ModelError`."""

    def require_numbers(self) -> None:
        """Raise `ModelError` if the weights hold NaN or infinity; where that was seen before, there is nothing to do."""
