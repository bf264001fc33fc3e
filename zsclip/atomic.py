"""Files and folders that appear whole or not at all, whatever ends the process.

Each is made under another name in the folder it will be in, and renamed when it is complete and on the disk.
"""

from __future__ import annotations

import errno
import glob
import os
import secrets
import shutil
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

_PARTIAL = ".zsclip-partial-"  # then the process's number and something random
_unfinished: set[str] = set()


@contextmanager
def new_file(path: Path, *, replace: bool = True, like: str | None = None) -> Iterator[BinaryIO]:
    """A file that gets its name, complete and on the disk, when the block ends well.

    A file of that name is replaced, and its permissions kept; with `replace=False` nothing is ever replaced. The new one
    gets the times and permissions of the file `like`, if one is given. Raises `OSError`.
    """
    partial = _partial_name(path)
    mode = stat.S_IMODE(path.stat().st_mode) if replace and path.exists() else 0o666 & ~_umask()
    _unfinished.add(partial)
    try:
        with open(partial, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        if like is None:
            os.chmod(partial, mode)
        else:
            shutil.copystat(like, partial)
        if replace:
            os.replace(partial, path)
        else:
            rename_without_replacing(partial, str(path))
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise
    finally:
        _unfinished.discard(partial)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder to fill, which gets its name when the block ends well, its files on the disk.

    There must be nothing of that name but an empty folder. Raises `OSError`.
    """
    partial = path.absolute().with_name(f".{path.name}-{secrets.token_hex(4)}")
    partial.mkdir(parents=True)
    try:
        yield partial
        for file in partial.rglob("*"):
            if file.is_file():
                with file.open("r+b") as stream:  # Windows flushes only what may be written
                    os.fsync(stream.fileno())
        if path.is_dir():
            path.rmdir()
        partial.rename(path)
        with suppress(OSError):  # nothing is removed for this one to be there
            sync_folder(path.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def remove_unfinished_folders(path: Path) -> None:
    """Remove what `new_folder` left unfinished for `path` where a process was killed; no other may be at it."""
    for partial in path.parent.glob(f".{glob.escape(path.name)}-*"):
        shutil.rmtree(partial, ignore_errors=True)


def remove_unfinished() -> None:
    """Remove the files that are being written, because the process is about to end; raises nothing."""
    for partial in tuple(_unfinished):
        with suppress(OSError):
            os.unlink(partial)


def remove_dead(folder: str | Path) -> None:
    """Remove from a folder what killed processes left half written there; raises `OSError`."""
    if os.name != "posix":
        return
    for name in os.listdir(folder):
        number = name.removeprefix(_PARTIAL).split("-")[0]
        if name.startswith(_PARTIAL) and number.isdecimal():
            with suppress(PermissionError):  # somebody else's, and alive
                try:
                    os.kill(int(number), 0)
                except ProcessLookupError:
                    os.unlink(os.path.join(folder, name))


def rename_without_replacing(source: str, target: str) -> None:
    """Give a file another name on its file system, replacing nothing; raises `FileExistsError` and other `OSError`."""
    if os.name == "nt":
        os.rename(source, target)  # replaces nothing there
        return
    if _renameat2(source, target):
        return
    if linked(source, target):
        os.unlink(source)
        return
    # No links on this file system: an empty file holds the name, and only that is replaced.
    os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    try:
        os.rename(source, target)
    except BaseException:
        os.unlink(target)
        raise


# What a file system says that cannot link, or not to there.
_NO_LINKS = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


def linked(source: str, target: str) -> bool:
    """Whether a hard link could be made, which replaces nothing; raises `FileExistsError` and other `OSError`."""
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        return False
    return True


def _renameat2(source: str, target: str) -> bool:
    """Linux's renameat2 with RENAME_NOREPLACE; False where there is none."""
    if sys.platform != "linux":
        return False
    import ctypes  # some milliseconds, for moves and plans only

    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    at_cwd, no_replace = -100, 1
    if renameat2(at_cwd, os.fsencode(source), at_cwd, os.fsencode(target), no_replace) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.ENOSYS, errno.EINVAL):
        return False
    raise OSError(number, os.strerror(number), target)


# What shares and file systems say that sync files but no folders (CIFS, FUSE, WSL).
_NO_FOLDER_SYNC = (
    *(errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EACCES, errno.EPERM, errno.EBADF),
    *(errno.EISDIR, errno.ENOTTY),
)


def sync_folder(folder: str | Path) -> None:
    """Have the names in a folder on the disk, where its file system can do that; raises `OSError` if it fails to."""
    if os.name != "posix":
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise


def _partial_name(path: Path) -> str:
    return os.path.join(path.absolute().parent, f"{_PARTIAL}{os.getpid()}-{secrets.token_hex(4)}")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
