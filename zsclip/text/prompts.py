"""Prompt sets: named lists of templates that turn a label into texts."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from zsclip.errors import PromptSetError
from zsclip.models import open_clip_data
from zsclip.text.text_file import Text
from zsclip.text.yaml_reader import YamlFile

if TYPE_CHECKING:
    import yaml

DEFAULT = "openai-simple"
# open_clip's own, read at run time: published with CLIP, the 7 a bit better than the 80.
OPEN_CLIP = {
    "openai-imagenet": "OpenAI's 80 templates for ImageNet.",
    "openai-simple": "OpenAI's 7 best templates for ImageNet, about as good as all 80.",
}
BACKGROUND = "background"  # a list of texts for "something else", in the folder of the sets
# What other tools write for the place of the label. Nothing else in braces means anything.
_PLACEHOLDER = re.compile(r"\{\}|\{label\}|\{c\}|<label>")


@dataclass(frozen=True)
class PromptSet:
    """Templates with `<label>` in them, and prompts of their own for some labels.

    `label_prompts[label]`, where given, is used instead of the templates. `source` says where the set comes from.
    `weights`, one for each template, say how much it counts in the mean; without any all count the same. `chosen` is the
    record of how templates and weights were chosen, if they were.
    """

    name: str
    templates: tuple[str, ...]
    label_prompts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    description: str = ""
    source: str = ""
    weights: tuple[float, ...] = ()
    chosen: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Read other tools' placeholders; raise `PromptSetError` for a template without any, and for an empty set."""
        if isinstance(self.templates, str):
            raise PromptSetError(f"Templates must be a list, not one text: [{self.templates!r}].")
        object.__setattr__(self, "templates", tuple(normalise(template) for template in self.templates))
        for template in self.templates:
            if "<label>" not in template:
                raise PromptSetError(
                    f"The template {template!r} has no <label>.",
                    remedy="Write <label> where the class name goes: `templates='a photo of a <label>.'`",
                )
        if not self.templates and not self.label_prompts:
            raise PromptSetError(f"The prompt set {self.name!r} is empty. Give at least one template.")
        if self.weights and len(self.weights) != len(self.templates):
            raise PromptSetError(
                f"The prompt set {self.name!r} has {len(self.templates)} templates and {len(self.weights)} weights."
            )
        for weight in self.weights:
            if not 0 < weight < math.inf:
                raise PromptSetError(
                    f"The prompt set {self.name!r}: a weight must be above 0, not {weight}. Leave the template out instead."
                )

    def expand(self, label: str) -> tuple[str, ...]:
        """The texts for one label; raises `PromptSetError` where the set has none for it."""
        if label in self.label_prompts:
            return self.label_prompts[label]
        if not self.templates:
            known = ", ".join(list(self.label_prompts)[:5])
            raise PromptSetError(
                f"Prompt set {self.name!r} ({self.source}) has no templates and no prompts for the label {label!r}. "
                f"It has prompts for: {known}{', …' if len(self.label_prompts) > 5 else ''}. Add a template or this label."
            )
        return tuple(template.replace("<label>", label) for template in self.templates)

    def weigh(self, label: str) -> tuple[float, ...]:
        """The weight of each text of `expand`, 1 on average, so that sets merged count by their number of templates."""
        texts = len(self.expand(label))
        if not self.weights or label in self.label_prompts:
            return (1.0,) * texts
        mean = sum(self.weights) / texts
        return tuple(weight / mean for weight in self.weights)

    @property
    def origin(self) -> str:
        """In words, on which images templates and weights were chosen, if they were."""
        return f"{self.name} was chosen on {self.chosen.get('images', 'images of its own')}" if self.chosen else ""

    @classmethod
    def of(cls, templates: Iterable[str], name: str = "templates given inline") -> PromptSet:
        """A set of templates given in code or on the command line; raises `PromptSetError` for one without `<label>`."""
        if isinstance(templates, str):
            templates = [templates]
        return cls(name, tuple(dict.fromkeys(template.strip() for template in templates)), source="given inline")

    @classmethod
    def load(cls, name: str | Path) -> PromptSet:
        """A set by name (the user's own folder first, then the shipped ones) or from a file.

        Anything with a path separator or ending in `.yaml` or `.yml` is a file. Raises `PromptSetError`.
        """
        text = str(name)
        if isinstance(name, Path) or "/" in text or "\\" in text or text.lower().endswith((".yaml", ".yml")):
            return read_file(Path(name))
        for folder in folders():
            for path in (folder / f"{text}.yaml", folder / f"{text}.yml"):
                if path.is_file():
                    return read_file(path)
        if text in OPEN_CLIP:
            return cls(text, open_clip_data.templates(text), description=OPEN_CLIP[text], source="open_clip")
        names = available()
        close = difflib.get_close_matches(text, names, 1)
        hint = f"Did you mean {close[0]!r}? " if close else ""
        raise PromptSetError(
            f"There is no prompt set {text!r}. {hint}There are: {', '.join(names)}. A file of your own is given with "
            f"its path, such as ./{text}.yaml."
        )


PromptsLike: TypeAlias = "PromptSet | str | Path | Sequence[PromptSet | str | Path]"


def as_prompt_sets(prompts: PromptsLike) -> tuple[PromptSet, ...]:
    """One or several sets, by name, as a file or as they are."""
    many = [prompts] if isinstance(prompts, (PromptSet, str, Path)) else list(prompts)
    if not many:
        raise PromptSetError("No prompt sets given.")
    return tuple(one if isinstance(one, PromptSet) else PromptSet.load(one) for one in many)


