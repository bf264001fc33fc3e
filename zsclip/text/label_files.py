"""Files of labels: text (one a line), YAML, JSON, and tables with a column `label`."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from zsclip.errors import LabelError
from zsclip.text.text_file import Text, TextFile
from zsclip.text.yaml_reader import YamlFile

if TYPE_CHECKING:
    import yaml

SEPARATOR = "/"  # between the levels of a label's name

# Labels by their paths, of one name unless they stand in levels, each with the names it is prompted by.
Names: TypeAlias = "list[tuple[tuple[str, ...], tuple[str, ...]]]"

_WHAT = "label file"
_EXPECTED = "or labels with their synonyms or subclasses, or with the labels below them"
_DEEPEST = 10  # levels, as in YAML
_HEADER = "label"
_HEADERS = ("labels", "name", "names", "class", "classes", "category", "categories")  # not taken for a label


def read(path: Path) -> Names:
    """The labels of a file, read as its extension says; raises `LabelError`, naming file and line."""
    return READERS.get(path.suffix.lower(), _read_text)(path)


def _read_text(path: Path) -> Names:
    file = TextFile(path, _WHAT, LabelError)
    text = file.read()
    # " #" begins a comment as in YAML, so that "C#" stays a label.
    lines = [
        Text("" if line.lstrip().startswith("#") else line.split(" #")[0].strip(), number)
        for number, line in enumerate(text.split("\n"), 1)
    ]
    labels = [line for line in lines if line.value]
    if labels:
        _require_no_other_format(file, text, labels)
    return _each_by_itself(file, labels)


def _require_no_other_format(file: TextFile, text: str, labels: list[Text]) -> None:
    first, stem = labels[0], file.path.stem
    columns = [cell.strip().strip('"').lower() for cell in re.split("[,;\t]", first.value)]
    if _HEADER in columns and len(labels) > 1:
        kind = "tsv" if "\t" in first.value else "csv"
        raise file.fail(
            first.line,
            f"{first.value!r}: {_HEADER!r} is a column's name, not a label. Remove that line, or call the file {stem}.{kind}.",
        )
    if first.value[0] in "[{" and _is_json(text):
        raise file.fail(first.line, f"this is JSON, not a label a line: call the file {stem}.json.")


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _read_table(path: Path, delimiter: str) -> Names:
    """The column `label`; or the only one, without a header."""
    file = TextFile(path, _WHAT, LabelError)
    text = file.read()
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows: list[tuple[int, list[str]]] = []
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            if any(cells) and not (len(cells) == 1 and cells[0].startswith("#")):
                rows.append((reader.line_num, cells))
    except csv.Error as error:
        raise file.fail(reader.line_num, f"not a table: {error}.") from None
    header = [cell.lower() for cell in rows[0][1]] if rows else []
    if _HEADER in header:
        column = header.index(_HEADER)
        labels = [Text(cells[column] if column < len(cells) else "", line) for line, cells in rows[1:]]
    else:
        first = rows[0][1][0] if rows else ""
        columns = [cell.strip().strip('"').lower() for cell in re.split("[,;|\t]", first)]
        if (_HEADER in columns and len(columns) > 1) or first.lower() in _HEADERS:
            divided = "tabs" if delimiter == "\t" else "commas"
            raise file.fail(
                rows[0][0],
                f"{first!r} looks like a header: call the column {_HEADER}, and divide columns by {divided}.",
            )
        if wide := next((line for line, cells in rows if any(cells[1:])), None):
            raise file.fail(
                wide, f"there are several columns, and no column is called {_HEADER}: name one in the first line."
            )
        labels = [Text(cells[0], line) for line, cells in rows]
    if broken := next((label for label in labels if "\n" in label.value), None):
        raise file.fail(broken.line, "a label with a line break in it: a quote is not closed.")
    return _each_by_itself(file, labels)


def _each_by_itself(file: TextFile, labels: list[Text]) -> Names:
    file.require_distinct(labels, "a label")
    return [((label.value,), (label.value,)) for label in labels]


def _read_yaml(path: Path) -> Names:
    import yaml

    file = YamlFile(path, _WHAT, LabelError)
    root = file.root()
    if root is None:
        return []
    if isinstance(root, yaml.SequenceNode):
        return _each_by_itself(file, file.texts(root, "a label"))
    found = list(_yaml_labels(file, root, ()))
    _require_no_separator(file, [names for names, _ in found])
    return [(tuple(name.value for name in names), members) for names, members in found]


def _yaml_labels(
    file: YamlFile, node: yaml.Node, above: tuple[Text, ...]
) -> Iterator[tuple[tuple[Text, ...], tuple[str, ...]]]:
    """The labels below `above`, in order."""
    import yaml

    for key, value in file.items(node, f"a list of labels, {_EXPECTED}"):
        if isinstance(value, yaml.MappingNode):
            if not value.value:
                raise file.fail(key.line, f"{key.value!r} has no labels below it.")
            yield from _yaml_labels(file, value, (*above, key))
            continue
        members = file.texts(value, "a synonym or subclass")
        file.require_distinct(members, f"label {key.value!r}: a name")
        yield (*above, key), tuple(member.value for member in members) or (key.value,)


def _read_json(path: Path) -> Names:
    """As in YAML: a list of labels, or an object of labels with a name or a list of them, or with an object of those below."""
    file = TextFile(path, _WHAT, LabelError)
    try:
        document: Any = json.loads(file.read(), object_pairs_hook=tuple)  # a repeated key is not lost
    except json.JSONDecodeError as error:
        raise file.fail(error.lineno, f"not JSON: {error.msg}.") from None
    except (ValueError, RecursionError) as error:  # a number of too many digits, too deep
        raise file.fail(None, f"not JSON that can be read: {error}.") from None
    if isinstance(document, list):
        document = tuple((name, name) for name in document)
    labels = list(_json_labels(file, document, ()))
    _require_no_separator(file, [[Text(name, 0) for name in names] for names, _ in labels])
    return labels


def _json_labels(
    file: TextFile, document: Any, above: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    expected = file.fail(None, f"expected a list of texts, {_EXPECTED}.")
    if not isinstance(document, tuple):
        raise expected
    if above and not document:
        raise file.fail(None, f"{SEPARATOR.join(above)!r} has no labels below it.")
    if len(above) == _DEEPEST:
        raise file.fail(None, f"nested more than {_DEEPEST} deep.")
    branches: set[str] = set()
    for key, value in document:
        if isinstance(key, str) and _is_text(key) and isinstance(value, tuple):
            if key in branches:
                raise file.fail(None, f"{key!r} stands there again.")
            branches.add(key)
            yield from _json_labels(file, value, (*above, key.strip()))
            continue
        names = [value] if isinstance(value, str) else [key] if value is None or value == [] else value
        if not isinstance(names, list) or not all(isinstance(name, str) and _is_text(name) for name in [key, *names]):
            raise expected
        yield (*above, key.strip()), tuple(dict.fromkeys(name.strip() for name in names))


def _require_no_separator(file: TextFile, paths: Sequence[Sequence[Text]]) -> None:
    """Raise for names that would look like several levels, where there are levels."""
    if any(len(names) > 1 for names in paths):
        for name in (name for names in paths for name in names):
            if SEPARATOR in name.value:
                raise file.fail(name.line, separator_in_a_name(name.value))


def separator_in_a_name(name: str) -> str:
    """What to say of a name that would look like several levels."""
    return (
        f"{name!r}: where labels stand in levels, {SEPARATOR!r} separates these. Call it otherwise; what it is prompted by "
        f"may have one: `TV set: [TV/monitor]`."
    )


def _is_text(name: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in name)


READERS: dict[str, Callable[[Path], Names]] = {
    ".yaml": _read_yaml,
    ".yml": _read_yaml,
    ".json": _read_json,
    ".csv": lambda path: _read_table(path, ","),
    ".tsv": lambda path: _read_table(path, "\t"),
}
