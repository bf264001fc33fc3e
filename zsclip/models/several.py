"""Several models for one run: all of them are on this machine before the first is used."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from zsclip.errors import ModelError
from zsclip.models.files import fetch
from zsclip.models.hub import stays_offline
from zsclip.models.spec import ModelSpec


def obtain(resolvers: Sequence[Callable[[], ModelSpec]], *, offline: bool = False) -> list[ModelSpec]:
    """What `resolvers` give, with all files of each model, downloaded if need be.

    Raises one `ModelError` that names every model which cannot be had, or one that is given twice. Where a name is wrong
    nothing is downloaded.
    """
    specs: list[ModelSpec] = []
    errors: list[ModelError] = []
    for resolve in resolvers:
        try:
            specs.append(resolve())
        except ModelError as error:
            errors.append(error)
    for number, spec in enumerate(specs):
        if spec in specs[:number]:
            raise ModelError(f"{spec.title} is given twice. Compare it with another one.")
    if not errors or stays_offline(offline):
        for spec in specs:
            try:
                fetch(spec)
            except ModelError as error:
                errors.append(error)
    if errors:
        raise _together(errors, len(resolvers))
    return specs


def _together(errors: Sequence[ModelError], asked: int) -> ModelError:
    if len(errors) == 1:
        return errors[0]
    said = " ".join(f"{error.where}: {error.what}" if error.where else error.what for error in errors)
    return ModelError(
        f"{len(errors)} of the {asked} models cannot be used. {said}",
        remedy="On a machine with a network, zsclip models pull MODEL fetches what is on the hub; with --to DIR it makes a "
        "folder for `model=local-dir:DIR`.",
    )
