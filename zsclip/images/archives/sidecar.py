"""Files beside the pictures of an archive, which say what these show."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Sidecar:
    """Where the label of a picture in an archive stands: in the file of its sample with that extension; of JSON, under `key`."""

    extension: str
    key: str = ""
