"""What is kept between runs, and where."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from zsclip.store.database import Store

EXPORTS = "exports"  # a folder beside the database, for what engines make of a model once


@dataclass(frozen=True)
class Keeping:
    """Settings of what is kept: in `cache_dir` (None: the user's cache folder).

    Without `use_cache`, vectors are neither read nor kept; what engines make of a model still is. With `rehash`, files
    are read again even if nothing tells that they changed.
    """

    cache_dir: Path | None = None
    use_cache: bool = True
    rehash: bool = False

    @property
    def folder(self) -> Path:
        """The folder of the store: `cache_dir`, else `ZSCLIP_CACHE_DIR`, else the user's cache folder of the platform."""
        import platformdirs

        if chosen := self.cache_dir or os.environ.get("ZSCLIP_CACHE_DIR"):
            return Path(chosen)
        return Path(platformdirs.user_cache_dir("zsclip", appauthor=False))

    @property
    def exports(self) -> Path:
        """The folder for what engines make of a model once."""
        return self.folder / EXPORTS

    def open(self) -> Store:
        """The store; without `use_cache` one that keeps nothing."""
        return Store(self.folder if self.use_cache else None)
