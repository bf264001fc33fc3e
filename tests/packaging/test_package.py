"""The wheel and the source archive, built and used elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import zsclip

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


def built(target: str, folder: Path) -> Path:
    if not (ROOT / "pyproject.toml").is_file():
        pytest.skip("these tests were taken out of the checkout")
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", folder]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (archive,) = folder.iterdir()
    return archive


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's content, unpacked into a folder of its own."""
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(built("wheel", tmp_path_factory.mktemp("wheel"))) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source archive's content."""
    folder = tmp_path_factory.mktemp("source")
    with tarfile.open(built("sdist", tmp_path_factory.mktemp("sdist"))) as archive:
        archive.extractall(folder, filter="data")
    (root,) = folder.iterdir()
    return root


def run(installed: Path, *arguments: str | Path) -> str:
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


def test_the_installed_package_classifies_and_writes_a_report(installed: Path, red_star: Path, tmp_path: Path) -> None:
    command = ["classify", red_star, "--model", "demo", "--labels", "red star,blue ring"]
    out = run(installed, *command, "--report", tmp_path / "x.html")
    assert ",red star," in out
    assert "red star" in (tmp_path / "x.html").read_text()


def test_what_does_not_belong_into_the_wheel_is_not_in_it(installed: Path) -> None:
    assert {path.name for path in installed.iterdir() if not path.name.endswith(".dist-info")} == {"zsclip"}
    (info,) = installed.glob("*.dist-info")
    assert any((info / "licenses").glob("LICENSE*"))
    assert "zsclip = zsclip.__main__:main" in (info / "entry_points.txt").read_text()


def test_there_is_one_version(installed: Path) -> None:
    (info,) = installed.glob("*.dist-info")
    assert f"\nVersion: {zsclip.__version__}\n" in (info / "METADATA").read_text(encoding="utf-8")
    assert run(installed, "--version") == f"zsclip {zsclip.__version__}\n"


def test_the_tests_can_be_run_from_the_source_archive(source: Path) -> None:
    """All of them are found, and those that read the README find what it links to."""
    ours, theirs = ({path.relative_to(root) for path in (root / "tests").rglob("*.py")} for root in (ROOT, source))
    assert theirs == ours
    environment = {**os.environ, "PYTHONPATH": str(source)}
    for arguments in (["--collect-only"], ["tests/packaging/test_readme.py", "-k", "links"]):
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
        done = subprocess.run(command, cwd=source, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
