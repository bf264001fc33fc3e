"""Broken and hostile tar and zip files, made from code, each with the rows that must come of it.

The sound members are `a.png`, `b.png` and `c.png`. A row is what follows the archive's name, and a part of its error, or nothing
where it is a picture.
"""

from __future__ import annotations

import gzip
import struct
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from PIL import Image

Rows = tuple[tuple[str, str], ...]
A, B, C = ("/a.png", ""), ("/b.png", ""), ("/c.png", "")
SOUND = (A, B, C)


@dataclass(frozen=True)
class Hostile:
    """One archive: its file's name, what is wrong with it, its bytes, and its rows."""

    name: str
    what: str
    data: bytes
    rows: Rows


def picture(color: str) -> bytes:
    stream = BytesIO()
    Image.new("RGB", (64, 64), color).save(stream, "PNG")
    return stream.getvalue()


PICTURES = {"a.png": picture("red"), "b.png": picture("lime"), "c.png": picture("blue")}


def tar(members: dict[str, bytes] | None = None, *, format: int = tarfile.GNU_FORMAT) -> bytes:
    stream = BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=format) as archive:
        for name, data in (PICTURES if members is None else members).items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, BytesIO(data))
    return stream.getvalue()


def header(name: str, size: int = 0, type: bytes = tarfile.REGTYPE, linkname: str = "") -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = size, type, linkname
    return info.tobuf(tarfile.GNU_FORMAT)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


def whole(name: str) -> bytes:
    return header(name, len(PICTURES[name])) + padded(PICTURES[name])


def negative(name: str) -> bytes:
    block = bytearray(header(name))
    block[124:136] = b"\xff" * 11 + b"\x00"  # base 256: -256
    return rechecked(block)


def rechecked(block: bytearray) -> bytes:
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def extended(records: bytes, type: bytes = tarfile.XHDTYPE) -> bytes:
    return header("pax", len(records), type) + padded(records)


def record(key: str, value: str) -> bytes:
    text = f" {key}={value}\n".encode()
    length = len(text) + 1
    while len(str(length)) + len(text) != length:
        length = len(str(length)) + len(text)
    return str(length).encode() + text


END = bytes(1024)


