"""Which names are archives', and what a name inside one stands for."""

from __future__ import annotations

import os
import re
from collections.abc import Callable

from zsclip.images.archives.sidecar import Sidecar
from zsclip.images.container import Container
from zsclip.images.folders import PassedOver, Search
from zsclip.images.place import Place
from zsclip.images.places import place
from zsclip.images.remote.addresses import is_address, on_the_web

EXTENSIONS = (".tar", ".tar.gz", ".tgz", ".zip")
_INSIDE = re.compile(r"\.(?:tar|tar\.gz|tgz|zip)/", re.IGNORECASE)


def is_archive(name: str) -> bool:
    """Whether that is the name of an archive."""
    if is_address(name) and on_the_web(name):
        name = re.split(r"[?#]", name, maxsplit=1)[0]
    return name.lower().endswith(EXTENSIONS)


def split(path: str, is_there: Callable[[str], bool] = os.path.isfile) -> tuple[str, str] | None:
    """The archive that a path leads into, and the name inside; None if no beginning of it is an archive that is there."""
    for found in _INSIDE.finditer(path):
        if path[found.end() :] and is_there(path[: found.end() - 1]):
            return path[: found.end() - 1], path[found.end() :]
    return None


def archive(
    path: str,
    search: Search | None = None,
    passed_over: PassedOver | None = None,
    sidecar: Sidecar | None = None,
    only: str | None = None,
    at: Place | None = None,
) -> Container:
    """The archive of that name, whose bytes are `at` a place (a local file's by default), of which `search` says what is passed
    over; or what in it is called `only`.
    """
    from zsclip.images.archives.tar import Tar
    from zsclip.images.archives.zip import Zip

    kind = Zip if path.partition("?")[0].lower().endswith(".zip") else Tar
    return kind(at or place(path), search or Search(), passed_over or PassedOver(), sidecar, only)
