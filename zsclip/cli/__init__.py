"""The command line: one file a command. A command parses, calls the library once and prints."""

from __future__ import annotations

import errno
import gc
import os
import signal
import sys
from typing import Annotated, Any

import typer

from zsclip.cli import cache, classify, demo, embed, evaluate, models, prompts, search, sort
from zsclip.cli.messages import fail, prepare_streams
from zsclip.errors import ZsclipError


class _Group(typer.core.TyperGroup):
    """Turns the library's errors into messages and exit codes, in one place for all commands."""

    def invoke(self, ctx: Any) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result
        except ZsclipError as error:
            fail(str(error))
            raise typer.Exit(1) from None
        except OSError as error:
            if error.filename is not None or error.errno not in (
                errno.EPIPE,
                errno.EINVAL,
                errno.ENOSPC,
                errno.EIO,
                None,
            ):
                raise
            # Nothing may be written to standard output at exit either.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            if isinstance(error, BrokenPipeError):
                raise typer.Exit(0) from None  # the reader has had enough (`| head`)
            fail(f"Standard output cannot be written: {error.strerror}.")
            raise typer.Exit(1) from None


app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(value: bool) -> None:
    if value:
        from importlib.metadata import version

        typer.echo(f"zsclip {version('zsclip')}")
        raise typer.Exit()


@app.callback()
def _main(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Sort images by labels you make up, with CLIP: zsclip classify photos/ --labels cat,dog"""


app.command("classify")(classify.classify)
app.command("evaluate")(evaluate.evaluate)
app.command("search")(search.search)
app.command("sort")(sort.sort)
app.command("embed")(embed.embed)
app.command("demo")(demo.demo)
app.add_typer(models.app, name="models")
app.add_typer(prompts.app, name="prompts")
app.add_typer(cache.app, name="cache")


def main() -> None:
    """The console script. Exit codes: 0 done, 1 an error that the message explains, 2 wrong usage, 3 done but some inputs
    could not be read, 130 and 143 interrupted."""
    prepare_streams()
    # Results are many small objects without cycles; looking for cycles among them took a seventh of a run over 100,000.
    gc.set_threshold(50_000, 20, 20)
    if hasattr(signal, "SIGTERM"):
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    app()
