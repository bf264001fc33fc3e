from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.cli import Cli

from zsclip import PromptSet, PromptSetError
from zsclip.text import prompts as prompt_sets

SHIPPED = ("art", "document", "photo", "plain", "product", "satellite", "screenshot", "texture")


@pytest.mark.parametrize("name", [*SHIPPED, "openai-imagenet", "openai-simple"])
def test_every_shipped_set_loads_and_can_be_listed(name: str) -> None:
    one = PromptSet.load(name)
    assert name in prompt_sets.available()
    assert one.description
    assert one.templates
    assert all(text.count("zebra") == 1 and "<" not in text for text in one.expand("zebra"))


def test_open_clips_sets_have_their_published_sizes() -> None:
    assert len(PromptSet.load("openai-imagenet").templates) == 80
    assert PromptSet.load("openai-simple").expand("cat")[0] == "itap of a cat."
    assert len(PromptSet.load("openai-simple").templates) == 7


@pytest.mark.slow
@given(st.text())
def test_a_label_is_put_in_as_it_is(label: str) -> None:
    """Nothing in a label is evaluated: braces, percent signs and the placeholder itself stay text."""
    assert PromptSet.of(["a <label>!"]).expand(label) == (f"a {label}!",)


@pytest.mark.parametrize("placeholder", ["<label>", "{}", "{label}", "{c}"])
def test_the_placeholders_of_other_tools_are_read(placeholder: str) -> None:
    assert PromptSet.of([f"a photo of a {placeholder}."]).templates == ("a photo of a <label>.",)


@pytest.mark.parametrize("braces", ["{0}", "{label.__class__}", "{label!r}", "{x}", "%s"])
def test_other_braces_mean_nothing(braces: str) -> None:
    assert PromptSet.of([f"{braces} <label>"]).expand("cat") == (f"{braces} cat",)
    with pytest.raises(PromptSetError, match="has no <label>"):
        PromptSet.of([f"a {braces}"])


def write(folder: Path, text: str, name: str = "mine.yaml") -> Path:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


def test_prompts_of_a_labels_own_are_used_instead_of_the_templates(tmp_path: Path) -> None:
    one = PromptSet.load(
        write(tmp_path, "templates: [a <label>.]\nlabels:\n  tench: [a fish., 'the <label>.', a fish with fins.]\n")
    )
    assert one.expand("tench") == ("a fish.", "the tench.", "a fish with fins.")
    assert one.expand("cat") == ("a cat.",)


def test_a_set_of_labels_only_says_which_label_it_lacks(tmp_path: Path) -> None:
    one = PromptSet.load(write(tmp_path, "labels:\n  tench: [a fish.]\n"))
    with pytest.raises(PromptSetError, match=r"no prompts for the label 'cat'.*It has prompts for: tench"):
        one.expand("cat")


def test_merged_sets_join_their_texts_without_repeats() -> None:
    sets = (PromptSet.of(["a <label>", "one <label>"]), PromptSet.of(["the <label>", "a <label>"]))
    assert list(prompt_sets.expand(sets, "cat")) == ["a cat", "one cat", "the cat"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "templates:\n- a <label>.\n- a photo\n",
            r"mine\.yaml:3: prompt set 'mine': template 2 has no <label>: 'a photo'",
        ),
        ("templates:\n- a <label>\n- a {}\n", r"mine\.yaml:3: .*'a <label>' stands here again; it was on line 2"),
        ("templates: []\n", r"mine\.yaml:1: .*`templates:` is empty"),
        ("description: nothing\n", r"mine\.yaml: .*the set is empty"),
        ("", r"mine\.yaml: .*expected a mapping"),
        ("- a <label>\n", r"mine\.yaml:1: .*expected a mapping"),
        ("templates: [a <label>]\ntemplate: [x]\n", r"mine\.yaml:2: .*unknown key 'template'"),
        ("labels:\n  cat: []\n", r"mine\.yaml:2: .*label 'cat' has no prompts"),
        ("labels:\n  cat: [a, a]\n", r"mine\.yaml:2: .*'a' stands here again"),
        ("labels:\n  cat: [a]\n  cat: [b]\n", r"mine\.yaml:3: .*'cat' stands here again; it was on line 2"),
        ("templates:\n  - [a]\n", r"mine\.yaml:2: .*expected a template"),
        ("templates: [a <label>\n", r"mine\.yaml:2: .*not valid YAML"),
        ("!!python/object/apply:os.system [echo]\n", r"mine\.yaml:1: .*the tag .*os.system is not read here"),
        ("[" * 1_000_000, r"mine\.yaml:1: .*nested more than 10 deep"),
    ],
)
def test_a_bad_file_is_refused_with_file_set_and_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(PromptSetError, match=message):
        PromptSet.load(write(tmp_path, text))


