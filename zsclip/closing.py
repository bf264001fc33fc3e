"""Classes that are closed at the end of a `with` block."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TypeVar

T = TypeVar("T")


class Closing(ABC):
    """Something with `close`, which the end of its `with` block calls."""

    @abstractmethod
    def close(self) -> None:
        """Give up what is held; may be called again."""

    def __enter__(self: T) -> T:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
