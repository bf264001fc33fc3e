"""A store in a folder that other machines may see keeps no WAL, which they could not share."""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest
from support.processes import start_python
from support.vectors import some

from zsclip.store.database import FILENAME, Store
from zsclip.store.file_system import linux_mounts, mac_mounts, shared_among, shared_file_system
from zsclip.store.schema import connect
from zsclip.unit_vectors import Quality

LINUX = r"""
22 27 0:21 / /proc rw,nosuid,nodev,noexec,relatime shared:13 - proc proc rw
27 1 259:2 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p2 rw,errors=remount-ro
94 27 0:45 / /home rw,relatime shared:50 - autofs systemd-1 rw,fd=47,pgrp=1,timeout=0,minproto=5,maxproto=5,direct
101 94 0:52 / /home/anna rw,relatime shared:55 - nfs4 server:/export/anna rw,vers=4.2,rsize=1048576,hard,proto=tcp
112 27 0:60 / /mnt/My\040Photos rw,relatime shared:61 - cifs //nas/photos rw,vers=3.1.1,cache=strict,username=anna
120 27 0:61 / /mnt/remote rw,nosuid,nodev,relatime shared:63 - fuse.sshfs anna@host: rw,user_id=1000,group_id=1000
121 27 8:17 / /mnt/usb rw,nosuid,nodev,relatime shared:64 - fuseblk /dev/sdb1 rw,user_id=0,group_id=0,blksize=4096
122 27 0:62 / /scratch rw,relatime shared:65 - lustre 10.0.0.1@tcp:/scratch rw,flock,lazystatfs
123 122 0:63 / /scratch/local rw,relatime shared:66 - tmpfs tmpfs rw,size=1024k
124 27 0:64 / /mnt/c rw,noatime - 9p drvfs rw,dirsync,aname=drvfs;path=C:\;uid=1000,trans=fd
125 27 0:65 /vol/a /data rw,relatime master:7 propagate_from:2 - btrfs /dev/sda3 rw,subvol=/vol/a
126 27 0:66 / /data rw,relatime - nfs server:/data rw,vers=3
"""
MAC = """
/dev/disk3s1s1 on / (apfs, sealed, local, read-only, journaled)
/dev/disk3s5 on /System/Volumes/Data (apfs, local, journaled, nobrowse, protect)
//anna@nas._smb._tcp.local/My%20Photos on /Volumes/My Photos (1) (smbfs, nodev, nosuid, mounted by anna)
server:/export on /Volumes/export (nfs, nodev, nosuid, mounted by anna)
map auto_home on /System/Volumes/Data/home (autofs, automounted, nobrowse)
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/cache/zsclip", None), ("/", None), ("/home/anna/.cache/zsclip", "nfs4"), ("/home/anna", "nfs4"), ("/home/annabel", None),
        ("/mnt/My Photos/cache", "cifs"), ("/mnt/remote/x", "fuse.sshfs"), ("/mnt/usb/x", None), ("/scratch/x", "lustre"),
        ("/scratch/local/x", None), ("/mnt/c/Users/anna", "9p"), ("/data/x", "nfs"),
    ],
)  # fmt: skip
def test_linux_tells_what_a_folder_is_on(path: str, kind: str | None) -> None:
    assert shared_among(linux_mounts(LINUX), path) == kind


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/Users/anna", None),
        ("/Volumes/My Photos (1)/a", "smbfs"),
        ("/Volumes/export", "nfs"),
        ("/Volumes/My Photos", None),
    ],
)
def test_macos_tells_what_a_folder_is_on(path: str, kind: str | None) -> None:
    assert shared_among(mac_mounts(MAC), path) == kind


def test_nothing_is_told_of_what_is_not_understood() -> None:
    assert shared_among(linux_mounts("some thing\n\n1 2 - x\n"), "/home") is None
    assert shared_among(mac_mounts("some thing\n"), "/home") is None


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_proc_is_no_network_file_system() -> None:
    assert shared_file_system(Path("/proc/self")) is None


def mode(folder: Path) -> str:
    with closing(sqlite3.connect(folder / FILENAME)) as connection:
        return str(connection.execute("PRAGMA journal_mode").fetchone()[0])


def test_a_store_that_was_in_wal_is_converted_and_keeps_what_it_has(tmp_path: Path) -> None:
    made = some(3)
    with Store(tmp_path) as store:
        store.put("model", made)
    assert mode(tmp_path) == "wal"
    with closing(connect(tmp_path / FILENAME, "TRUNCATE")) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("truncate",)
        assert connection.execute("SELECT count(*) FROM vectors").fetchone() == (3,)
        assert not list(tmp_path.glob("*-wal")) + list(tmp_path.glob("*-shm"))
    assert mode(tmp_path) == "delete"  # what is not WAL is each connection's own affair
    with Store(tmp_path) as store:  # and back, on a local disk
        assert len(store.get("model", list(made), 32, least=Quality.HALF)) == 3
    assert mode(tmp_path) == "wal"


@pytest.mark.slow
def test_many_processes_share_a_store_without_wal(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from zsclip.store.schema import connect, transaction\n"
        "connection = connect(Path(sys.argv[1]), 'TRUNCATE')\n"
        "for number in range(20):\n"
        "    with transaction(connection):\n"
        "        connection.execute('INSERT INTO folders (path) VALUES (?)', (f'{sys.argv[2]} {number}',))\n"
    )
    writers = [start_python(script, tmp_path / FILENAME, str(number)) for number in range(4)]
    assert [writer.wait(timeout=120) for writer in writers] == [0] * 4
    with closing(connect(tmp_path / FILENAME, "TRUNCATE")) as connection:
        assert connection.execute("SELECT count(*) FROM folders").fetchone() == (80,)
