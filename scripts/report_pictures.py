"""Photograph the reports for the docs: both of them, on a laptop and on a phone, in headless Chromium.

    python scripts/report_pictures.py [--out docs]

Needs chromium and chromedriver (Debian: apt-get install chromium chromium-driver).
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
from io import BytesIO
from pathlib import Path

from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.browser import Browser, chromium

COMMANDS = (
    "zsclip demo demo --images 12 --noise 0.4 --seed 7",
    "zsclip evaluate demo/scenes -p plain -p photo -p openai-imagenet --template 'a blue ring and a <label>.' "
    "--class-names shapes.csv --labels-file shapes.yaml --report evaluation.html -q -o evaluation.json",
    "zsclip classify demo/scenes --labels-file demo/labels.txt -p photo --min-probability 0.4 --report gallery.html -q "
    "-o labels.csv",
)
# Widths of a laptop and a phone; heights show as much as there is to see.
SIZES = {"evaluation": ((1280, 1860), (390, 1860)), "gallery": ((1280, 900), (390, 900))}
LOADED = "return [...document.images].every((i) => i.complete || i.getBoundingClientRect().top > innerHeight)"


def by_shape(folder: Path) -> None:
    """Judge the shapes alone: each a label that stands for its eight colours."""
    from zsclip.demo.scenes import COLOURS, SHAPES

    pairs = [(colour, shape) for colour in COLOURS for shape in SHAPES]
    (folder / "shapes.csv").write_text("".join(f"{colour} {shape},{shape}\n" for colour, shape in pairs))
    names = {shape: ", ".join(f"{colour} {shape}" for colour in COLOURS) for shape in SHAPES}
    (folder / "shapes.yaml").write_text("".join(f"{shape}: [{listed}]\n" for shape, listed in names.items()))


def photograph(browser: Browser, page: Path, size: tuple[int, int], out: Path, script: str, *, dark: bool) -> None:
    browser.open(page, *size, dark=dark)
    browser.run(script)
    browser.wait(LOADED)
    browser.run("return new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    picture = Image.open(BytesIO(browser.driver.get_screenshot_as_png())).convert("RGB")
    picture.save(out, "WEBP", quality=78, method=6)
    print(f"{out}: {picture.width} x {picture.height}, {out.stat().st_size / 1000:.0f} kB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs"))
    args = parser.parse_args()
    gallery = (
        "const o = document.getElementById('order'); o.value = 'margin'; o.dispatchEvent(new Event('input'));"
        "for (const item of shown.slice(0, 3)) { const right = item.path.split('/').at(-2);"
        "if (right === item.label) check(item); else decide(item, right); } scrollTo(0, 0)"
    )
    with tempfile.TemporaryDirectory() as place, chromium(Path(place)) as browser:
        folder = Path(place)
        by_shape(folder)
        environment = {**os.environ, "ZSCLIP_MODEL": "demo", "ZSCLIP_CACHE_DIR": f"{place}/cache"}
        for command in COMMANDS:
            shell = shlex.split(command.replace("zsclip ", f"{sys.executable} -m zsclip ", 1))
            subprocess.run(shell, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
        for name, script in (("evaluation", ""), ("gallery", gallery)):
            page = folder / f"{name}.html"
            laptop, phone = SIZES[name]
            photograph(browser, page, laptop, args.out / f"report-{name}.webp", script, dark=False)
            photograph(browser, page, phone, args.out / f"report-{name}-phone.webp", script, dark=True)
            if name == "gallery":
                browser.run("localStorage.clear()")


if __name__ == "__main__":
    main()