def tars() -> Iterator[Hostile]:
    a, b, c = map(whole, PICTURES)
    sound = a + b + c + END
    yield Hostile("sound.tar", "nothing", sound, SOUND)
    yield Hostile("garbage-after.tar", "other bytes after the end mark", sound + b"garbage" * 999, SOUND)
    yield Hostile("empty.tar", "no bytes", b"", (("", "the file is empty"),))
    yield Hostile("text.tar", "no archive", b"This is no archive. " * 99, (("", "no tar archive"),))
    yield Hostile(
        "no-pictures.tar", "no pictures", tar({"x.txt": b"x"}), (("", "no pictures in it, which holds 1 other file"),)
    )
    yield Hostile(
        "cut-in-member.tar", "cut inside a member", (a + b)[:-400], (A, ("", "ends within b.png: it was cut"))
    )
    yield Hostile(
        "cut-in-header.tar", "cut inside a header", a + b + c[:100], (A, B, ("", "ends within the header at byte"))
    )
    yield Hostile(
        "cut-before-header.tar",
        "cut before a header",
        a + b,
        (A, B, ("", "without an end mark, where a header should be at byte 2,048: it was cut")),
    )
    yield Hostile(
        "corrupt.tar",
        "a corrupt header in the middle",
        a + b"\x07" * 512 + b[512:] + c + END,
        (A, ("", "no sound header at byte")),
    )
    yield Hostile(
        "zeroed.tar",
        "a header of zeros in the middle",
        a + bytes(512) + b[512:] + c + END,
        (A, ("", "an empty header at byte")),
    )
    yield Hostile("huge.tar", "a member that declares 10 GB", a + header("b.png", 10**10) + c + END,
                  (A, ("/b.png", "a file of 10.0 GB"), ("", "ends within b.png")))  # fmt: skip
    yield Hostile(
        "negative.tar", "a size below zero", a + negative("b.png") + c + END, (A, ("", "a size that no file has"))
    )
    yield Hostile(
        "empty-member.tar",
        "a picture of no bytes",
        a + header("b.png") + c + END,
        (A, ("/b.png", "the file is empty"), C),
    )
    yield Hostile("names.tar", "5 GB of names", a + header("././@LongLink", 5 * 10**9, tarfile.GNUTYPE_LONGNAME) + b + END,
                  (A, ("", "names of 5,000,000,000 bytes")))  # fmt: skip
    yield Hostile("nested.tar", "2,000 long names of one member", a + (header("././@LongLink", 1, b"L") + padded(b"x")) * 2000 + b + END,
                  (A, ("", "damaged")))  # fmt: skip
    yield Hostile("alone.tar", "a long name without its member", a + header("././@LongLink", 1, b"L") + padded(b"x") + END,
                  (A, ("", "not followed by that of its member")))  # fmt: skip
    yield Hostile("digits.tar", "digits on which a regular expression spends hours", a + extended(b"1" * 250_000) + b + END,
                  (A, ("", "no sound header")))  # fmt: skip
    yield Hostile("global.tar", "one size for all members", extended(record("size", "100000"), tarfile.XGLTYPE) + a + b + END,
                  (("/a.png", "contradict each other"), ("/b.png", "contradict each other")))  # fmt: skip
    yield Hostile(
        "sparse.tar",
        "a sparse member",
        a + header("b.png", 0, tarfile.GNUTYPE_SPARSE) + c + END,
        (A, ("/b.png", "sparse"), C),
    )
    links = b"".join(
        header(f"{n}.png", 0, kind, "a.png") for n, kind in enumerate((b"1", b"2", b"3", b"4", b"6", b"7"))
    )
    yield Hostile("links.tar", "links, devices, a pipe", a + links + c + END, (
        A, ("/0.png", "a link (to a.png)"), ("/1.png", "a link (to a.png)"), *((f"/{n}.png", "not a regular file") for n in (2, 3, 4)),
        ("/5.png", "the file is empty"), C,
    ))  # fmt: skip
    data = PICTURES["a.png"]
    evil = extended(record("path", "x\0y.png"))
    names = {"../../etc/x.png": data, "/etc/y.png": data, "./b/./z.png": data}
    yield Hostile("outside.tar", "names that lead out of it", evil + a + tar(names), (
        ("/x␀y.png", ""), ("/(..)/(..)/etc/x.png", ""), ("//etc/y.png", ""), ("/b/z.png", ""),
    ))  # fmt: skip
    yield Hostile("twice.tar", "a name that comes twice", a + a + END, (A, A))
    long = "folder/" * 40 + "é" * 40 + ".png"
    for form, kind in ((tarfile.GNU_FORMAT, "gnu"), (tarfile.PAX_FORMAT, "pax")):
        yield Hostile(f"long-{kind}.tar", f"a long name ({kind})", tar({long: data}, format=form), ((f"/{long}", ""),))
    raw = a.replace(b"a.png", b"\xff.png", 1)
    yield Hostile(
        "bytes.tar",
        "a name that is not UTF-8",
        rechecked(bytearray(raw[:512])) + raw[512:] + END,
        (("/\udcff.png", ""),),
    )
    packed = gzip.compress(sound, mtime=0)
    yield Hostile("sound.tar.gz", "nothing", packed, SOUND)
    yield Hostile(
        "two.tgz",
        "two gzips in a row, and other bytes after them",
        gzip.compress(a, mtime=0) + gzip.compress(b + c + END, mtime=0) + b"garbage",
        SOUND,
    )
    yield Hostile(
        "cut.tar.gz",
        "gzip cut off",
        gzip.compress(a + b + END, 0, mtime=0)[: len(a) + 600],
        (A, ("", "its gzip ends too early")),
    )
    yield Hostile(
        "checksum.tar.gz",
        "a wrong checksum of all",
        packed[:-8] + bytes(4) + packed[-4:],
        (*SOUND, ("", "its gzip is damaged")),
    )
    yield Hostile(
        "no-gzip.tgz", "gzip by its first bytes only", b"\x1f\x8b" + b"nonsense" * 99, (("", "its gzip is damaged"),)
    )
    zeros = header("b.png", 70_000_128) + bytes(70_000_128)
    yield Hostile("bomb.tar.gz", "70 MB of zeros called a picture", gzip.compress(a + zeros + c + END, 1, mtime=0),
                  (A, ("/b.png", "not an image"), C))  # fmt: skip


def zipped(members: dict[str, bytes] | None = None, method: int = zipfile.ZIP_DEFLATED) -> bytearray:
    stream = BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, data in (PICTURES if members is None else members).items():
            archive.writestr(zipfile.ZipInfo(name), data, method)
    return bytearray(stream.getvalue())


def entry(data: bytearray, name: bytes) -> int:
    """Where the directory's entry of a member begins."""
    return data.rindex(name, data.index(b"PK\1\2")) - 46


