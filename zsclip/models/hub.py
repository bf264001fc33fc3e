"""Files of the Hugging Face hub: in its cache on this machine, or fetched into it; and how to do without a network."""

from __future__ import annotations

import logging
import os
import re
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from zsclip.errors import ModelError
from zsclip.models import download

logger = logging.getLogger("zsclip")

_SECONDS = 5.0  # a hub that has not answered by then is taken for unreachable, unless HF_HUB_ETAG_TIMEOUT gives it another time
_REPOSITORY = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")
_REVISION = re.compile(r"\w[\w.-]*(/\w[\w.-]*)*")  # a branch, a tag or a commit


@dataclass(frozen=True)
class Wanted:
    """What is asked of a repository, and how messages speak of it: the model it is for, the arguments of `models pull` that
    name that model, and what it is that is wanted, in the plural. A repository may have its revision with it, everywhere here:
    `ORG/REPO@REVISION`."""

    model: str
    arguments: str
    what: str
    repository: str
    offline: bool = False

    @property
    def stays_offline(self) -> bool:
        """Whether the network must not be used for it."""
        return stays_offline(self.offline)


def stays_offline(offline: bool) -> bool:
    """Whether the network must not be used, because it was said so or by `HF_HUB_OFFLINE`."""
    from huggingface_hub import constants

    return offline or bool(constants.HF_HUB_OFFLINE)


def cached(repository: str, filename: str) -> Path | None:
    """The file in the cache, None if it is not there."""
    import huggingface_hub

    name, revision = split(repository)
    found = huggingface_hub.try_to_load_from_cache(name, filename, revision=revision)
    return Path(found) if isinstance(found, str) else None


def is_known_missing(repository: str, filename: str) -> bool:
    """Whether the hub has said that the repository has no such file."""
    import huggingface_hub

    name, revision = split(repository)
    found = huggingface_hub.try_to_load_from_cache(name, filename, revision=revision)
    return found is huggingface_hub._CACHED_NO_EXIST


def first_cached(repository: str, filenames: Sequence[str]) -> Path | None:
    """The first of the files that is in the cache."""
    return next((path for name in filenames if (path := cached(repository, name))), None)


def fetch_first(wanted: Wanted, filenames: Sequence[str]) -> Path:
    """The first of `filenames` that the repository has, from the cache or the network; raises `ModelError`."""
    for filename in filenames:
        if found := fetch(wanted, filename, alone=len(filenames) == 1):
            return found
    what = f"the repository {wanted.repository} has none of {', '.join(filenames)}."
    raise ModelError(what, where=wanted.model, remedy=remedy(wanted.arguments))


