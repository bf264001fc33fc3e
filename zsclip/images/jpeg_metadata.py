"""JPEGs without the metadata that decoding does not need."""

from __future__ import annotations

from zsclip.errors import ImageError

_MOST_SEGMENTS = 10_000


def without_metadata(data: bytes) -> bytes:
    """A JPEG without what is no part of the picture; other data as it is.

    Pillow joins and parses all of it at every opening: a JPEG of 400 MB of profiles took it three minutes. What says how to
    decode (APP0, APP14) and which way is up (the first EXIF and XMP) stays.
    """
    if not data.startswith(b"\xff\xd8\xff"):
        return data
    kept, dropped, at = [data[:2]], False, 2
    seen: set[bytes] = set()
    for _ in range(_MOST_SEGMENTS):
        start = data.find(b"\xff", at)  # decoders skip what stands between segments
        while data[start + 1 : start + 2] == b"\xff":
            start += 1
        dropped |= start != at
        if start < 0 or start + 4 > len(data):
            return data
        marker, end = data[start + 1], start + 2 + int.from_bytes(data[start + 2 : start + 4], "big")
        if marker == 0xDA or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xCC)):
            # the scan, or the frame's head, with only tables between the two
            return b"".join([*kept, data[start:]]) if dropped else data
        if marker in (0x00, 0x01) or 0xD0 <= marker <= 0xD9:
            return data
        if _is_kept(marker, data[start + 4 : start + 10], seen):
            kept.append(data[start:end])
        else:
            dropped = True
        at = end
    raise ImageError(f"more than {_MOST_SEGMENTS:,} segments before the picture")


def _is_kept(marker: int, head: bytes, seen: set[bytes]) -> bool:
    if marker == 0xFE or (0xE0 <= marker <= 0xEF and marker not in (0xE0, 0xE1, 0xEE)):
        return False
    if marker == 0xE1:
        first = head not in seen
        seen.add(head)
        return first and head in (b"Exif\0\0", b"http:/")
    return True
