"""How the package hangs together: imports go one way, and nothing heavy is imported before it is needed."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "zsclip"

# Later rooms may import earlier ones and their neighbours, never the other way round.
LAYERS = (
    ("errors", "results", "timings", "imports"),
    ("yamlfile", "open_clip_data"),
    (
        *("images", "labels", "prompts", "models", "scoring", "metrics", "vectors", "store", "engines"),
        *("demo", "tokenizer"),
    ),
    ("decoding",),
    ("isolation",),
    ("preparation",),
    ("embedding",),
    ("pipeline", "writers", "filing", "exchange", "upkeep", "labelled"),
    ("ensembling", "evaluation", "calibration", "scoreboard", "report"),
    ("cli", "__main__"),
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


def imports_of(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "zsclip":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("zsclip."):
            found.add(str(node.module).split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("zsclip.")}
    return found


def modules() -> list[Path]:
    return [path for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "__init__.py"]


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_one_way(path: Path) -> None:
    for imported in imports_of(path):
        assert LEVEL[imported] <= LEVEL[room(path)], f"{room(path)} must not import {imported}"


def test_no_cycles_between_rooms() -> None:
    graph: dict[str, set[str]] = {}
    for path in modules():
        graph.setdefault(room(path), set()).update(imports_of(path) - {room(path)})
    done: set[str] = set()
    while graph:
        free = {name for name, needed in graph.items() if needed <= done}
        assert free, f"a cycle among {sorted(graph)}"
        done |= free
        graph = {name: needed for name, needed in graph.items() if name not in free}


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_engines_import_torch_and_open_clip(path: Path) -> None:
    if room(path) == "engines":
        return
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
        for name in names:
            assert name.split(".")[0] not in ("torch", "torchvision", "open_clip", "timm")


def imported_by(code: str) -> set[str]:
    script = f"import sys\ntry:\n {code}\nexcept SystemExit: pass\nprint('\\n'.join(sys.modules), file=sys.stderr)"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(run.stderr.split())


def test_help_imports_nothing_heavy() -> None:
    imported = imported_by("sys.argv = ['zsclip', '--help']; from zsclip.cli import main; main()")
    assert "zsclip.cli.classify" in imported
    assert not imported & {"torch", "numpy", "PIL", "open_clip", "yaml", "huggingface_hub", "scipy", "sklearn"}


def test_the_package_itself_imports_nothing_heavy() -> None:
    assert not imported_by("import zsclip") & {"torch", "numpy", "PIL", "open_clip"}


def test_resolving_a_model_imports_neither_torch_nor_open_clip() -> None:
    imported = imported_by("from zsclip import models; models.resolve('ViT-B-32', 'openai')")
    assert "zsclip.models" in imported
    assert not imported & {"torch", "open_clip", "torchvision"}


def test_what_is_read_from_open_clips_files_is_what_open_clip_says() -> None:
    import open_clip

    from zsclip.models import open_clip_data

    assert set(open_clip_data.architectures()) >= set(open_clip.list_models())
    for architecture in open_clip.list_models():
        assert open_clip_data.model_config(architecture) == open_clip.get_model_config(architecture)
        tags = open_clip.list_pretrained_tags_by_model(architecture)
        assert list(open_clip_data.pretrained_tags(architecture)) == tags
        for tag in tags:
            assert open_clip_data.pretrained_tags(architecture)[tag] == open_clip.get_pretrained_cfg(architecture, tag)
    assert open_clip_data.imagenet_classes() == tuple(open_clip.IMAGENET_CLASSNAMES)
    for name, theirs in (
        ("openai-imagenet", open_clip.OPENAI_IMAGENET_TEMPLATES),
        ("openai-simple", open_clip.SIMPLE_IMAGENET_TEMPLATES),
    ):
        ours = open_clip_data.templates(name)
        assert [template.replace("<label>", "cat") for template in ours] == [template("cat") for template in theirs]


def test_public_names_resolve() -> None:
    import zsclip

    for name in zsclip.__all__:
        assert getattr(zsclip, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = zsclip.nonsense
