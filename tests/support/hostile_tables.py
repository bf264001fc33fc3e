"""Broken and hostile Parquet files, made of a whole one of twelve rows: `python tests/support/hostile_tables.py FOLDER` writes them.

Parquet's metadata is Thrift, in which numbers are of variable length and structs have no size, so that what a file claims can be
changed in place.
"""

from __future__ import annotations

import io
import random
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

GROUP = 4  # rows of each of the three row groups


@dataclass(frozen=True)
class HostileTable:
    """A table; `read` are the numbers of those of its rows that can be read all the same, and `says` is in what others say."""

    name: str
    data: bytes
    read: tuple[int, ...]
    says: str


class _Whole:
    """A file in order, with three row groups of an id and a picture, and where its parts are."""

    def __init__(self, pictures: list[bytes], **options: Any) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        stream = io.BytesIO()
        table = pa.table({"id": [f"i{n}" for n in range(len(pictures))], "image": pictures})
        pq.write_table(
            table, stream, row_group_size=GROUP, **{"use_dictionary": False, "write_page_checksum": True, **options}
        )
        self.data = stream.getvalue()
        self._metadata = pq.read_metadata(stream)
        (length,) = struct.unpack("<I", self.data[-8:-4])
        self.footer = len(self.data) - 8 - length

    def pictures(self, group: int) -> slice:
        """The bytes of a row group's column of pictures."""
        column = self._metadata.row_group(group).column(1)
        start = column.dictionary_page_offset or column.data_page_offset
        return slice(start, start + column.total_compressed_size)

    def size(self, group: int) -> int:
        """The bytes of a row group, as its metadata has them."""
        return int(self._metadata.row_group(group).total_byte_size)

    def changed(self, part: slice, data: bytes) -> bytes:
        """The file with other bytes in one place."""
        return self.data[: part.start] + data + self.data[part.stop :]

    def claiming(self, old: bytes, new: bytes, body: bytes | None = None) -> bytes:
        """The file with something else in its footer."""
        footer = self.data[self.footer : -8]
        assert footer.count(old) == 1, "to be told apart"
        footer = footer.replace(old, new)
        return (self.data[: self.footer] if body is None else body) + footer + struct.pack("<I", len(footer)) + b"PAR1"


