"""What a long piece of work is at, told as records of the logger that have a `step`."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from zsclip.closing import Closing

logger = logging.getLogger("zsclip")


class Steps(Closing):
    """The steps of some `work` ("converting X"), in their order. A record's `step` says what begins; an empty one, that all is over."""

    def __init__(self, work: str, names: Sequence[str]) -> None:
        self._work, self._names, self._begun = work, names, 0
        self._started = time.monotonic()

    def next(self) -> None:
        """The next step begins."""
        name = self._names[self._begun]
        self._begun += 1
        step = f"{name} ({self._begun} of {len(self._names)})"
        logger.info("%s: %s", self._work, step, extra={"step": step})

    def close(self) -> None:
        """The work is over, whatever came of it."""
        logger.info("%s took %.0f s", self._work, time.monotonic() - self._started, extra={"step": ""})
