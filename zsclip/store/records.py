"""What the store knows things by: digests of what was embedded, and names cut into folder and name."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from enum import IntEnum
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

_CHUNK = 1000  # well under SQLite's limit of variables in one statement
_SEPARATORS = (b"/", os.fsencode(os.sep))
_WEIGHTS = re.compile(r'"weights":"sha256:([0-9a-f]{64})"')


class Kind(IntEnum):
    """What a content is. Part of its key, so that no file can be taken for a text, whatever its bytes."""

    IMAGE = 0
    TEXT = 1


def text_digest(text: str) -> bytes:
    """The digest of a text."""
    return hashlib.sha256(b"text\0" + text.encode("utf-8", "surrogatepass")).digest()


def file_digest(path: Path) -> bytes:
    """The SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.digest()


def weights_digest(identity: str) -> bytes | None:
    """The digest of the weights in a model's identity; None if they are known by a tag."""
    found = _WEIGHTS.search(identity)
    return bytes.fromhex(found[1]) if found else None


def split_name(name: bytes) -> tuple[bytes, bytes]:
    """A path or address as the folder, with its separator, and the name in it. Joined they are the whole."""
    cut = max(map(name.rfind, _SEPARATORS)) + 1
    return name[:cut], name[cut:]


def chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Parts of a sequence that are short enough for one statement."""
    return (items[start : start + _CHUNK] for start in range(0, len(items), _CHUNK))


def marks(items: Sequence[object]) -> str:
    """As many placeholders as there are items."""
    return ",".join("?" * len(items))