def hostile_tables(pictures: list[bytes]) -> Iterator[HostileTable]:
    """Each kind of broken table, of the same twelve pictures, which differ in size."""
    whole = _Whole(pictures)
    data, end = whole.data, len(whole.data)
    middle = whole.pictures(1)
    others, unreadable = (*range(4), *range(8, 12)), "not a Parquet file that can be read"
    noise = random.Random(0)

    yield HostileTable("empty", b"", (), unreadable)
    yield HostileTable("text", b"id,image\n1,a.png\n" * 20, (), unreadable)
    yield HostileTable("cut in the middle", data[: end // 2], (), unreadable)
    yield HostileTable("cut in the footer", data[:-20], (), unreadable)
    yield HostileTable("wrong magic", data[:-4] + b"PAR9", (), unreadable)
    yield HostileTable("encrypted footer", data[:-4] + b"PARE", (), unreadable)
    yield HostileTable("footer longer than the file", data[:-8] + struct.pack("<I", 1 << 31) + b"PAR1", (), unreadable)
    footer = slice(whole.footer, end - 8)
    yield HostileTable(
        "footer of noise", whole.changed(footer, noise.randbytes(end - 8 - whole.footer)), (), unreadable
    )
    yield HostileTable("nested 3,000 deep", _nested(3000), (), unreadable)
    yield HostileTable(
        "page of noise", whole.changed(middle, noise.randbytes(middle.stop - middle.start)), others, "row group 1"
    )
    yield HostileTable("page of zeros", whole.changed(middle, bytes(middle.stop - middle.start)), others, "row group 1")
    bit = slice((middle.start + middle.stop) // 2, (middle.start + middle.stop) // 2 + 1)
    yield HostileTable(
        "a bit of a page flipped", whole.changed(bit, bytes([data[bit.start] ^ 1])), others, "row group 1"
    )
    yield HostileTable(
        "small pages, the third of noise", _small_pages(pictures), (*range(6), *range(8, 12)), "row group 1"
    )
    rows = b"\x16" + _varint(whole.size(1)) + b"\x16"
    for name, count, read, says in (
        ("more rows than there are", 40, (*range(8), *range(44, 48)), "it ends there"),
        ("a billion rows", 10**9, tuple(range(8)), "row group 1 claims to have 1,000,000,000 rows, and ends after 4"),
        ("fewer than no rows", -5, tuple(range(4)), "row group 1 claims to have -5 rows"),
    ):
        yield HostileTable(name, whole.claiming(rows + _varint(GROUP), rows + _varint(count)), read, says)
    yield HostileTable("a page that claims two gigabytes", _large_page(whole), tuple(range(8)), "row group 2")
    yield HostileTable("a dictionary that is too small", _small_dictionary(pictures), others, "row group 1")


def _varint(number: int) -> bytes:
    """A number as Thrift's compact protocol has it."""
    rest = (number << 1) ^ (number >> 63)
    made = bytearray()
    while rest > 0x7F:
        made.append(rest & 0x7F | 0x80)
        rest >>= 7
    return bytes([*made, rest])


def _large_page(whole: _Whole) -> bytes:
    """The last page of pictures says that it becomes two gigabytes."""
    part = whole.pictures(2)
    head = whole.data[part.start : part.start + 2]  # the kind of page; then its sizes
    at = part.start + len(head) + 1
    length = next(n for n in range(1, 6) if not whole.data[at + n - 1] & 0x80)
    large = _varint(2**31 - 1)
    body = whole.data[:at] + large + whole.data[at + length : whole.footer]
    old, grown = part.stop - part.start, len(large) - length
    return whole.claiming(
        b"\x16" + _varint(old) + b"\x26" + _varint(part.start),
        b"\x16" + _varint(old + grown) + b"\x26" + _varint(part.start),
        body,
    )


def _small_pages(pictures: list[bytes]) -> bytes:
    """A page for each picture; the third of the second row group has other bytes than its checksum says."""
    whole = _Whole(pictures, data_page_size=1, write_batch_size=1, compression="none")
    page = whole.pictures(1)
    at = whole.data.rindex(pictures[6], page.start, page.stop)
    return whole.changed(slice(at, at + 30), bytes(30))


def _small_dictionary(pictures: list[bytes]) -> bytes:
    """Rows that point behind the end of their dictionary."""
    whole = _Whole(pictures, use_dictionary=["image"], compression="none", write_page_checksum=False)
    page = whole.pictures(1)
    at = whole.data.rindex(b"\x02\x03\xe4\x00", page.start, page.stop)  # two bits each: 0, 1, 2, 3
    return whole.changed(slice(at, at + 3), b"\x08\x08\xff")  # eight bits: four times 255


def _nested(depth: int) -> bytes:
    """A file whose only column is in so many structs, one in the other."""
    root, group, leaf = (
        b"\x48\x06schema\x15\x02\x00",
        b"\x35\x02\x18\x01a\x15\x02\x00",
        b"\x15\x0c\x25\x02\x18\x01a\x00",
    )
    count = depth + 2
    elements = bytes([count & 0x7F | 0x80, count >> 7]) + root + group * depth + leaf
    footer = b"\x15\x04\x19\xfc" + elements + b"\x16\x00\x19\x0c\x00"
    return b"PAR1" + footer + struct.pack("<I", len(footer)) + b"PAR1"


if __name__ == "__main__":
    from PIL import Image

    made = []
    for number in range(3 * GROUP):
        stream = io.BytesIO()
        Image.effect_noise((16 + number, 16), 80).save(stream, "png")
        made.append(stream.getvalue())
    for one in hostile_tables(made):
        Path(sys.argv[1], f"{one.name}.parquet").write_bytes(one.data)
