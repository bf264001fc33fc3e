"""Weights from the hub into Hugging Face's cache, so that a download that broke off goes on where it stopped.

The hub's own client throws away what it has when a run ends, and hours with it on a slow line.
"""

from __future__ import annotations

import re
from pathlib import Path

from filelock import FileLock

from zsclip import __version__
from zsclip.models.digests import sha256

_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".npz")  # endings of files that are worth it


def fetch(name: str, filename: str, revision: str | None, seconds: float) -> Path:
    """A file of a repository, put into the cache; raises as `hf_hub_download` does.

    `seconds` is how long the hub may take to say what the file is.
    """
    import huggingface_hub

    if filename.endswith(_WEIGHTS):
        _fetch_blob(name, filename, revision, seconds)
    found = huggingface_hub.hf_hub_download(
        name, filename, revision=revision, library_name="zsclip", library_version=__version__, etag_timeout=seconds
    )
    return Path(found)


def _fetch_blob(name: str, filename: str, revision: str | None, seconds: float) -> None:
    """Put a file where `hf_hub_download` looks for it once it knows its digest."""
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError
    from huggingface_hub.file_download import http_get, repo_folder_name
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    headers = build_hf_headers(library_name="zsclip", library_version=__version__)
    url = hf_hub_url(name, filename, revision=revision, endpoint=constants.ENDPOINT)
    try:
        found = get_hf_file_metadata(url, timeout=seconds, headers=headers)
    except EntryNotFoundError:
        return  # the client asks again, and remembers it
    etag = found.etag or ""
    if not (found.size and re.fullmatch("[0-9a-f]{40,64}", etag)):
        return
    cache, folder = Path(constants.HF_HUB_CACHE), repo_folder_name(repo_id=name, repo_type="model")
    blob, lock = cache / folder / "blobs" / etag, cache / ".locks" / folder / f"{etag}.zsclip.lock"
    for parent in (blob.parent, lock.parent):
        parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock):  # another process may be fetching it
        if blob.exists():
            return
        part = blob.with_name(f"{etag}.zsclip.incomplete")
        with part.open("ab") as file:
            # The very commit that the digest is of.
            url = hf_hub_url(name, filename, revision=found.commit_hash or revision, endpoint=constants.ENDPOINT)
            http_get(
                url, file, resume_size=file.tell(), headers=headers, expected_size=found.size, displayed_filename=filename
            )  # fmt: skip
        if len(etag) == 64 and sha256(part).hex() != etag:
            part.unlink()
            raise OSError("what arrived is not what the hub names by its SHA-256")
        part.replace(blob)