def patched(name: bytes, at: int, value: bytes, local: int | None = None, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A sound zip, of which bytes of a member's directory entry are others, and perhaps those of its own header."""
    data = zipped(method=method)
    start = entry(data, name)
    data[start + at : start + at + len(value)] = value
    if local is not None:
        start = data.index(name) - 30
        data[start + local : start + local + len(value)] = value
    return bytes(data)


def zips() -> Iterator[Hostile]:
    sound = bytes(zipped())
    b = b"b.png"

    def bad(why: str) -> Rows:
        return (A, ("/b.png", why), C)

    yield Hostile("sound.zip", "nothing", sound, SOUND)
    yield Hostile(
        "before.zip", "other bytes before it, as of a program that unpacks itself", b"MZ" * 500 + sound, SOUND
    )
    yield Hostile("text.zip", "no archive", b"This is no archive. " * 99, (("", "no zip archive, or cut off"),))
    yield Hostile("cut.zip", "cut off", sound[:-90], (("", "no zip archive, or cut off"),))
    yield Hostile("no-members.zip", "no members", bytes(zipped({})), (("", "no pictures in it"),))
    larger = sound[:-10] + struct.pack("<I", 10**9) + sound[-6:]
    yield Hostile("directory.zip", "a directory that is said to be larger than the file", larger,
                  (("", "its directory is missing or damaged"),))  # fmt: skip
    yield Hostile("crc.zip", "a wrong checksum", patched(b, 16, b"\1\2\3\4"), bad("Bad CRC-32"))
    yield Hostile("encrypted.zip", "an encrypted member", patched(b, 8, b"\1\0", 6), bad("encrypted"))
    yield Hostile(
        "method.zip",
        "a method that nobody knows",
        patched(b, 10, struct.pack("<H", 98), 8),
        bad("packed in a way that is not read (PPMd)"),
    )
    yield Hostile(
        "longer.zip", "a member that is shorter than it says", patched(b, 24, struct.pack("<I", 5000)), bad("damaged")
    )
    yield Hostile(
        "shorter.zip", "a member that is longer than it says", patched(b, 24, struct.pack("<I", 20)), bad("damaged")
    )
    yield Hostile(
        "ratio.zip",
        "some bytes that are said to be 1.9 GB",
        patched(b, 24, struct.pack("<I", 1_900_000_000)),
        bad("cannot hold"),
    )
    yield Hostile(
        "huge.zip", "a member that declares 4.3 GB", patched(b, 24, b"\xfe\xff\xff\xff"), bad("a file of 4.3 GB")
    )
    yield Hostile(
        "offset.zip", "a member that is beyond the end", patched(b, 42, struct.pack("<I", 10**6)), bad("damaged")
    )
    yield Hostile("name.zip", "another name in the directory", patched(b, 46, b"x.png"), (A, ("/x.png", "differ"), C))
    yield Hostile("overlap.zip", "two members of the same bytes", overlapping(), (
        ("/a.png", "shares bytes"), ("/b.png", "shares bytes"), C,
    ))  # fmt: skip
    yield Hostile("link.zip", "a link", patched(b, 38, struct.pack("<I", 0o120777 << 16)), bad("a link"))
    names = {"../x.png": PICTURES["a.png"], "/y.png": PICTURES["b.png"], "__MACOSX/._z.png": b"x", "folder/": b""}
    yield Hostile(
        "outside.zip",
        "names that lead out of it, and what macOS adds",
        bytes(zipped(names)),
        (("/(..)/x.png", ""), ("//y.png", "")),
    )
    yield Hostile(
        "names.zip", "a name in cp437", bytes(zipped()).replace(b"a.png", b"\x81.png"), (("/ü.png", ""), B, C)
    )
    yield Hostile(
        "utf8.zip",
        "UTF-8 that does not say so",
        bytes(zipped({"xx.png": PICTURES["a.png"]})).replace(b"xx.png", "é.png".encode()),
        (("/é.png", ""),),
    )
    flagged = patched(b, 8, struct.pack("<H", 0x800), 6).replace(b, b"\xff.png")
    yield Hostile("not-utf8.zip", "UTF-8 that is none", flagged, (("", "not in UTF-8, as it says"),))
    bomb = {"a.png": PICTURES["a.png"], "b.png": bytes(70_000_000), "c.png": PICTURES["c.png"]}
    yield Hostile("bomb.zip", "70 MB of zeros called a picture", bytes(zipped(bomb)), bad("not an image"))
    for method, kind in ((zipfile.ZIP_STORED, "stored"), (zipfile.ZIP_BZIP2, "bzip2"), (zipfile.ZIP_LZMA, "lzma")):
        yield Hostile(f"{kind}.zip", f"nothing ({kind})", bytes(zipped(method=method)), SOUND)
    yield Hostile("bytes.zip", "a damaged member", damaged(), bad("damaged in its archive"))


def damaged() -> bytes:
    data = zipped()
    start = data.index(b"b.png") + 5
    data[start : start + 20] = b"\xff" * 20
    return bytes(data)


def overlapping() -> bytes:
    data = zipped()
    offset = struct.unpack_from("<I", data, entry(data, b"a.png") + 42)[0]
    struct.pack_into("<I", data, entry(data, b"b.png") + 42, offset)
    return bytes(data)


def every() -> list[Hostile]:
    return [*tars(), *zips()]


def write(folder: Path) -> list[Hostile]:
    """The archives as files of a folder."""
    made = every()
    for one in made:
        (folder / one.name).write_bytes(one.data)
    return made
