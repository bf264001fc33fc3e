"""`zsclip demo`: pictures to try everything on, with nothing downloaded."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zsclip.cli.messages import console


def demo(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder to be made.", show_default=False)],
    images: Annotated[int, typer.Option("--images", min=1, help="Pictures per label.")] = 2,
    seed: Annotated[int, typer.Option("--seed", help="Another seed draws other pictures.")] = 0,
    noise: Annotated[
        float,
        typer.Option(
            "--noise", min=0, max=1, metavar="A", help="Blur the pictures with noise, so that the model errs."
        ),
    ] = 0.0,
) -> None:
    """Draw a labelled folder of scenes for the demo model, and say what to try.

    The demo model knows coloured shapes and nothing else. It is there to show how zsclip works, and for tests.
    """
    import shlex

    from zsclip.demo import draw_folder
    from zsclip.output.cells import printable

    drawn = draw_folder(folder, images, seed, noise)
    scenes, labels = (shlex.quote(str(path)) for path in (drawn.scenes, drawn.labels))
    first = shlex.quote(str(drawn.example))
    out = console()
    out.print(f"{drawn.count} scenes of coloured shapes are in {printable(str(drawn.scenes))}. Try:\n", soft_wrap=True)
    for command in (
        f"zsclip classify {first} --model demo --labels-file {labels}",
        f"zsclip classify {scenes} --model demo --labels circle,ring,square,triangle,star,heart,cross,arrow",
        f"zsclip classify {scenes} --model demo --labels-file {labels} --format jsonl --output results.jsonl",
        f"zsclip evaluate {scenes} --model demo --prompts plain --prompts photo",
        "zsclip prompts show photo --labels 'red star'",
        "zsclip models show --model demo",
    ):
        out.print(f"  {printable(command)}", soft_wrap=True)
    out.print(
        "\nThe demo model knows these shapes and nothing else. For photos, leave out --model demo.", soft_wrap=True
    )
