"""What zsclip refuses. Every message says what was wrong, where, and what to do; only `zsclip.cli` prints them."""


class ZsclipError(Exception):
    """Base of all errors that zsclip raises on purpose. Its text is written for the user."""


class LabelError(ZsclipError):
    """Labels or a label file that cannot be used."""


class PromptSetError(ZsclipError):
    """A prompt set that cannot be found, read or used."""


class ModelError(ZsclipError):
    """A model, its weights or its device that cannot be used."""


class InputError(ZsclipError):
    """Paths that lead to no images, or an output that cannot be written."""


class ImageError(ZsclipError):
    """One image that cannot be read. It becomes an error row; the run goes on."""


class CalibrationError(ZsclipError):
    """A calibration that cannot be made or read, or that was made for another model, other labels or other prompts."""
