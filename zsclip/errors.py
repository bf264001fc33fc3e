"""What zsclip refuses: errors that carry facts. Only `zsclip.cli` prints them."""

from __future__ import annotations

# Not from `typing` at run time, which takes longer to import than all that comes before signals are listened to.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal, TypeAlias

    # What kept a picture from being read. `timeout` and `network` may pass; the others are the picture's own.
    ErrorKind: TypeAlias = Literal["not_found", "denied", "damaged", "too_large", "timeout", "network", "other"]


class ZsclipError(Exception):
    """Base of all errors that zsclip raises on purpose. Its text is written for the user.

    `what` is wrong, `where` (a file and line, a model) and the `remedy`, each a fact by itself; the error's text is all
    three. Settings are named in backticks as Python spells them (`max_pixels`, `precision=fp32`): the command line
    shows them as its options.
    """

    def __init__(self, what: str, *, where: str = "", remedy: str = "") -> None:
        super().__init__(what)  # from which, and the facts below, it is made again in another process
        self.what = what
        self.where = where
        self.remedy = remedy

    def __str__(self) -> str:
        return " ".join(filter(None, (f"{self.where}: {self.what}" if self.where else self.what, self.remedy)))


class LabelError(ZsclipError):
    """Labels or a label file that cannot be used."""


class PromptSetError(ZsclipError):
    """A prompt set that cannot be found, read or used."""


class ModelError(ZsclipError):
    """A model, its weights or its device that cannot be used."""


class InputError(ZsclipError):
    """Paths that lead to no images, or an output that cannot be written."""


class ImageError(ZsclipError):
    """One image that cannot be read, and of which `kind` that is. It becomes an error row; the run goes on."""

    def __init__(self, what: str, *, kind: ErrorKind = "damaged", remedy: str = "") -> None:
        super().__init__(what, remedy=remedy)
        self.kind: ErrorKind = kind


def missing_extra(what: str, package: str, extra: str) -> InputError:
    """The error to raise where a package of an extra is not installed."""
    return InputError(f"{what} needs {package}.", remedy=f"Install it with: pip install 'zsclip[{extra}]'")


class CalibrationError(ZsclipError):
    """A calibration that cannot be made or read, or that was made for another model, other labels or other prompts."""
