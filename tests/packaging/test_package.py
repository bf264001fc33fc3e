"""The wheel, built and used elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's content, unpacked into a folder of its own."""
    if not (ROOT / "pyproject.toml").is_file():
        pytest.skip("these tests were taken out of the checkout")
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def run(installed: Path, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    command = [sys.executable, "-c", "import zsclip, sys; from zsclip.cli import main; print(zsclip.__file__); main()"]
    done = subprocess.run(
        [*command, *arguments], cwd=installed, env=environment, check=True, capture_output=True, text=True
    )
    where, _, out = done.stdout.partition("\n")
    assert Path(where).is_relative_to(installed)
    return out


def test_the_prompt_sets_are_in_the_wheel(installed: Path) -> None:
    shipped = {path.stem for path in (ROOT / "prompts").glob("*.yaml")}
    assert len(shipped) >= 8
    assert {path.stem for path in (installed / "zsclip" / "prompts").glob("*.yaml")} == shipped
    listed = run(installed, "prompts", "list")
    assert all(name in listed for name in shipped - {"background"} | {"openai-imagenet", "openai-simple"})


def test_the_installed_package_classifies(installed: Path, red_star: Path) -> None:
    out = run(installed, "classify", str(red_star), "--model", "demo", "--labels", "red star,blue ring")
    assert ",red star," in out


def test_the_installed_package_writes_reports(installed: Path, red_star: Path, tmp_path: Path) -> None:
    run(
        installed,
        "classify",
        str(red_star),
        "--model",
        "demo",
        "-l",
        "red star,blue ring",
        "--report",
        f"{tmp_path}/x.html",
    )
    assert "red star" in (tmp_path / "x.html").read_text()


def test_what_does_not_belong_into_the_wheel_is_not_in_it(installed: Path) -> None:
    assert {path.name for path in installed.iterdir() if not path.name.endswith(".dist-info")} == {"zsclip"}
    (info,) = installed.glob("*.dist-info")
    assert any((info / "licenses").glob("LICENSE*"))
    assert "zsclip = zsclip.__main__:main" in (info / "entry_points.txt").read_text()
