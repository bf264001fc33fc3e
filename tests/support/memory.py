"""How much memory something takes, by itself (Linux)."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

# Of each file in a folder, as JSON: path -> MiB that reading it adds at the peak, by itself, and what became of it.
PEAKS = """
import json, os, sys
from pathlib import Path
from support.corpus import picture, saved
from support.memory import peak_of
from zsclip import ImageError
from zsclip.images.decoding import pixels
from zsclip.images.preprocessing import Preprocessing
from PIL import Image

Image.init()
wanted = Preprocessing()
for format in ("PNG", "QOI", "BMP", "GIF", "TIFF", "WEBP", "JPEG2000", "AVIF"):
    pixels(saved(picture(), format), wanted)  # what is imported at its first use

def became(path):
    try:
        pixels(path.read_bytes(), wanted)
    except ImageError as error:
        return str(error)
    return "decoded"

print(json.dumps({str(path): peak_of(lambda: became(path)) for path in sorted(Path(sys.argv[1]).rglob("*")) if path.is_file()}))
"""


def peak_of(work: Callable[[], object]) -> tuple[float, object]:
    """MiB that `work` adds at its peak to a process that is forked for it, and what it returns, as JSON can tell it."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        before = _status("VmRSS")
        result = work()
        with os.fdopen(writer, "w") as pipe:
            json.dump([_status("VmHWM") - before, result], pipe)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    peak, result = json.loads(text)
    return peak, result


def memory_of(process: int) -> float:
    """MiB that a process holds now."""
    return _status("VmRSS", str(process))


def _status(name: str, process: str = "self") -> float:
    lines = Path(f"/proc/{process}/status").read_text(encoding="ascii", errors="replace").splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{name}:")), 0) / 1024
