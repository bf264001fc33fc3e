"""A folder of results, on a disk that all share or in a bucket: files that are there whole or not at all, under fixed names."""

from __future__ import annotations

import io
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any, BinaryIO, cast

from zsclip import atomic
from zsclip.errors import ImageError, InputError
from zsclip.images.opening import Opening
from zsclip.images.places import place
from zsclip.images.remote.addresses import address_of, is_address, scheme, shown, split
from zsclip.images.remote.settings import Network
from zsclip.output.bucket_target import PATIENT, BucketTarget
from zsclip.output.targets import target


class ResultFolder(ABC):
    """The folder of one run's results. `name` is what the user calls it. Names of files in it have `/` in them, everywhere.

    Methods raise `InputError` where the folder cannot be read or written.
    """

    opening = Opening()

    def __init__(self, name: str) -> None:
        self.name = name

    def path(self, name: str) -> str:
        """A file in it, as an input or output would be called."""
        return f"{self.name.rstrip('/')}/{name}"

    @abstractmethod
    def names(self, under: str = "") -> Iterator[str]:
        """The files right in it, or in a folder of it; nothing where that is not there."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Remove a file, which may be gone already."""

    @property
    def setting(self) -> str:
        """The folder as errors name it."""
        return f"`into={shown(self.name)}`"

    def open(self, name: str) -> BinaryIO:
        """A file's bytes, in any order; raises `FileNotFoundError` where it is not there."""
        try:
            return place(self.path(name), self.opening).open_seekable()
        except ImageError as error:
            raise _unreadable(error, self.path(name)) from None

    def read(self, name: str) -> bytes | None:
        """A small file's bytes; None where it is not there."""
        try:
            with self.open(name) as stream:
                return stream.read()
        except FileNotFoundError:
            return None

    def __contains__(self, name: str) -> bool:
        try:
            self.open(name).close()
        except FileNotFoundError:
            return False
        return True

    def write(self, name: str) -> AbstractContextManager[BinaryIO]:
        """A stream whose bytes are the file once the block ends well, and are nowhere else."""
        return target(Path(self.path(name)), "into").open()

    def tidy(self) -> None:  # noqa: B027 - most have nothing to do
        """Remove what killed processes of this machine left half written. In a bucket nothing half is there."""

    def put(self, name: str, data: bytes) -> None:
        """Write a small file."""
        with self.write(name) as stream:
            stream.write(data)


class LocalFolder(ResultFolder):
    """A folder on a disk; made when it is first written to."""

    def names(self, under: str = "") -> Iterator[str]:
        """See `ResultFolder`."""
        try:
            with os.scandir(os.path.join(self.name, under)) as entries:
                yield from sorted(entry.name for entry in entries if entry.is_file())
        except FileNotFoundError:
            return
        except OSError as error:
            raise InputError(f"cannot be read: {error.strerror}.", where=self.name) from None

    def remove(self, name: str) -> None:
        """See `ResultFolder`."""
        try:
            Path(self.path(name)).unlink(missing_ok=True)
        except OSError as error:
            raise InputError(f"cannot be removed: {error.strerror}.", where=self.path(name)) from None

    def write(self, name: str) -> AbstractContextManager[BinaryIO]:
        """See `ResultFolder`."""
        try:
            Path(self.path(name)).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot be made: {error.strerror}.", where=self.setting) from None
        return super().write(name)

    def tidy(self) -> None:
        """See `ResultFolder`."""
        for folder in (self.name, self.path("_zsclip"), self.path("_zsclip/plan")):
            with suppress(OSError):
                atomic.remove_dead(folder)


class BucketFolder(ResultFolder):
    """A prefix in a bucket. `network` says how long a server that cannot answer is waited for."""

    def __init__(self, name: str, network: Network = PATIENT) -> None:
        super().__init__(name)
        self.opening = Opening(network=network)

    def open(self, name: str) -> BinaryIO:
        """See `ResultFolder`. What breaks later names the file too."""
        return cast("BinaryIO", io.BufferedReader(_Named(super().open(name), self.path(name)), 1 << 16))

    def names(self, under: str = "") -> Iterator[str]:
        """See `ResultFolder`."""
        from zsclip.images.remote.buckets import bucket

        prefix = split(self.path(under).rstrip("/"))[1]
        try:
            for one in bucket(self.name, self.opening.network).listed(f"{prefix}/"):
                rest = one.key.removeprefix(f"{prefix}/")
                if "/" not in rest:
                    yield rest
        except ImageError as error:
            raise InputError(f"cannot be read: {error}.", where=shown(self.name)) from None

    def remove(self, name: str) -> None:
        """See `ResultFolder`."""
        from zsclip.images.remote.buckets import bucket

        try:
            bucket(self.name, self.opening.network).delete(split(self.path(name))[1])
        except ImageError as error:
            raise InputError(f"cannot be removed: {error}.", where=self.path(name)) from None

    def write(self, name: str) -> AbstractContextManager[BinaryIO]:
        """See `ResultFolder`."""
        return BucketTarget(self.path(name), "into", self.opening.network).open()


class _Named(io.RawIOBase):
    """A file of a bucket whose faults are told as the folder's."""

    def __init__(self, stream: BinaryIO, where: str) -> None:
        self._stream, self._where = stream, where

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def readinto(self, buffer: Any, /) -> int:
        into = memoryview(buffer)
        try:
            data = self._stream.read(len(into))
        except ImageError as error:
            raise _unreadable(error, self._where) from None
        into[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._stream.close()
        super().close()


def _unreadable(error: ImageError, where: str) -> Exception:
    if error.kind == "not_found":
        return FileNotFoundError(where)
    return InputError(f"cannot be read: {error}.", where=where)


def result_folder(name: str | os.PathLike[str], *, offline: bool = False) -> ResultFolder:
    """The folder that a name stands for: a path, or an address of a bucket. Raises `InputError` for no name, for other addresses, and with
    `offline` for all of them.
    """
    text = address_of(Path(name)) or os.fspath(name)
    if not text:  # as of a shell's variable that is not set
        raise InputError("a folder of results needs a name.", remedy="Name one, such as results/.")
    if not is_address(text):
        return LocalFolder(text)
    if scheme(text) not in ("s3", "gs", "az"):
        raise InputError(
            "results cannot be written there.",
            where=shown(text),
            remedy="Name a folder, or one of s3://, gs:// or az://.",
        )
    Network(offline=offline).require_online(shown(text))
    return BucketFolder(text)
