"""What the network may be asked for, and for how long."""

from __future__ import annotations

from dataclasses import dataclass

from zsclip.errors import InputError


@dataclass(frozen=True)
class Network:
    """How addresses are opened. Raises `InputError` for numbers that make no sense.

    `allow_private`: addresses that stand in data may lead to this machine and private networks. `sign_requests`: buckets are asked
    with the user's keys, if there are any. `per_host`: requests at once to one host of the web. `offline`: nothing is asked at all.

    Seconds: `connect_seconds` for a connection, `silence_seconds` without a byte, `total_seconds` for a picture with all tries.
    What may pass is tried `tries` times, the first pause being `pause_seconds`. A picture has at most `max_bytes`.
    """

    allow_private: bool = False
    sign_requests: bool = True
    per_host: int = 8
    offline: bool = False
    connect_seconds: float = 10
    silence_seconds: float = 30
    total_seconds: float = 120
    tries: int = 3
    pause_seconds: float = 0.5
    max_bytes: int = 256_000_000

    def __post_init__(self) -> None:
        if self.per_host < 1:
            raise InputError(f"`per_host` must be at least 1, not {self.per_host}.")
        if self.tries < 1 or min(self.connect_seconds, self.silence_seconds, self.total_seconds, self.max_bytes) <= 0:
            raise InputError("Tries, times and sizes of the network must be above 0.")

    def require_online(self, where: str) -> None:
        """Raise `InputError` for an address where nothing may be asked."""
        if self.offline:
            raise InputError("an address, which `offline` forbids to ask.", where=where)
