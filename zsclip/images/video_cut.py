"""Whether a video's file is shorter than it says: FFmpeg reads what is there of a cut file and reports a usual end."""

from __future__ import annotations

import os
from typing import BinaryIO

_MOST_BOXES = 10_000
# Of MP4 and QuickTime: boxes that files begin with.
_FIRST = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"styp", b"pnot", b"uuid")
# All that may follow; what else does was put there by cameras of some makers, and is no box.
_BOXES = (*_FIRST, b"moof", b"mfra", b"sidx", b"ssix", b"meta", b"udta", b"emsg", b"prft", b"pdin")
_EBML, _SEGMENT = 0x1A45DFA3, 0x18538067


def is_cut(file: BinaryIO) -> bool:
    """Whether parts that a file declares lie beyond its end; False where its format (MPEG streams, Ogg) declares none."""
    length = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(16)
    if head[4:8] in _FIRST:
        return _end_of_boxes(file) > length
    if head.startswith((b"RIFF", b"RF64")):
        return 8 + int.from_bytes(head[4:8], "little") > length
    if head.startswith(_EBML.to_bytes(4, "big")):
        return _end_of_segment(file, length) > length
    return False


def _end_of_boxes(file: BinaryIO) -> int:
    """Where the last of the boxes ends that can be followed from the first."""
    at = 0
    for _ in range(_MOST_BOXES):
        file.seek(at)
        head = file.read(16)
        if head[4:8] not in _BOXES:
            return at
        size = int.from_bytes(head[:4], "big")
        if size == 1:
            size = int.from_bytes(head[8:], "big")
        if size < 8:  # to the end, whatever that is, or nonsense
            return at
        at += size
    return at


def _end_of_segment(file: BinaryIO, length: int) -> int:
    """Where Matroska's segment ends; 0 where it does not say."""
    at = 0
    for _ in range(16):
        file.seek(at)
        head = file.read(12)
        if not head or not head[0]:
            return 0
        width = 9 - head[0].bit_length()
        kind, rest = int.from_bytes(head[:width], "big"), head[width:]
        if not rest or not rest[0]:
            return 0
        size_width = 9 - rest[0].bit_length()
        size = int.from_bytes(rest[:size_width], "big") & ((1 << 7 * size_width) - 1)
        is_unknown = size == (1 << 7 * size_width) - 1
        end = at + width + size_width + size
        if kind == _SEGMENT:
            return 0 if is_unknown else end
        if is_unknown or end > length:
            return end
        at = end
    return 0
