"""How the things that hold pictures are opened: what a user chooses about archives, addresses, tables and videos."""

from __future__ import annotations

from dataclasses import dataclass, field

from zsclip.images.videos import VideoOpening


@dataclass(frozen=True)
class Opening:
    """One field for each kind of source that leaves a choice; the field's own class says which."""

    video: VideoOpening = field(default_factory=VideoOpening)
