"""The demo: a small CLIP model that knows coloured shapes and nothing else, and the scenes it knows."""

from __future__ import annotations

from zsclip.demo.folder import DrawnFolder, draw_folder

__all__ = ["DrawnFolder", "draw_folder"]
