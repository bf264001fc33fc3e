"""How the things that hold pictures are opened: what a user chooses about archives, addresses, tables and videos."""

from __future__ import annotations

from dataclasses import dataclass, field

from zsclip.images.archives.sidecar import Sidecar
from zsclip.images.remote.settings import Network
from zsclip.images.tables.columns import TableColumns
from zsclip.images.video_opening import VideoOpening


@dataclass(frozen=True, kw_only=True)
class Opening:
    """One field for each kind of source that leaves a choice; the field's own class says which."""

    sidecar: Sidecar | None = None  # of archives: where labels stand
    tables: TableColumns = field(default_factory=TableColumns)
    network: Network = field(default_factory=Network)
    video: VideoOpening = field(default_factory=VideoOpening)