def fetch(wanted: Wanted, filename: str, *, alone: bool = False) -> Path | None:
    """A file of a repository, from the cache or the network; None if there is none.

    Raises `ModelError` where it is not in the cache and the hub cannot be asked.
    """
    from huggingface_hub.errors import (
        EntryNotFoundError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    repository = wanted.repository
    require_repository(wanted.model, repository)
    name, revision = split(repository)
    if found := cached(repository, filename):
        return found
    if is_known_missing(repository, filename):
        return None
    if wanted.stays_offline:
        raise _not_here(wanted, filename, "the network is not to be used (`offline` or HF_HUB_OFFLINE)")
    _require_network(wanted, filename)
    try:
        logger.info("Fetching %s of %s from the hub, once.", filename, repository)
        return download.fetch(name, filename, revision, _patience())
    except LocalEntryNotFoundError as error:
        raise _not_here(wanted, filename, _first_line(error)) from None
    except RepositoryNotFoundError:
        raise ModelError(
            f"there is no repository {name!r} on the hub that is open to you.",
            where=wanted.model,
            remedy="Check its name; for one that asks for an account, log in with: hf auth login.",
        ) from None
    except RevisionNotFoundError:
        raise ModelError(
            f"the repository {name} has no revision {revision!r}.",
            where=wanted.model,
            remedy="After the @ comes a branch, a tag or a commit with all of its 40 digits.",
        ) from None
    except EntryNotFoundError:
        if alone:
            raise ModelError(f"the repository {repository} has no {filename}.", where=wanted.model) from None
        return None
    except _download_errors() as error:
        raise ModelError(
            f"the download of {filename} from {repository} failed: {_first_line(error)}. Run it again: it goes on where it stopped.",
            where=wanted.model,
            remedy=remedy(wanted.arguments),
        ) from None


def is_repository(name: object) -> bool:
    """Whether this can be a repository's name: `ORG/REPO`, or one of the oldest, without organisation."""
    return isinstance(name, str) and _REPOSITORY.fullmatch(name) is not None


def split(repository: str) -> tuple[str, str | None]:
    """The repository's name and its revision; None for the one that the hub gives where none is named."""
    name, _, revision = repository.partition("@")
    return name, revision or None


def require_repository(model: str, repository: str) -> None:
    """Raise `ModelError` for what cannot be a repository's name, with or without a revision."""
    name, at, revision = repository.partition("@")
    if not is_repository(name) or (at and not _REVISION.fullmatch(revision)):
        raise no_repository(model, repository)


def no_repository(model: str, repository: str) -> ModelError:
    """What to raise for what cannot be a repository's name."""
    what = f"{repository!r} is no repository of the hub, which is written ORG/REPO or ORG/REPO@REVISION."
    return ModelError(what, where=model)


def remedy(arguments: str) -> str:
    """What to do without the hub."""
    pull = "zsclip models pull {} --to DIR".format(arguments)  # noqa: UP032  (a command in one piece)
    return (
        f"On a machine with a network, {pull} makes a folder for `model=local-dir:DIR`. Or "
        f"give a checkpoint file (`pretrained=FILE`), or try zsclip without any download: `model=demo`."
    )


def _patience() -> float:
    """How many seconds the hub is given to answer: the client's own default is too long for a machine without a network."""
    from huggingface_hub import constants

    return float(constants.HF_HUB_ETAG_TIMEOUT) if os.environ.get("HF_HUB_ETAG_TIMEOUT") else _SECONDS


def _not_here(wanted: Wanted, filename: str, reason: str) -> ModelError:
    what = f"its {wanted.what} ({filename} of {wanted.repository}) are not on this machine, and {reason}."
    return ModelError(what, where=wanted.model, remedy=remedy(wanted.arguments))


def _require_network(wanted: Wanted, filename: str) -> None:
    """Fail within seconds where the hub does not answer; its client would try again for minutes.

    It is asked for this very file, with the client's own proxies and certificates, but on a thread: neither a resolver nor a
    server that accepts and says nothing can be trusted to give up in time.
    """
    from huggingface_hub import constants, get_session, hf_hub_url

    name, revision = split(wanted.repository)
    seconds = _patience()
    url = hf_hub_url(name, filename, revision=revision, endpoint=constants.ENDPOINT)
    outcome: list[Exception | None] = []

    def ask() -> None:
        try:
            get_session().head(url, timeout=seconds)
            outcome.append(None)
        except Exception as error:  # carried over to the thread that asked
            outcome.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    late = TimeoutError(f"no answer within {seconds:.0f} seconds; HF_HUB_ETAG_TIMEOUT gives it more")
    error = outcome[0] if outcome else late
    if error is not None:
        raise _not_here(wanted, filename, f"{constants.ENDPOINT} cannot be reached ({_first_line(error)})")


def _download_errors() -> tuple[type[Exception], ...]:
    """What a download may end with: the base error of the HTTP library that the hub's client is made with is no OSError in
    all of its versions."""
    names = {"requests": "RequestException", "httpx": "HTTPError", "httpx2": "HTTPError"}
    return (
        OSError,
        RuntimeError,
        ValueError,
        *(getattr(sys.modules[module], name) for module, name in names.items() if module in sys.modules),
    )


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
