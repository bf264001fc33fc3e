"""Draw docs/classify.svg: what two real commands print on a terminal of 80 columns.

python scripts/readme_picture.py [--out docs/classify.svg]
"""

from __future__ import annotations

import argparse
import io
import os
import pty
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

from zsclip.demo import draw_folder

WIDTH = 80
COMMANDS = (
    "zsclip classify pictures/red-star.png -m demo -L labels.txt",
    "zsclip classify pictures/ -m demo -l star,heart,ring,arrow,circle",
)
SHOWN = ("blue circle", "green heart", "orange ring", "pink cross", "red star", "yellow arrow")


def on_a_terminal(command: str, folder: str) -> str:
    """What `command` writes to a terminal, with its colours."""
    shell = command.replace("zsclip ", f"{sys.executable} -m zsclip ", 1)
    leader, follower = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(WIDTH), "TERM": "xterm-256color"}
    run = subprocess.Popen(
        shell, shell=True, cwd=folder, stdout=follower, stderr=subprocess.DEVNULL, stdin=follower, env=environment
    )
    os.close(follower)
    output = b""
    while True:
        try:
            block = os.read(leader, 1 << 16)
        except OSError:
            break
        if not block:
            break
        output += block
    run.wait()
    return output.decode().replace("\r\n", "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs/classify.svg"))
    args = parser.parse_args()
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    with tempfile.TemporaryDirectory() as folder:
        demo = draw_folder(Path(folder) / "demo", images=1)
        (demo.scenes.parent / "pictures").mkdir()
        for label in SHOWN:
            picture = demo.scenes.parent / "pictures" / f"{label.replace(' ', '-')}.png"
            shutil.copy(demo.scenes / label / "001.png", picture)
        for number, command in enumerate(COMMANDS):
            if number:
                console.print()
            console.print(Text(f"$ {command}", style="bold"))
            console.print(Text.from_ansi(on_a_terminal(command, f"{folder}/demo").rstrip()))
    # The picture must not fetch fonts from anywhere.
    layout = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    args.out.write_text(console.export_svg(title="zsclip", code_format=layout, unique_id="zsclip"), encoding="utf-8")


if __name__ == "__main__":
    main()
