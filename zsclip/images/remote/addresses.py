"""What an address is, and what may be said of it: never a password, a key or a signature."""

from __future__ import annotations

import os
import re
from pathlib import PurePath
from urllib.parse import unquote_plus, urlsplit

SCHEMES = ("s3", "gs", "az", "hf", "https", "http")
_ADDRESS = re.compile(rf"({'|'.join(SCHEMES)})://", re.IGNORECASE)
# pathlib joins the two slashes.
_ADDRESS_AS_PATH = re.compile(rf"({'|'.join(SCHEMES)}):/([^/].*)", re.IGNORECASE)

# Parameters that prove a right to read: of AWS and its kin, CloudFront, Google, Alibaba, Akamai, and common names.
_SECRET = re.compile(
    r"x-(amz|goog|oss|ms)-.*|.*signature|sig|hmac|.*token.*|.*accesskeyid|googleaccessid|expires|key-pair-id|policy"
    r"|hdnt[sl]|hdnea|(api|access|subscription)[-_]?key|.*secret|.*passw(or)?d|auth|authorization|jwt|credentials?",
    re.IGNORECASE,
)
# Of a shared access signature of Azure, which `sig` tells; elsewhere these may mean anything.
_AZURE = frozenset({
    "ke", "se", "si", "sig", "sip", "skoid", "sks", "skt", "sktid", "skv", "sp", "spr", "sr", "srt", "ss", "st", "sv"
})  # fmt: skip


def is_address(text: str) -> bool:
    """Whether it is an address and not a path."""
    return "://" in text and _ADDRESS.match(text) is not None


def scheme(address: str) -> str:
    """Such as "s3"."""
    return address.partition("://")[0].lower()


def on_the_web(address: str) -> bool:
    """Whether it is of http or https."""
    return scheme(address) in ("http", "https")


def shown(name: str) -> str:
    """An address as rows, messages and the store have it: without user, password and what signs it. A path as it is.

    The rest of its query stays, for it may tell pictures apart.
    """
    if not is_address(name):
        return name
    start, _, rest = name.partition("://")
    end = re.search(r"[/?#]" if on_the_web(name) else "/", rest)
    host, path = (rest[: end.start()], rest[end.start() :]) if end else (rest, "")
    host = host.rpartition("@")[2]
    if on_the_web(name):
        path, mark, query = path.partition("#")[0].partition("?")
        kept = _without_secrets(query)
        path += mark + kept if kept else ""
    return f"{start.lower()}://{host}{path}"


def _without_secrets(query: str) -> str:
    names = {unquote_plus(part.partition("=")[0]).lower() for part in query.split("&")}
    secret = _AZURE if "sig" in names else frozenset()
    kept = []
    for part in query.split("&"):
        key = unquote_plus(part.partition("=")[0])
        if not _SECRET.fullmatch(key) and key.lower() not in secret:
            kept.append(part)
    return "&".join(kept)


def extension(name: str) -> str:
    """The extension of a path's or an address's last part, in lower case."""
    if is_address(name) and on_the_web(name):
        try:
            name = urlsplit(name).path
        except ValueError:
            return ""
    return os.path.splitext(name.rpartition("/")[2] if "://" in name or "/" in name else name)[1].lower()


def split(address: str) -> tuple[str, str]:
    """The bucket of an address, and the key in it; without user and password."""
    host, _, key = address.partition("://")[2].partition("/")
    return host.rpartition("@")[2], key


def address_of(path: PurePath) -> str | None:
    """The address that was typed where a path was expected, if it was one."""
    found = _ADDRESS_AS_PATH.fullmatch(path.as_posix())
    return f"{found[1].lower()}://{found[2]}" if found else None
