"""`zsclip prompts`: which prompt sets there are and what they make of labels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zsclip.cli import groups
from zsclip.cli.combinations import Command
from zsclip.cli.grouping import grouped
from zsclip.cli.messages import console

if TYPE_CHECKING:
    from zsclip.text.prompts import PromptSet

app = typer.Typer(no_args_is_help=True, help="Prompt sets: list, show and check them.")


@app.command("list", cls=Command)
def list_() -> None:
    """List the prompt sets that can be named, your own first where names are the same."""
    from rich.table import Table

    from zsclip.errors import PromptSetError
    from zsclip.output.cells import printable
    from zsclip.text import prompts

    out = console()
    own = prompts.user_folder()
    table = Table.grid(padding=(0, 2))
    for name, path in prompts.available().items():
        try:
            one = prompts.PromptSet.load(name)
        except PromptSetError as error:
            table.add_row(printable(name), "unusable", printable(str(error)))
            continue
        marks = [
            mark
            for mark, holds in (("default", name == prompts.DEFAULT), ("your own", path and path.parent == own))
            if holds
        ]
        joined = ", ".join(marks)
        description = f"{printable(one.description)}{f' ({joined})' if marks else ''}"
        table.add_row(name, _size(one), description)
    out.print(table, soft_wrap=not out.is_terminal)
    out.print(f"Your own sets go into {printable(str(own))}", style="dim", soft_wrap=True)


def _size(one: PromptSet) -> str:
    from zsclip.text.wording import counted

    count = counted(len(one.templates), "template")
    return f"{count}, prompts for {len(one.label_prompts)} labels" if one.label_prompts else count


@app.command(cls=Command)
@grouped
def show(
    name: Annotated[str, typer.Argument(metavar="NAME|FILE", help="A prompt set.", show_default=False)],
    labels: groups.LabelGroup,
) -> None:
    """Show a prompt set; with labels, the texts it makes of them."""
    from zsclip.output.cells import printable
    from zsclip.text import prompts

    one = prompts.PromptSet.load(name)
    out = console()
    if labels.given:
        for label in labels.read().labels:
            out.print(printable(label.name), style="bold", soft_wrap=True)
            texts = dict.fromkeys(text for member in label.members for text in one.expand(member))
            for text in texts:
                out.print(f"  {printable(text)}", soft_wrap=True)
        return
    out.print(printable(one.name), style="bold", soft_wrap=True)
    for line in (one.description, one.source):
        if line:
            out.print(printable(line), style="dim", soft_wrap=True)
    for name, value in one.chosen.items():
        out.print(printable(f"chosen {name}: {value}"), style="dim", soft_wrap=True)
    for number, template in enumerate(one.templates):
        weight = f"{one.weights[number]:8.4f}" if one.weights else ""
        out.print(f"{weight}  {printable(template)}", soft_wrap=True)
    for name, texts_of_label in one.label_prompts.items():
        out.print(f"{printable(name)}:", soft_wrap=True)
        for text in texts_of_label:
            out.print(f"  {printable(text)}", soft_wrap=True)


@app.command(cls=Command)
def check(
    files: Annotated[list[Path], typer.Argument(metavar="FILES...", help="Prompt set files.", show_default=False)],
) -> None:
    """Check prompt set files; exit code 1 if one has a fault."""
    from zsclip.cli.messages import fail
    from zsclip.errors import PromptSetError
    from zsclip.output.cells import printable
    from zsclip.text import prompts

    faults = 0
    for file in files:
        try:
            one = prompts.read_file(file)
        except PromptSetError as error:
            faults += 1
            fail(str(error))
            continue
        console().print(f"{printable(str(file))}: good ({_size(one)})", soft_wrap=True)
    if faults:
        raise typer.Exit(1)
