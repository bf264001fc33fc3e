"""The README's commands, run as they stand there."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.hostile_archives import tar

README = Path(__file__).parents[2] / "README.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
# Run by CI itself, or by the user once.
SETUP = ("make demo", "make test", "pip install .")
COMMANDS = [line for kind, block in BLOCKS if kind == "sh" for line in block.splitlines() if line not in SETUP]


@pytest.fixture(scope="module")
def place(
    tmp_path_factory: pytest.TempPathFactory,
    demo_folder: Path,
    vit_b32: Path,
) -> Path:
    """What the examples speak of: a folder of photos, a label file, weights."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "photos").mkdir()
    from PIL import Image

    for name, label in (("cat.jpg", "red star"), ("dog.jpg", "blue ring"), ("sub/bird.jpg", "pink heart")):
        (folder / "photos" / name).parent.mkdir(exist_ok=True)
        Image.open(demo_folder / "scenes" / label / "001.png").save(folder / "photos" / name)
    (folder / "labels.txt").write_text("cat\ndog\n")
    for label, scene in (("cat", "red star"), ("dog", "blue ring")):
        (folder / "labelled" / label).mkdir(parents=True)
        for number in (1, 2):
            shutil.copy(demo_folder / "scenes" / scene / "001.png", folder / "labelled" / label / f"{number}.png")
    (folder / "several.csv").write_text(
        "path,labels\nlabelled/cat/1.png,cat;grass\nlabelled/cat/2.png,cat\nlabelled/dog/1.png,dog;grass\nlabelled/dog/2.png,\n"
    )
    shutil.make_archive(str(folder / "photos"), "zip", folder / "photos")
    (folder / "shards").mkdir()
    for shard in range(2):
        files = sorted((folder / "labelled").rglob(f"{shard + 1}.png"))
        members = {}
        for number, file in enumerate(files):
            members |= {f"{number:06}.png": file.read_bytes(), f"{number:06}.cls": str(number).encode(),
                        f"{number:06}.json": json.dumps({"caption": {"label": file.parent.name}}).encode()}  # fmt: skip
        (folder / "shards" / f"{shard:04}.tar").write_bytes(tar(members))
    try:
        os.link(vit_b32, folder / "weights.pt")
    except OSError:
        shutil.copy(vit_b32, folder / "weights.pt")
    return folder


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="the examples are for a POSIX shell")
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_readme_works(command: str, place: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    # One store for all of them: most then need no model.
    environment = {**os.environ, "PATH": path, "ZSCLIP_MODEL": "demo", "ZSCLIP_CACHE_DIR": str(place / "cache")}
    shell = ["bash", "-o", "pipefail", "-c", command]
    run = subprocess.run(shell, cwd=place, env=environment, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    assert run.stdout or any(
        quiet in command for quiet in ("--output", ">", "--only", "-o ", "--into", "cache", "pull")
    )


@pytest.mark.slow
def test_the_python_of_the_readme_works(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    (code,) = (block for kind, block in BLOCKS if kind == "python")
    exec(compile(code, "README.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("photos/cat.jpg ") for line in lines)


def test_the_yaml_of_the_readme_is_read(tmp_path: Path) -> None:
    from zsclip import LabelSet, PromptSet

    labels, prompts = (block for kind, block in BLOCKS if kind == "yaml")
    (tmp_path / "labels.yaml").write_text(labels)
    (tmp_path / "prompts.yaml").write_text(prompts)
    assert LabelSet.load(tmp_path / "labels.yaml").names == ("couch", "bird", "tree")
    assert PromptSet.load(tmp_path / "prompts.yaml").expand("tench")[0].startswith("a freshwater fish")


def test_the_readme_names_every_default() -> None:
    from zsclip.models import DEFAULT_TAGS

    text = README.read_text(encoding="utf-8")
    for architecture, tag in DEFAULT_TAGS.items():
        assert f"`{architecture}`" in text
        assert tag in text


def test_its_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README.read_text(encoding="utf-8")):
        assert target.startswith("https://") or (README.parent / target).exists(), target
