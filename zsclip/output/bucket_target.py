"""Outputs in buckets: there as a whole, or not at all."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

from zsclip.errors import ImageError, InputError
from zsclip.images.remote.addresses import scheme, split
from zsclip.images.remote.buckets import bucket
from zsclip.images.remote.settings import Network

# An output is the work of hours, and not given up for a server that cannot answer for a minute: its tries end with the 120 s.
PATIENT = Network(tries=60)
_IN_PARTS = 64_000_000  # bytes; up to here one request does


@dataclass(frozen=True)
class BucketTarget:
    """An object of a bucket, which is replaced. `setting` named it. `network` says how long a server that cannot answer is waited for.

    The output waits in a temporary file until it is complete, so that whatever ends the run leaves nothing in the bucket.
    """

    address: str
    setting: str = "output"
    network: Network = PATIENT

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """See `Target`."""
        key = split(self.address)[1]
        if scheme(self.address) not in ("s3", "gs", "az") or not key or key.endswith("/"):
            raise InputError(
                "nothing can be written there.",
                where=self._where,
                remedy="Outputs are files, or objects of s3://, gs:// or az://.",
            )
        to = bucket(self.address, self.network)
        try:  # before the work, not after it; who may write need not be allowed to list
            next(iter(to.listed(key)), None)
        except ImageError as error:
            if "access is denied" not in error.what:
                raise InputError(f"cannot be written: {error}.", where=self._where) from None
        with tempfile.TemporaryFile() as file:
            yield file
            size = file.seek(0, 2)
            file.seek(0)
            try:
                to.put(key, file, size, in_parts=size > _IN_PARTS)
            except ImageError as error:
                raise InputError(
                    f"cannot be written: {error}.",
                    where=self._where,
                    remedy="What was computed is kept: the same command goes on.",
                ) from None

    @property
    def _where(self) -> str:
        return f"`{self.setting}={self.address}`"
