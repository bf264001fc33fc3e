"""YAML files read as text with line numbers, so that a message can say where it was wrong.

Scalars stay as they were written (`no` is the text "no", `1` is "1"); tags and anchors build nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml

from zsclip.errors import ZsclipError

MAX_BYTES = 20_000_000


@dataclass(frozen=True)
class Text:
    """A scalar and the line (from 1) where it stands."""

    value: str
    line: int


@dataclass(frozen=True)
class YamlFile:
    """One document. `error` is the class raised for whatever is wrong with it; `what` names it in messages."""

    path: Path
    what: str
    error: type[ZsclipError]

    def fail(self, line: int | None, message: str) -> ZsclipError:
        """The error to raise, with file, line and what the file is."""
        where = f"{self.path}:{line}" if line else f"{self.path}"
        return self.error(f"{where}: {self.what}: {message}")

    def root(self) -> yaml.Node | None:
        """The top node, None for an empty file; raises `error` if it cannot be read or is not YAML."""
        try:
            if self.path.stat().st_size > MAX_BYTES:
                raise self.fail(None, f"larger than {MAX_BYTES // 1_000_000} MB, which no such file needs.")
            text = self.path.read_text(encoding="utf-8-sig")
        except OSError as error:
            raise self.fail(None, f"{error.strerror}.") from None
        except UnicodeDecodeError as error:
            raise self.fail(None, f"not UTF-8 text (byte {error.start}).") from None
        try:
            return yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            raise self.fail(mark.line + 1 if mark else None, f"not valid YAML: {error.problem}.") from None
        except (yaml.YAMLError, RecursionError) as error:
            raise self.fail(None, f"not valid YAML: {error}.") from None

    def items(self, node: yaml.Node | None, expected: str) -> list[tuple[Text, yaml.Node]]:
        """Keys and values of a mapping; raises `error` for anything else and for repeated keys."""
        if not isinstance(node, yaml.MappingNode):
            raise self.fail(_line(node), f"expected {expected}.")
        items = [(self.text(key, "a text as key"), value) for key, value in node.value]
        self.require_distinct([key for key, _ in items], "a key")
        return items

    def require_distinct(self, texts: Iterable[Text], what: str) -> None:
        """Raise `error` for an empty text and for one that stands twice, with both lines."""
        seen: dict[str, int] = {}
        for text in texts:
            if not text.value:
                raise self.fail(text.line, f"{what} is empty.")
            if text.value in seen:
                raise self.fail(
                    text.line, f"{text.value!r} stands here again; it was on line {seen[text.value]} already."
                )
            seen[text.value] = text.line

    def text(self, node: yaml.Node, expected: str) -> Text:
        """A scalar as it was written, stripped; empty for null."""
        if not isinstance(node, yaml.ScalarNode):
            raise self.fail(_line(node), f"expected {expected}, not a list or a mapping.")
        null = node.tag == "tag:yaml.org,2002:null"
        return Text("" if null else node.value.strip(), node.start_mark.line + 1)

    def texts(self, node: yaml.Node, expected: str) -> list[Text]:
        """A list of scalars, or one scalar as a list of one; null is an empty list."""
        if isinstance(node, yaml.SequenceNode):
            return [self.text(item, expected) for item in node.value]
        one = self.text(node, f"{expected}, or a list of them")
        return [one] if one.value else []


def _line(node: yaml.Node | None) -> int | None:
    return node.start_mark.line + 1 if node is not None else None
