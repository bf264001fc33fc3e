"""What weights are known by, so that changed ones are never taken for those that vectors were made with.

A file of safetensors by its header and some kilobytes of every tensor, which takes milliseconds; any other by all of its bytes. The
store remembers both by the file's stamp.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from zsclip.errors import ModelError
from zsclip.images.item import Stamp
from zsclip.models.configuration import read_json
from zsclip.models.digests import sha256

INDEX_ENDING = ".index.json"  # of the file that names the parts of weights that are in several files
SAMPLED = ".safetensors"
_BLOCK = 4096  # bytes from the beginning, the middle and the end of a tensor
_LONGEST_HEADER = 100_000_000  # safetensors' own limit


@dataclass(frozen=True)
class Fingerprint:
    """`sample`: the digest of a sample of the weights, None where only all bytes tell; `whole`: of all bytes, where known."""

    sample: bytes | None = None
    whole: bytes | None = None

    @property
    def key(self) -> str:
        """The weights in a model's identity."""
        return f"sample:{self.sample.hex()}" if self.sample else f"sha256:{(self.whole or b'').hex()}"


def fingerprint(checkpoint: Path) -> Fingerprint:
    """What weights are known by; raises `OSError` if they cannot be read."""
    if not checkpoint.name.endswith(INDEX_ENDING):
        sample = _sample(checkpoint) if checkpoint.suffix == SAMPLED else None
        return Fingerprint(sample) if sample else Fingerprint(whole=whole(checkpoint))
    files = parts(checkpoint)
    named = "".join(f"{file.name}\0{fingerprint(file).key}\0" for file in files)
    digest = hashlib.sha256(named.encode()).digest()
    is_sampled = all(file.suffix == SAMPLED for file in files)
    return Fingerprint(sample=digest) if is_sampled else Fingerprint(whole=digest)


def parts(checkpoint: Path) -> tuple[Path, ...]:
    """The files that hold the weights: one, as a rule, or those that an index names; raises `ModelError` for what is none."""
    if not checkpoint.name.endswith(INDEX_ENDING):
        return (checkpoint,)
    return tuple(checkpoint.with_name(name) for name in part_names(checkpoint))


def part_names(index: Path) -> list[str]:
    """The names in an index of weights in several files, which must lie beside it."""
    found = read_json(index.name, index).get("weight_map")
    names = set(found.values()) if isinstance(found, dict) and all(map(_is_plain, found.values())) else set()
    if not names:
        raise ModelError("names no files of weights beside it (`weight_map`).", where=str(index))
    return sorted(names)


def stamp(checkpoint: Path) -> Stamp:
    """What tells that weights are as they were, without reading them; raises `OSError`."""
    files = parts(checkpoint)
    first, *others = [Stamp.of_file(file, file.stat()) for file in dict.fromkeys((checkpoint, *files))]
    return first._replace(version=hashlib.sha256(repr(others).encode()).hexdigest()) if others else first


def whole(path: Path) -> bytes:
    """The SHA-256 of a file. Hugging Face's cache calls large files by theirs."""
    file = path.resolve()
    if file.parent.name == "blobs" and file != path.absolute() and re.fullmatch("[0-9a-f]{64}", file.name):
        return bytes.fromhex(file.name)
    return sha256(path)


def revision(path: Path) -> str | None:
    """The commit of a file in Hugging Face's cache; None for any other."""
    found = re.search(r"/models--[^/]+/snapshots/([0-9a-f]{40})/", path.as_posix())
    return found[1] if found else None


def _sample(path: Path) -> bytes | None:
    """The digest of the header of a file of safetensors and of some of every tensor; None if it is none, whatever it is called."""
    with path.open("rb") as file:
        try:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > _LONGEST_HEADER:
                return None
            header = file.read(length)
            tensors = sorted(
                tuple(entry["data_offsets"]) for name, entry in json.loads(header).items() if name != "__metadata__"
            )
            digest = hashlib.sha256(header)
            for begin, end in tensors:
                for block in _blocks(file, 8 + length + begin, 8 + length + end):
                    digest.update(block)
        except (struct.error, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
            return None
    return digest.digest()


def _blocks(file: BinaryIO, begin: int, end: int) -> Iterator[bytes]:
    """The beginning, the middle and the end, or all of what is short."""
    if end - begin <= 3 * _BLOCK:
        starts, size = [begin], max(0, end - begin)
    else:
        starts, size = [begin, (begin + end - _BLOCK) // 2, end - _BLOCK], _BLOCK
    for start in starts:
        file.seek(start)
        yield file.read(size)


def _is_plain(name: object) -> bool:
    return isinstance(name, str) and re.fullmatch(r"\w[\w.-]*\.(safetensors|bin)", name) is not None
