"""How the things that hold pictures are opened: what a user chooses about archives, addresses, tables and videos."""

from __future__ import annotations

from dataclasses import dataclass, field

from zsclip.images.remote.settings import Network


@dataclass(frozen=True)
class Opening:
    """One field for each kind of source that leaves a choice; the field's own class says which."""

    network: Network = field(default_factory=Network)