def expand(sets: Sequence[PromptSet], label: str) -> dict[str, float]:
    """The texts of all sets for one label, joined without repeats, in order, with their weights (a repeat's: the first)."""
    texts: dict[str, float] = {}
    for one in sets:
        for text, weight in zip(one.expand(label), one.weigh(label), strict=True):
            texts.setdefault(text, weight)
    return texts


def normalise(template: str) -> str:
    """`{}`, `{label}` and `{c}` read as `<label>`."""
    return _PLACEHOLDER.sub("<label>", template)


def user_folder() -> Path:
    """The folder of the user's own prompt sets: `prompts/` in the configuration folder of the platform."""
    import platformdirs

    return Path(platformdirs.user_config_dir("zsclip", appauthor=False)) / "prompts"


def shipped_folder() -> Path:
    """The folder of the shipped sets: inside the installed package, or beside it in a checkout."""
    here = Path(__file__).parents[1]
    installed = here / "prompts"
    return installed if installed.is_dir() else here.parent / "prompts"


def folders() -> tuple[Path, Path]:
    """Where names are looked up, in this order."""
    return user_folder(), shipped_folder()


def available() -> dict[str, Path | None]:
    """The names of all available sets, sorted, with their file (None for open_clip's)."""
    found: dict[str, Path | None] = dict.fromkeys(OPEN_CLIP)
    for folder in reversed(folders()):
        found.update({path.stem: path for path in folder.glob("*.y*ml") if path.stem != BACKGROUND})
    return dict(sorted(found.items()))


def read_file(path: Path) -> PromptSet:
    """Read and check one prompt set; raises `PromptSetError` that names the file, the set and the line."""
    file = YamlFile(path, f"prompt set {path.stem!r}", PromptSetError)
    templates: list[Text] = []
    weights: list[float] = []
    label_prompts: dict[str, tuple[str, ...]] = {}
    chosen: dict[str, str] = {}
    description = ""
    for key, value in file.items(file.root(), "a mapping with `templates:`"):
        if key.value == "templates":
            templates, weights = _read_templates(file, value)
            _check_templates(file, templates, key.line)
        elif key.value == "labels":
            for label, prompts in file.items(value, "labels, each with a list of prompts"):
                label_prompts[label.value] = _prompts_of(file, label, file.texts(prompts, "a prompt"))
        elif key.value == "description":
            description = file.text(value, "a text").value
        elif key.value == "chosen":
            chosen = {name.value: file.text(one, "a text").value for name, one in file.items(value, "a mapping")}
        else:
            raise file.fail(key.line, f"unknown key {key.value!r}. Known are: description, templates, labels, chosen.")
    if not templates and not label_prompts:
        raise file.fail(None, "the set is empty. Write a list under `templates:`, such as `- a photo of a <label>.`")
    return PromptSet(
        path.stem,
        tuple(normalise(template.value) for template in templates),
        label_prompts,
        description,
        str(path),
        () if set(weights) <= {1.0} else tuple(weights),
        chosen,
    )


def to_yaml(one: PromptSet) -> str:
    """A set as the text that `read_file` reads to the same set."""
    import yaml

    document: dict[str, object] = {}
    if one.description:
        document["description"] = one.description
    if one.chosen:
        document["chosen"] = dict(one.chosen)
    weights = one.weights or (None,) * len(one.templates)
    document["templates"] = [
        template if weight is None else {"template": template, "weight": float(f"{weight:.6g}")}
        for template, weight in zip(one.templates, weights, strict=True)
    ]
    if one.label_prompts:
        document["labels"] = {label: list(prompts) for label, prompts in one.label_prompts.items()}
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=1000)


def _read_templates(file: YamlFile, node: yaml.Node) -> tuple[list[Text], list[float]]:
    """Templates and their weights: `- TEXT`, which weighs 1, or `- {template: TEXT, weight: 2}`."""
    import yaml

    if not isinstance(node, yaml.SequenceNode):
        templates = file.texts(node, "a template")
        return templates, [1.0] * len(templates)
    templates, weights = [], []
    for item in node.value:
        if not isinstance(item, yaml.MappingNode):
            templates.append(file.text(item, "a template"))
            weights.append(1.0)
            continue
        parts = {key.value: file.text(value, "a text") for key, value in file.items(item, "a template")}
        line = item.start_mark.line + 1
        if "template" not in parts or parts.keys() - {"template", "weight"}:
            raise file.fail(line, "a template with a weight is written {template: a photo of a <label>., weight: 2}.")
        templates.append(parts["template"])
        weights.append(_weight(file, parts["weight"]) if "weight" in parts else 1.0)
    return templates, weights


def _weight(file: YamlFile, text: Text) -> float:
    if not 0 < text.number < math.inf:
        raise file.fail(text.line, f"a weight must be a number above 0, not {text.value!r}. Or leave the template out.")
    return text.number


def _check_templates(file: YamlFile, templates: list[Text], line: int) -> None:
    if not templates:
        raise file.fail(line, "`templates:` is empty. List some, such as `- a photo of a <label>.`")
    for number, template in enumerate(templates, 1):
        if "<label>" not in normalise(template.value):
            raise file.fail(
                template.line,
                f"template {number} has no <label>: {template.value!r}. Write <label> where the class name goes.",
            )
    file.require_distinct([Text(normalise(template.value), template.line) for template in templates], "a template")


def _prompts_of(file: YamlFile, label: Text, prompts: list[Text]) -> tuple[str, ...]:
    if not label.value:
        raise file.fail(label.line, "a label is empty.")
    if not prompts:
        raise file.fail(label.line, f"label {label.value!r} has no prompts. List some, or remove it.")
    file.require_distinct(prompts, f"label {label.value!r}: a prompt")
    # A prompt of a label's own may name it by <label> too.
    return tuple(dict.fromkeys(normalise(prompt.value).replace("<label>", label.value) for prompt in prompts))
