"""Stub until the store's own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from zsclip.store.database import EXPORTS, Store, default_folder


@dataclass(frozen=True)
class Keeping:
    """Where and whether vectors are kept."""

    cache_dir: Path | None = None
    use_cache: bool = True
    rehash: bool = False

    @property
    def folder(self) -> Path:
        """The folder."""
        return self.cache_dir if self.cache_dir is not None else default_folder()

    @property
    def exports(self) -> Path:
        """Exports."""
        return self.folder / EXPORTS

    def open(self) -> Store:
        """Open."""
        return Store(self.folder if self.use_cache else None)
