"""Run every command of the README on the demo model, and keep what each printed and its exit code.

    python scripts/readme_outputs.py OUT

Two versions are compared by running this with each of them first in PYTHONPATH, then `diff -r`. Times and temporary paths
are taken out of what is kept.
"""

from __future__ import annotations

import argparse
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"
SETUP = ("make ", "pip install")
CHANGING = (
    (re.compile(r"plan-\d{8}-\d{6}"), "plan-TIME"),
    (re.compile(r"\d+(\.\d+)? s\b"), "N s"),
    (re.compile(r"\d+(\.\d+)? images/s"), "N images/s"),
)


def commands() -> list[str]:
    """The lines of the README's shell blocks, but for those that set up."""
    blocks = re.findall(r"^```sh\n(.*?)^```", README.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return [line for block in blocks for line in block.splitlines() if not line.startswith(SETUP)]


def prepare(place: Path) -> None:
    """What the examples speak of: photos, labelled photos, labels, weights."""
    import open_clip
    import torch
    from PIL import Image

    from zsclip.demo import draw_folder

    scenes = draw_folder(place / "demo", images=1).scenes
    for name, label in (("cat.jpg", "red star"), ("dog.jpg", "blue ring"), ("sub/bird.jpg", "pink heart")):
        (place / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.open(scenes / label / "001.png").save(place / "photos" / name)
    for label, scene in (("cat", "red star"), ("dog", "blue ring")):
        (place / "labelled" / label).mkdir(parents=True)
        for number in (1, 2):
            shutil.copy(scenes / scene / "001.png", place / "labelled" / label / f"{number}.png")
    (place / "labels.txt").write_text("cat\ndog\n")
    torch.manual_seed(7)
    model = open_clip.create_model("ViT-B-32")
    with torch.no_grad():
        model.logit_scale.fill_(math.log(100))
    torch.save(model.state_dict(), place / "weights.pt")
    shim = place / "bin" / "zsclip"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m zsclip "$@"\n')
    shim.chmod(0o755)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, metavar="OUT")
    out = parser.parse_args().out
    out.mkdir(parents=True)
    place = Path(tempfile.gettempdir()) / "zsclip-readme"  # the same for all versions
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    try:
        prepare(place)
        settings = {"PATH": f"{place / 'bin'}{os.pathsep}{os.environ['PATH']}", "ZSCLIP_MODEL": "demo", "COLUMNS": "80"}
        environment = {**os.environ, **settings, "ZSCLIP_CACHE_DIR": str(place / "cache"), "HF_HUB_OFFLINE": "1"}
        for number, command in enumerate(commands()):
            run = subprocess.run(
                ["bash", "-o", "pipefail", "-c", command], cwd=place, env=environment, capture_output=True, check=False
            )
            said = f"$ {command}\n{run.stdout.decode()}--- stderr, exit code {run.returncode}\n{run.stderr.decode()}"
            for changing, instead in CHANGING:
                said = changing.sub(instead, said)
            (out / f"{number:02}.txt").write_text(said, encoding="utf-8")
    finally:
        shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    main()
