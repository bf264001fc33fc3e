"""YAML files read as text with line numbers, so that a message can say where it was wrong.

Scalars stay as they were written (`no` is the text "no", `1` is "1"). Tags are refused, as are nesting and aliases that
would multiply what stands in the file.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml

from zsclip.errors import ZsclipError

MAX_BYTES = 20_000_000
_DEEPEST = 10
_MOST_BY_ALIASES = 5_000_000
# libyaml's is some ten times as fast.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


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

    def read(self) -> str:
        """The file's text (UTF-8, with or without a byte order mark), at most `MAX_BYTES`; raises `error`."""
        try:
            with open(self.path, "rb") as file:  # a pipe has no size to ask for
                data = file.read(MAX_BYTES + 1)
        except (OSError, ValueError) as error:
            raise self.fail(None, f"{getattr(error, 'strerror', None) or error}.") from None
        if len(data) > MAX_BYTES:
            raise self.fail(None, f"larger than {MAX_BYTES // 1_000_000} MB, which no such file needs.")
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise self.fail(data[: error.start].count(b"\n") + 1, f"not UTF-8 text (byte {error.start}).") from None

    def root(self) -> yaml.Node | None:
        """The top node, None for an empty file; raises `error` if it cannot be read or is not YAML."""
        text = self.read()
        try:
            self._refuse_bombs(text)
            return yaml.compose(text, Loader=_LOADER)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            # Some versions of libyaml have a limit of their own, above ours, and look far ahead.
            too_deep = "nesting depth" in str(error.problem)
            message = f"nested more than {_DEEPEST} deep." if too_deep else f"not valid YAML: {error.problem}."
            raise self.fail(mark.line + 1 if mark else None, message) from None
        except yaml.YAMLError as error:
            raise self.fail(None, f"not valid YAML: {str(error).strip()}.") from None

    def _refuse_bombs(self, text: str) -> None:
        # Before nodes are made of it: libyaml's loader crashes the process where nesting is too deep.
        depth = events = aliases = 0
        for event in yaml.parse(text, Loader=_LOADER):
            events += 1
            line = event.start_mark.line + 1 if event.start_mark else None
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
            elif isinstance(event, yaml.AliasEvent):
                aliases += 1
            if tag := getattr(event, "tag", None):
                raise self.fail(line, f"the tag {tag} is not read here. Remove it.")
            if depth > _DEEPEST:
                raise self.fail(line, f"nested more than {_DEEPEST} deep.")
        if aliases * events > _MOST_BY_ALIASES:
            raise self.fail(
                None, f"{aliases:,} aliases in a file of this size are too many. Write out what they stand for."
            )

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
