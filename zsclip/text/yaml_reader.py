"""YAML files read as text with line numbers, so that a message can say where it was wrong.

Scalars stay as they were written (`no` is the text "no", `1` is "1"). Tags are refused, as are nesting and aliases that
would multiply the contents of the file.
"""

from __future__ import annotations

import yaml

from zsclip.text.text_file import Text, TextFile

_DEEPEST = 10
_MOST_BY_ALIASES = 5_000_000
# libyaml's is some ten times as fast.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class YamlFile(TextFile):
    """One YAML document, whose texts know their lines."""

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

    def text(self, node: yaml.Node, expected: str) -> Text:
        """A scalar as it was written, stripped; empty for null."""
        if not isinstance(node, yaml.ScalarNode):
            raise self.fail(_line(node), f"expected {expected}, not a list or a mapping.")
        null = node.tag == "tag:yaml.org,2002:null"
        return Text("" if null else node.value.strip(), node.start_mark.line + 1)

    def nodes(self, node: yaml.Node, expected: str) -> list[yaml.Node]:
        """What is in a list; raises `error` for anything else."""
        if not isinstance(node, yaml.SequenceNode):
            raise self.fail(_line(node), f"expected {expected}.")
        return list(node.value)

    def texts(self, node: yaml.Node, expected: str) -> list[Text]:
        """A list of scalars, or one scalar as a list of one; null is an empty list."""
        if isinstance(node, yaml.SequenceNode):
            return [self.text(item, expected) for item in node.value]
        one = self.text(node, f"{expected}, or a list of them")
        return [one] if one.value else []


def _line(node: yaml.Node | None) -> int | None:
    return node.start_mark.line + 1 if node is not None else None
