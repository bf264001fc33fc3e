"""What an evaluation does before and after it, whether labels compete or stand on their own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from zsclip.cli.messages import say, warn_of_unreadable
from zsclip.text.wording import counted

if TYPE_CHECKING:
    from zsclip.classifier import Classifier
    from zsclip.embedding.records import ImageEmbeddings
    from zsclip.scoring.calibration import Calibration


def known_images(
    vectors: str | None, classifier: Classifier, paths: Sequence[str], *, offline: bool
) -> ImageEmbeddings | None:
    """The images' vectors in a run in parts, if one is named."""
    from zsclip.cli.inputs import KnownImages

    if vectors is None:
        return None
    images = KnownImages(vectors, offline=offline)
    images.require(classifier)
    return images.listing.of(paths)


def write_calibration(made: Calibration, path: Path) -> None:
    """Write it, and say what it brings."""
    from zsclip.output.targets import open_output
    from zsclip.scoring.calibration import IndependentQuality, to_yaml

    with open_output(path, "calibrate") as stream:
        stream.write("# Written by zsclip evaluate --calibrate; used with: zsclip classify ... --calibration FILE\n")
        stream.write(to_yaml(made))
    before, after = made.before, made.after
    f1 = ""
    if isinstance(before, IndependentQuality) and isinstance(after, IndependentQuality):
        f1 = f"micro F1 {before.micro_f1:.3f} before and {after.micro_f1:.3f} after, "
    say(
        f"Wrote {path}: temperature {made.temperature:.4g}; on {counted(made.measured_on, 'other image')} {f1}ECE "
        f"{before.ece:.4f} before and {after.ece:.4f} after, NLL {before.nll:.4f} and {after.nll:.4f}."
    )


def end(unreadable: Sequence[tuple[str, str]]) -> None:
    """Say what could not be read; raises `typer.Exit` for that."""
    if unreadable:
        said = "; what cannot be read counts neither as right nor as wrong"
        warn_of_unreadable(unreadable, counted(len(unreadable), "image"), end=said)
        raise typer.Exit(3)
