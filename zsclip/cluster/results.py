"""A folder of results, on a disk that all share or in a bucket: files that are there whole or not at all, under fixed names."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import BinaryIO

from zsclip import atomic
from zsclip.errors import ImageError, InputError
from zsclip.images.places import place
from zsclip.images.remote.addresses import address_of, is_address, scheme, shown, split
from zsclip.images.remote.settings import Network
from zsclip.output.targets import target


class ResultFolder(ABC):
    """The folder of one run's results. `name` is what the user calls it. Names of files in it have `/` in them, everywhere.

    Methods raise `InputError` where the folder cannot be read or written.
    """

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

    def open(self, name: str) -> BinaryIO:
        """A file's bytes, in any order; raises `FileNotFoundError` where it is not there."""
        try:
            return place(self.path(name)).open_seekable()
        except ImageError as error:
            if error.kind == "not_found":
                raise FileNotFoundError(name) from None
            raise InputError(f"cannot be read: {error}.", where=self.path(name)) from None

    def read(self, name: str) -> bytes | None:
        """A small file's bytes; None where it is not there."""
        try:
            with self.open(name) as stream:
                return stream.read()
        except FileNotFoundError:
            return None
        except ImageError as error:
            if error.kind == "not_found":
                return None
            raise InputError(f"cannot be read: {error}.", where=self.path(name)) from None

    def __contains__(self, name: str) -> bool:
        try:
            self.open(name).close()
        except FileNotFoundError:
            return False
        return True

    def write(self, name: str) -> AbstractContextManager[BinaryIO]:
        """A stream whose bytes are the file once the block ends well, and are nowhere else."""
        return target(Path(self.path(name)), "into").open()

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
            raise InputError(f"cannot be made: {error.strerror}.", where=f"`into={self.name}`") from None
        return super().write(name)

    def tidy(self) -> None:
        """Remove what killed processes of this machine left half written."""
        for folder in (self.name, self.path("_zsclip"), self.path("_zsclip/plan")):
            with suppress(OSError):
                atomic.remove_dead(folder)


class BucketFolder(ResultFolder):
    """A prefix in a bucket."""

    def names(self, under: str = "") -> Iterator[str]:
        """See `ResultFolder`."""
        from zsclip.images.remote.buckets import bucket

        prefix = split(self.path(under).rstrip("/"))[1]
        try:
            for one in bucket(self.name, Network()).listed(f"{prefix}/"):
                rest = one.key.removeprefix(f"{prefix}/")
                if "/" not in rest:
                    yield rest
        except ImageError as error:
            raise InputError(f"cannot be read: {error}.", where=shown(self.name)) from None

    def remove(self, name: str) -> None:
        """See `ResultFolder`."""
        from zsclip.images.remote.buckets import bucket

        try:
            bucket(self.name, Network()).delete(split(self.path(name))[1])
        except ImageError as error:
            raise InputError(f"cannot be removed: {error}.", where=self.path(name)) from None


def result_folder(name: str | os.PathLike[str]) -> ResultFolder:
    """The folder that a name stands for: a path, or an address of a bucket. Raises `InputError` for other addresses."""
    text = address_of(Path(name)) or os.fspath(name)
    if not is_address(text):
        return LocalFolder(text)
    if scheme(text) not in ("s3", "gs", "az"):
        raise InputError(
            "results cannot be written there.",
            where=shown(text),
            remedy="Name a folder, or one of s3://, gs:// or az://.",
        )
    return BucketFolder(text)
