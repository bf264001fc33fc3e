"""Which file systems are shared between machines: SQLite's WAL must not be used there.

WAL keeps its index in shared memory, which machines do not share: two that write at once damage the database.
https://www.sqlite.org/wal.html
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

# By their names on Linux and macOS; those of virtual machines are shared with their host.
_SHARED = frozenset({
    "9p", "acfs", "afpfs", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "drvfs", "gfs2", "glusterfs", "gpfs", "lustre",
    "macfuse",
    "ncpfs", "nfs", "nfs3", "nfs4", "ocfs2", "orangefs", "osxfuse", "panfs", "prl_fs", "pvfs2", "smb2", "smb3", "smbfs", "vboxsf",
    "virtiofs", "vmhgfs", "webdav", "wekafs",
})  # fmt: skip
_SHARED_IN_FUSE = frozenset({
    "beegfs", "blobfuse", "blobfuse2", "ceph", "ceph-fuse", "curlftpfs", "davfs", "gcsfuse", "glusterfs", "goofys", "juicefs",
    "moosefs", "mfs", "mount-s3", "rclone", "s3fs", "seaweedfs", "smbnetfs", "sshfs", "vmhgfs-fuse",
})  # fmt: skip
_ESCAPED = re.compile(rb"\\([0-7]{3})")
_MAC_LINE = re.compile(r".* on (/.*) \(([^,)]+)[^()]*\)")


def shared_file_system(folder: Path) -> str | None:
    """The type of the file system of a folder if other machines may see it; None for a local one, or if nothing tells."""
    path = os.path.realpath(folder)
    if sys.platform == "win32":
        return "a network drive" if path.startswith("\\\\") and not path.startswith("\\\\?\\") else None
    try:
        return shared_among(_mounts(), path)
    except OSError:
        return None


def _mounts() -> Iterator[tuple[str, str]]:
    if sys.platform == "darwin":
        import subprocess  # takes longer to import than the rest of this takes

        return mac_mounts(subprocess.run(["/sbin/mount"], capture_output=True, text=True, check=False).stdout)
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        return linux_mounts(file.read())


def shared_among(mounts: Iterator[tuple[str, str]], path: str) -> str | None:
    """The type of the file system that `path` is in, of pairs of mount point and type, if it is a shared one."""
    found = ("", "")
    for point, kind in mounts:
        inside = path == point or path.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(found[0]):  # of two on one point the later one is seen
            found = point, kind
    name, _, below = found[1].partition(".")
    is_shared = below in _SHARED_IN_FUSE if name in ("fuse", "fuseblk") else found[1] in _SHARED
    return found[1] if is_shared else None


def linux_mounts(text: str) -> Iterator[tuple[str, str]]:
    """Mount points and types in the text of /proc/self/mountinfo."""
    for line in text.splitlines():
        place, separator, rest = line.partition(" - ")
        fields = place.split(" ")
        if separator and len(fields) > 4:
            point = os.fsencode(fields[4])
            point = _ESCAPED.sub(lambda match: bytes([int(match[1], 8)]), point)
            yield os.fsdecode(point), rest.split(" ")[0]


def mac_mounts(text: str) -> Iterator[tuple[str, str]]:
    """Mount points and types in what `mount` prints on macOS."""
    for line in text.splitlines():
        if found := _MAC_LINE.fullmatch(line):
            yield found[1], found[2]
