"""The command line: one file a command. A command parses, calls the library once and prints."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Annotated, Any, NoReturn

import typer

from zsclip import __version__
from zsclip.cli import cache, classify, demo, embed, evaluate, models, prompts, search, sort
from zsclip.cli.combinations import Command
from zsclip.cli.messages import fail, prepare_streams
from zsclip.errors import ZsclipError


@contextmanager
def _told() -> Iterator[None]:
    """Turns errors into messages and exit codes, in one place for all commands."""
    try:
        yield
    except ZsclipError as error:
        fail(str(error))
    except BrokenPipeError:
        _leave_quietly()
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):
            _leave_quietly()  # Rich makes an exit with 1 of it
        fail(f"A library ended the program (exit code {end.code}); what it was to write is not complete.")
    except OSError as error:
        reason = error.strerror or str(error)
        if error.filename:
            fail(f"{error.filename}: {reason}.")
        else:
            _give_up_stdout()
            fail(f"Standard output cannot be written: {reason}.")
    except MemoryError:
        fail("There is not enough memory. A smaller --batch-size or fewer --workers need less.")
    else:
        return
    raise typer.Exit(1)


def _leave_quietly() -> NoReturn:
    """The reader has had enough (`| head`)."""
    _give_up_stdout()
    raise typer.Exit(0) from None


def _give_up_stdout() -> None:
    """Python writes what is left for it at its end, and what failed would fail then too."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Group(typer.core.TyperGroup):
    def make_context(self, *args: Any, **options: Any) -> Any:
        with _told():  # --help and --version print here
            return super().make_context(*args, **options)

    def invoke(self, ctx: Any) -> Any:
        with _told():
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result


app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"zsclip {__version__}")
        raise typer.Exit()


@app.callback()
def _main(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Sort images by labels you make up, with CLIP: zsclip classify photos/ --labels cat,dog"""


app.command("classify", cls=Command)(classify.classify)
app.command("evaluate", cls=Command)(evaluate.evaluate)
app.command("search", cls=Command)(search.search)
app.command("sort", cls=Command)(sort.sort)
app.command("embed", cls=Command)(embed.embed)
app.command("demo", cls=Command)(demo.demo)
app.add_typer(models.app, name="models")
app.add_typer(prompts.app, name="prompts")
app.add_typer(cache.app, name="cache")


def main() -> None:
    """What the console script runs (see `zsclip.__main__`).

    Exit codes: 0 done, 1 an error that the message explains, 2 wrong usage, 3 done but some inputs could not be read; 129,
    130 and 143 interrupted.
    """
    prepare_streams()
    app()
