"""Repositories of the Hugging Face hub: listed by its client, read as pages of the web."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import quote

from zsclip.errors import ImageError, InputError
from zsclip.images.item import Contents, Stamp
from zsclip.images.remote.addresses import shown
from zsclip.images.remote.pages import WebPicture, WebPlace
from zsclip.images.remote.settings import Network

_ADDRESS = re.compile(
    r"hf://(?:(datasets|models|spaces)/)?([^/@]+/[^/@]+)(?:@([^/]+))?(?:/(.*))?", re.IGNORECASE | re.DOTALL
)


class Repository(NamedTuple):
    """A repository at a revision, and a path in it."""

    kind: str
    name: str
    revision: str | None
    path: str

    @classmethod
    def of(cls, address: str) -> Repository:
        """Read an address; raises `InputError`."""
        found = _ADDRESS.fullmatch(address)
        if not found:
            raise InputError(
                "not an address of a repository.", where=shown(address), remedy="As in hf://datasets/ORG/NAME/PATH."
            )
        kind, name, revision, path = found.groups()
        return cls((kind or "models").lower().rstrip("s"), name, revision and revision.replace("%2F", "/"), path or "")

    def address(self, path: str) -> str:
        """That of another path in it."""
        kind = "" if self.kind == "model" else f"{self.kind}s/"
        revision = "@" + quote(self.revision, safe="") if self.revision else ""
        return f"hf://{kind}{self.name}{revision}/{path}"

    def page(self) -> str:
        """Where the hub has the file."""
        from huggingface_hub import constants

        kind = "" if self.kind == "model" else f"{self.kind}s/"
        revision = quote(self.revision or "main", safe="")
        return f"{constants.ENDPOINT}/{kind}{self.name}/resolve/{revision}/{quote(self.path)}"


def who_asks() -> dict[str, str]:
    """What tells the hub who asks, where the user is logged in."""
    from huggingface_hub import get_token

    token = get_token()
    return {"Authorization": f"Bearer {token}"} if token else {}


class File(NamedTuple):
    """One file of a listing, and what tells this state of it from another."""

    path: str
    size: int
    version: str


def listed(address: str) -> Iterator[File]:
    """The files under an address, as they are listed; raises `ImageError`."""
    from huggingface_hub import HfApi, RepoFile
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    repository = Repository.of(address)
    try:
        for one in HfApi().list_repo_tree(
            repository.name,
            repository.path.rstrip("/") or None,
            recursive=True,
            revision=repository.revision,
            repo_type=repository.kind,
        ):
            if isinstance(one, RepoFile):
                yield File(one.path, one.size, one.lfs.sha256 if one.lfs else one.blob_id)
    except EntryNotFoundError:
        return
    except GatedRepoError:
        raise ImageError(
            "access to the repository must be asked for on its page; then log in (hf auth login)", kind="denied"
        ) from None
    except RevisionNotFoundError:
        raise ImageError("the repository has no such revision", kind="not_found") from None
    except RepositoryNotFoundError:
        raise ImageError(
            "there is no such repository, or it is private and needs a login (hf auth login)", kind="not_found"
        ) from None
    except OfflineModeIsEnabled:
        raise ImageError("HF_HUB_OFFLINE is set, so the hub is not asked", kind="network") from None
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        raise ImageError(
            f"the hub gave no usable answer (HTTP {status})", kind="denied" if status in (401, 403) else "network"
        ) from None
    except ValueError:
        raise ImageError("not a name that the hub can have", kind="not_found") from None
    except Exception as error:  # of the HTTP client that this version of the hub's uses
        raise ImageError(f"the hub cannot be reached ({type(error).__name__})", kind="network") from None


class HubPicture(WebPicture):
    """A picture in a repository. `headers` say who asks; `listed` is what a listing said of it."""

    def __init__(
        self,
        repository: Repository,
        network: Network,
        headers: dict[str, str],
        name: str = "",
        listed: File | None = None,
    ) -> None:
        address = repository.address(repository.path)
        super().__init__(repository.page(), name or address, network, typed=True, headers=headers)
        self.key = address.encode("utf-8", "surrogateescape")
        self._listed = listed

    def stamp(self) -> Stamp | None:
        """See `Item`."""
        return Stamp(self.key, self._listed.size, 0, version=self._listed.version) if self._listed else None

    def read_unless(self, kept: Stamp | None, max_pixels: int) -> Contents | None:
        """See `Revalidated`. The server that sends it says another version than the listing, which is the one to be kept."""
        contents = super().read_unless(kept, max_pixels)
        if contents is None or self._listed is None:
            return contents
        if len(contents.data) != self._listed.size:
            raise ImageError("it changed while it was read", kind="other")
        return Contents(contents.data, self.stamp())


class HubPlace(WebPlace):
    """A file in a repository that is larger than a picture."""

    def __init__(self, address: str, network: Network) -> None:
        super().__init__(Repository.of(address).page(), network, headers=who_asks())
        self.name = shown(address)
