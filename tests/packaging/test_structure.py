"""How the package hangs together: imports go one way, and nothing heavy is imported before it is needed."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.processes import run_and_list_modules, run_python

PACKAGE = Path(__file__).parents[2] / "zsclip"

# A room may use those before it and none after it.
ROOMS = (
    *(
        "errors",
        "closing",
        "steps",
        "atomic",
        "unit_vectors",
        "images",
        "models",
        "text",
        "demo",
        "store",
        "scoring",
        "engines",
        "embedding",
    ),
    *("classifier", "evaluation", "output", "report", "cluster", "cli", "__main__"),
)
ONLY_IN_ENGINES = {"torch", "torchvision", "open_clip", "timm"}


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in FILES.items()}


def room(module: str) -> str:
    return module.split(".")[1]


def imports_in(node: ast.AST) -> Iterator[str]:
    """What is imported when this runs, in functions too, as `module` or `module.name`."""
    if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
        for child in node.orelse:
            yield from imports_in(child)
        return
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports are written in full"
        yield from (f"{node.module}.{alias.name}" for alias in node.names)
    elif isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    for child in ast.iter_child_nodes(node):
        yield from imports_in(child)


def module_of(imported: str) -> str | None:
    """The module of this package that holds it; a package's names are its `__init__`'s."""
    return next((name for name in (imported, imported.rpartition(".")[0]) if name in FILES), None)


GRAPH = {
    name: {module for imported in imports_in(tree) if (module := module_of(imported))} - {name}
    for name, tree in TREES.items()
}


def cycle(graph: dict[str, set[str]]) -> list[str]:
    """Modules of which each imports the next, and the last the first; none if there is no cycle."""
    done: set[str] = set()
    while free := {name for name in graph.keys() - done if graph[name] <= done}:
        done |= free
    walked: list[str] = []
    following = min(graph.keys() - done, default=None)
    while following is not None and following not in walked:
        walked.append(following)
        following = min(graph[following] - done)
    return walked[walked.index(following) :] if following else []


def test_a_cycle_is_seen() -> None:
    assert cycle({"a": {"b"}, "b": {"c"}, "c": set()}) == []
    assert cycle({"a": {"b"}, "b": {"c", "d"}, "c": {"b"}, "d": set()}) == ["b", "c"]


def test_what_a_type_checker_alone_imports_does_not_count() -> None:
    code = "if TYPE_CHECKING:\n    import a\nelse:\n    import b\ndef f():\n    from c import d"
    assert list(imports_in(ast.parse(code))) == ["b", "c.d"]


def test_no_modules_import_each_other() -> None:
    assert not cycle(GRAPH), " -> ".join(cycle(GRAPH))


def test_rooms_use_only_those_before_them() -> None:
    order = {name: number for number, name in enumerate(ROOMS)}
    assert {room(name) for name in FILES if name != "zsclip"} == set(ROOMS)
    wrong = [
        f"{name} imports {imported}"
        for name in GRAPH.keys() - {"zsclip"}
        for imported in GRAPH[name] - {"zsclip"}
        if order[room(imported)] > order[room(name)]
    ]
    assert not wrong, "\n".join(sorted(wrong))


def test_modules_do_not_import_public_names_from_the_package_itself() -> None:
    """Those are resolved at first use, which would hide an import."""
    names = {imported for tree in TREES.values() for imported in imports_in(tree) if module_of(imported) == "zsclip"}
    assert names <= {"zsclip.__version__"}


def test_only_engines_import_torch_and_open_clip() -> None:
    for name in FILES.keys() - {"zsclip"}:
        heavy = {imported.split(".")[0] for imported in imports_in(TREES[name])} & ONLY_IN_ENGINES
        assert not heavy or room(name) == "engines", f"{name} imports {heavy}"


def texts(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """The strings of a module by line, without its docstrings."""
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.lineno, node.value


def test_only_the_command_line_knows_its_options() -> None:
    """The library's errors name settings in backticks; a whole command may stand in a text, as in a calibration file's head."""
    option = re.compile(r"(?<![\w-])--[a-z]")
    wrong = [
        f"{FILES[name].relative_to(PACKAGE)}:{line}: {text}"
        for name, tree in TREES.items()
        if name != "zsclip" and room(name) != "cli"
        for line, text in texts(tree)
        if option.search(text) and not re.search(r"zsclip [a-z]+ .*--[a-z]", text)
    ]
    assert not wrong, "\n".join(wrong)


def test_files_and_functions_are_short() -> None:
    long = [
        f"{name}: {lines} lines" for name, path in FILES.items() if (lines := len(path.read_bytes().splitlines())) > 400
    ]
    for name, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                lines = int(node.end_lineno or 0) - node.lineno + 1
                if lines > 60:
                    long.append(f"{name}.{node.name}: {lines} lines")
    assert not long, "\n".join(long)


def test_help_imports_nothing_heavy() -> None:
    _, imported = run_and_list_modules("--help")
    assert "zsclip.cli.classify" in imported
    assert not imported & {"torch", "numpy", "PIL", "open_clip", "yaml", "huggingface_hub", "scipy", "sklearn"}


def imported_by(code: str) -> set[str]:
    return set(run_python(f"import sys; {code}; print(*sys.modules)").stdout.split())


def test_the_package_itself_imports_nothing_heavy() -> None:
    assert not imported_by("import zsclip") & {"torch", "numpy", "PIL", "open_clip"}


def test_resolving_a_model_imports_neither_torch_nor_open_clip() -> None:
    imported = imported_by("from zsclip import models; models.resolve('ViT-B-32', 'openai')")
    assert "zsclip.models" in imported
    assert not imported & {"torch", "open_clip", "torchvision"}


@pytest.mark.slow
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
