"""Where a report finds its pictures: beside it, or within it as thumbnails."""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from urllib.parse import quote

from PIL import Image

from zsclip.engines.hardware import available_cores
from zsclip.errors import ImageError
from zsclip.images import decoding
from zsclip.images.archives.named import split
from zsclip.images.files import read_file
from zsclip.images.preprocessing import Preprocessing

_SIDE = 240
_QUALITY = 72
# What browsers show; of other formats there are thumbnails only.
SHOWN_BY_BROWSERS = frozenset({
    ".apng", ".avif", ".bmp", ".gif", ".ico", ".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".webp",
})  # fmt: skip


@dataclass(frozen=True)
class Pictures:
    """The pictures of a report in `folder`; with `embed` they are in the report itself."""

    folder: Path
    embed: bool = False

    def sources(self, paths: Sequence[str]) -> list[str]:
        """A URL for each path: relative to the report, or `data:`. Empty where there is nothing to show."""
        with ThreadPoolExecutor(available_cores()) as pool:  # Pillow lets go of the interpreter where the work is
            return list(pool.map(self._source, paths))

    def _source(self, path: str) -> str:
        if split(path) is not None:  # no browser looks into an archive
            return ""
        if self.embed or os.path.splitext(path)[1].lower() not in SHOWN_BY_BROWSERS:
            return thumbnail(path)
        return relative_url(path, self.folder)


def relative_url(path: str, folder: Path) -> str:
    """A percent-encoded URL of a file, relative to a folder; bytes that are not UTF-8 stay what they are."""
    try:
        relative = os.path.relpath(os.path.abspath(path), os.path.abspath(folder))
    except ValueError:  # another drive
        return Path(path).absolute().as_uri()
    return quote(os.fsencode(relative.replace(os.sep, "/")), safe="/")


def thumbnail(path: str) -> str:
    """A small JPEG as a `data:` URL; empty for what cannot be read."""
    try:
        data, _ = read_file(path)
        image, _ = decoding.decode(data, Preprocessing(size=(_SIDE, _SIDE)))
    except ImageError:
        return ""
    image.thumbnail((_SIDE, _SIDE), Image.Resampling.BICUBIC)
    stream = BytesIO()
    image.convert("RGB").save(stream, "JPEG", quality=_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"