def test_yaml_aliases_are_not_multiplied(tmp_path: Path) -> None:
    bomb = "a: &a [x, x]\n" + "".join(
        f"{c}: &{c} [{', '.join(['*' + p] * 9)}]\n" for p, c in zip("abcdefgh", "bcdefghi", strict=True)
    )
    with pytest.raises(PromptSetError, match="unknown key 'a'"):
        PromptSet.load(write(tmp_path, bomb))


def test_a_name_is_looked_up_in_the_users_own_folder_first(isolated: Path) -> None:
    folder = prompt_sets.user_folder()
    if not folder.is_relative_to(isolated):
        pytest.skip("this platform's configuration folder cannot be moved by the environment")
    folder.mkdir(parents=True)
    write(folder, "templates: [my <label>]", "photo.yaml")
    assert PromptSet.load("photo").templates == ("my <label>",)
    assert prompt_sets.available()["photo"] == folder / "photo.yaml"


def test_an_unknown_name_suggests_a_near_one() -> None:
    with pytest.raises(PromptSetError, match=r"Did you mean 'photo'.*There are: art, document"):
        PromptSet.load("photos")


def test_anything_with_a_separator_is_a_file(tmp_path: Path) -> None:
    with pytest.raises(PromptSetError, match="No such file"):
        PromptSet.load(f".{os.sep}photo")


def test_the_commands(cli: Cli, tmp_path: Path) -> None:
    listed = cli("prompts", "list")
    assert listed.code == 0
    assert all(name in listed.out for name in SHIPPED)
    shown = cli("prompts", "show", "photo", "--labels", "cat,dog")
    assert shown.out.splitlines()[:2] == ["cat", "  a photo of a cat."]
    assert "  a photo of a dog." in shown.out.splitlines()
    assert "a photo of a <label>." in cli("prompts", "show", "photo").out
    good, bad = write(tmp_path, "templates: [a <label>]", "good.yaml"), write(tmp_path, "templates: [a]", "bad.yaml")
    checked = cli("prompts", "check", good, bad)
    assert checked.code == 1
    assert f"{good}: good (1 template)" in checked.out
    assert "bad.yaml:1: prompt set 'bad': template 1 has no <label>" in checked.err


def test_a_bad_file_of_the_users_does_not_hide_the_others(cli: Cli, isolated: Path) -> None:
    folder = prompt_sets.user_folder()
    if not folder.is_relative_to(isolated):
        pytest.skip("this platform's configuration folder cannot be moved by the environment")
    folder.mkdir(parents=True)
    write(folder, "templates: [a]", "broken.yaml")
    write(folder, "templates: [ein <label>]", "deutsch.yml")
    listed = cli("prompts", "list")
    assert listed.code == 0
    assert "unusable" in listed.out
    assert "deutsch" in listed.out
    assert PromptSet.load("deutsch").templates == ("ein <label>",)


def test_weights_are_read_and_written(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        "chosen: {method: by hand}\ntemplates:\n  - a <label>\n  - {template: 'the {}', weight: 2.5}\n"
        "labels: {tench: a fish}\n"
    )
    one = PromptSet.load(file)
    assert one.weights == (1.0, 2.5)
    assert one.chosen == {"method": "by hand"}
    assert one.weigh("cat") == pytest.approx((2 / 3.5, 5 / 3.5))
    assert one.weigh("tench") == (1.0,)
    (tmp_path / "again.yaml").write_text(prompt_sets.to_yaml(one), encoding="utf-8")
    again = PromptSet.load(tmp_path / "again.yaml")
    assert (again.templates, again.weights, again.chosen, again.label_prompts) == (
        one.templates, one.weights, one.chosen, one.label_prompts,
    )  # fmt: skip


def test_a_weighted_set_counts_by_its_templates_when_merged() -> None:
    weighted = PromptSet("w", ("a <label>", "the <label>"), weights=(3.0, 9.0))
    plain = PromptSet.of(["one <label>", "the <label>"])
    assert prompt_sets.expand((weighted, plain), "cat") == {"a cat": 0.5, "the cat": 1.5, "one cat": 1.0}


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{template: a <label>, weight: 0}", r"mine.yaml:2: .*above 0, not '0'"),
        ("{template: a <label>, weight: nan}", r"above 0, not 'nan'"),
        ("{template: a <label>, weight: much}", r"above 0, not 'much'"),
        ("{weight: 2}", r"mine.yaml:2: .*is written \{template"),
        ("{template: a <label>, size: 2}", r"is written \{template"),
        ("{template: a cat, weight: 2}", r"template 1 has no <label>"),
    ],
)
def test_weights_that_make_no_sense_are_refused(tmp_path: Path, template: str, message: str) -> None:
    (tmp_path / "mine.yaml").write_text(f"templates:\n  - {template}\n")
    with pytest.raises(PromptSetError, match=message):
        PromptSet.load(tmp_path / "mine.yaml")
