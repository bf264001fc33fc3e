"""Buckets of S3, Google Cloud Storage and Azure, through obstore: what is in them, and their objects."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Generator, Iterator
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from zsclip import __version__
from zsclip.errors import ImageError, InputError
from zsclip.images.item import Contents, Revalidated, Stamp
from zsclip.images.remote import credentials
from zsclip.images.remote.addresses import scheme, shown, split
from zsclip.images.remote.settings import Network
from zsclip.images.remote.streams import Head, RemotePlace

if TYPE_CHECKING:
    from obstore.store import ObjectStore

    from zsclip.errors import ErrorKind

_LARGE = 16_000_000  # received one at a time
_one_large = threading.Lock()
_FOREVER = 10 * 365 * 86_400.0
_AT_ONCE = 1000
_MOST_PARTS = 9000  # of an upload; S3 takes 10,000

# What a server's code means: said, kind, and what to do.
_CODES: dict[str, tuple[str, ErrorKind, str]] = {}
for _names, _meaning in {
    "NoSuchBucket ContainerNotFound": ("there is no such bucket", "not_found", "check its name"),
    "NoSuchKey BlobNotFound": ("there is no such object", "not_found", ""),
    "InvalidAccessKeyId": ("the access key is not known there", "denied", "check AWS_ACCESS_KEY_ID or AWS_PROFILE"),
    "SignatureDoesNotMatch AuthenticationFailed": ("the secret key is wrong", "denied", "check AWS_SECRET_ACCESS_KEY"),
    "ExpiredToken TokenRefreshRequired RequestExpired ExpiredTokenException": (
        "the session token has expired", "denied", "log in again"),
    "InvalidToken": ("the session token is not valid", "denied", "check AWS_SESSION_TOKEN"),
    "RequestTimeTooSkewed": ("this machine's clock is wrong", "denied", "set it"),
    "PermanentRedirect AuthorizationHeaderMalformed TemporaryRedirect IllegalLocationConstraintException": (
        "the bucket is in another region", "other", "set AWS_REGION to it"),
    "SlowDown TooManyRequests RequestLimitExceeded ServerBusy Throttling": (
        "the server is asked too often", "network", "use fewer `readers`"),
}.items():  # fmt: skip
    _CODES.update(dict.fromkeys(_names.split(), _meaning))  # type: ignore[arg-type]


# What tells one state of an object from another, as a store takes it for a condition: ETag and version, where it has them.
Version: TypeAlias = "tuple[tuple[str, str], ...]"


class Object(NamedTuple):
    """One object of a listing."""

    key: str
    size: int
    version: str


def fault(error: Exception, *, signed: bool) -> ImageError:
    """What obstore's error means. Its own text is never shown: it has whole addresses, with what signs them."""
    text = str(error)
    code = re.search(r"<Code>(\w+)</Code>", text)
    kind: ErrorKind
    if code and code[1] in _CODES:
        said, kind, todo = _CODES[code[1]]
        if region := re.search(r"<Region>([\w-]+)</Region>", text):
            todo = f"set AWS_REGION={region[1]}"
    elif isinstance(error, FileNotFoundError):
        said, kind, todo = "there is no such object", "not_found", ""
    elif type(error).__name__ in ("PermissionDeniedError", "UnauthenticatedError"):
        said, kind, todo = "access is denied", "denied", "if it is public, try `sign_requests`"
        if not signed:
            todo = "no keys were found; set them or AWS_PROFILE"
    elif re.search(r"region", text, re.IGNORECASE) and "redirect" in text:
        said, kind, todo = _CODES["PermanentRedirect"]
    elif re.search(r"timed out|TimedOut|Timeout,", text):
        said, kind, todo = "the server takes too long", "timeout", ""
    elif status := re.search(r"status code: (\d{3})", text):
        said, kind, todo = f"the server cannot answer now (HTTP {status[1]})", "network", ""
        if status[1] in ("429", "503"):
            said, kind, todo = f"the server is asked too often (HTTP {status[1]})", "network", "use fewer `readers`"
    elif "error sending request" in text or "Connect" in text:
        said, kind, todo = "the server cannot be reached", "network", ""
    else:
        said, kind, todo = "the server gave no usable answer", "network", ""
    return ImageError(f"{said}; {todo}" if todo else said, kind=kind)


class Bucket:
    """A bucket with the user's keys, or without. Threads may share it. Raises `InputError` where it cannot be used at all."""

    def __init__(self, kind: str, name: str, network: Network) -> None:
        self.network = network
        self.address = f"{kind}://{name}"
        self.signed, options = credentials.OF[kind](network.sign_requests)
        self.pictures = _store(kind, name, network, options, network.total_seconds)
        self.streams = _store(kind, name, network, options, _FOREVER)

    def listed(self, prefix: str) -> Iterator[Object]:
        """Its objects under a prefix, as the server lists them, some at a time; raises `ImageError`."""
        import obstore

        try:
            for some in obstore.list(self.pictures, prefix.rstrip("/") or None, chunk_size=_AT_ONCE):
                for one in some:
                    yield Object(one["path"], one["size"], _version(one))
        except obstore.exceptions.InvalidPathError as error:
            key = re.search(r'Path "(.*?)"', str(error))
            raise ImageError(
                f"a key with an empty or relative part ({key[1] if key else '?'}) cannot be listed; name prefixes without it",
                kind="other",
            ) from None
        except (obstore.exceptions.BaseError, OSError, ValueError) as error:
            raise fault(error, signed=self.signed) from None

    def get(self, store: ObjectStore, key: str, **options: Any) -> Any:
        """The answer of a server for an object; None if it is as it was. Raises `ImageError`."""
        import obstore

        try:
            return obstore.get(store, key, options=options)  # type: ignore[arg-type]
        except obstore.exceptions.NotModifiedError:
            return None
        except obstore.exceptions.PreconditionError:
            raise ImageError("it changed while it was read", kind="other") from None
        except (obstore.exceptions.BaseError, OSError, ValueError) as error:
            raise fault(error, signed=self.signed) from None

    def chunks(self, answer: Any) -> Iterator[bytes]:
        """What an answer holds, as it comes; raises `ImageError`."""
        import obstore

        try:
            for chunk in answer.stream(min_chunk_size=1 << 20):
                yield bytes(chunk)
        except (obstore.exceptions.BaseError, OSError, ValueError) as error:
            raise fault(error, signed=self.signed) from None

    def put(self, key: str, file: Any, size: int, *, in_parts: bool) -> None:
        """Write an object: there as a whole or not at all. Raises `ImageError`."""
        import obstore

        chunk = max(8_000_000, -(-size // _MOST_PARTS))
        try:
            obstore.put(self.streams, key, file, use_multipart=in_parts, chunk_size=chunk, max_concurrency=4)
        except (obstore.exceptions.BaseError, OSError, ValueError) as error:
            raise fault(error, signed=self.signed) from None

    def put_if(self, key: str, data: bytes, former: Version | None) -> Version | None:
        """Write a small object if there is none, or if it is still the `former` one; its version, or None where it is otherwise.

        Raises `ImageError`, and `NotImplementedError` where the store says that it has no such condition. One that takes no notice writes.
        """
        import obstore

        try:
            return _condition(obstore.put(self.pictures, key, data, mode=dict(former) if former else "create"))  # type: ignore[arg-type]
        except (obstore.exceptions.AlreadyExistsError, obstore.exceptions.PreconditionError):
            return None
        except obstore.exceptions.NotSupportedError:
            raise NotImplementedError from None
        except (obstore.exceptions.BaseError, OSError, ValueError) as error:
            if re.search(r"<Code>NotImplemented</Code>|status code: 501", str(error)):
                raise NotImplementedError from None
            raise fault(error, signed=self.signed) from None

    def read(self, key: str) -> tuple[bytes, Version] | None:
        """A small object and its version; None where there is none. Raises `ImageError`."""
        try:
            answer = self.get(self.pictures, key)
            return b"".join(self.chunks(answer)), _condition(answer.meta)
        except ImageError as error:
            if error.kind == "not_found":
                return None
            raise

    def delete(self, key: str) -> None:
        """Remove an object, which may be gone already. Raises `ImageError`."""
        import obstore

        try:
            obstore.delete(self.pictures, key)
        except FileNotFoundError:
            return
        except (obstore.exceptions.BaseError, OSError, ValueError) as error:
            raise fault(error, signed=self.signed) from None


def bucket(address: str, network: Network) -> Bucket:
    """The bucket of an address; raises `InputError`."""
    name, _ = split(address)
    if not name:
        raise InputError("an address without a bucket.", where=shown(address), remedy="It begins with s3://BUCKET/.")
    try:
        import obstore.store  # noqa: F401
    except ImportError:
        raise InputError(
            "reading buckets needs obstore.", where=shown(address), remedy="Install it: pip install 'zsclip[remote]'."
        ) from None
    # The environment says which server is asked, as whom.
    environment = tuple(
        sorted(
            pair
            for pair in os.environ.items()
            if pair[0].startswith(("AWS_", "GOOGLE_", "AZURE_", "AZURITE_", "STORAGE_"))
        )
    )
    return _bucket(scheme(address), name, network, environment)


@lru_cache(maxsize=32)
def _bucket(kind: str, name: str, network: Network, environment: tuple[tuple[str, str], ...]) -> Bucket:  # noqa: ARG001
    return Bucket(kind, name, network)


def _store(kind: str, name: str, network: Network, options: dict[str, Any], seconds: float) -> ObjectStore:
    from obstore import store

    classes: dict[str, Any] = {"s3": store.S3Store, "gs": store.GCSStore, "az": store.AzureStore}
    options = dict(options)
    client = {
        "connect_timeout": timedelta(seconds=network.connect_seconds),
        "read_timeout": timedelta(seconds=network.silence_seconds),
        "timeout": timedelta(seconds=seconds),
        "user_agent": f"zsclip/{__version__}",
        **options.pop("client_options", {}),
    }
    retry = {
        "max_retries": network.tries - 1,
        "retry_timeout": timedelta(seconds=network.total_seconds),
        "backoff": {
            "init_backoff": timedelta(seconds=network.pause_seconds),
            "max_backoff": timedelta(seconds=10),
            "base": 2,
        },
    }
    try:
        return classes[kind](name, client_options=client, retry_config=retry, **options)  # type: ignore[no-any-return]
    except Exception as error:  # obstore's errors of settings have no class of their own
        said = re.split(r"[\n:]", str(error))[0][:100]
        raise InputError(f"the bucket cannot be opened ({said}).", where=f"{kind}://{name}") from None


def _version(meta: Any) -> str:
    """What tells one state of an object from another: the same in a listing and in an answer."""
    if tag := meta["e_tag"]:
        return str(tag).strip('"')
    when = meta["last_modified"]
    return str(meta["version"] or (when and int(when.timestamp())) or "")


def _condition(meta: Any) -> Version:
    return tuple((name, str(meta[name])) for name in ("e_tag", "version") if meta[name])


class BucketPicture(Revalidated):
    """A picture in a bucket that is open already, `listed` if a listing said what it is like."""

    def __init__(self, opened: Bucket, key: str, name: str = "", listed: Object | None = None) -> None:
        address = f"{opened.address}/{key}"
        super().__init__(name or address)
        self.key = address.encode("utf-8", "surrogateescape")
        self._bucket, self._key, self._listed = opened, key, listed

    @classmethod
    def at(cls, address: str, network: Network, name: str = "") -> BucketPicture:
        """The picture at an address; raises `InputError` where its bucket cannot be used."""
        return cls(bucket(address, network), split(address)[1], name)

    def stamp(self) -> Stamp | None:
        """See `Item`."""
        return self._stamp(self._listed.size, self._listed.version) if self._listed else None

    def read_unless(self, kept: Stamp | None, max_pixels: int) -> Contents | None:  # noqa: ARG002
        """See `Revalidated`."""
        most = self._bucket.network.max_bytes
        options = {"if_none_match": f'"{kept.version}"'} if kept else {}
        answer = self._bucket.get(self._bucket.pictures, self._key, **options)
        if answer is None:
            return None
        size = answer.meta["size"]
        if size > most:
            raise ImageError(
                f"{size / 1e6:,.0f} MB; more than {most / 1e6:,.0f} MB are not read over the network", kind="too_large"
            )
        if size > _LARGE:
            with _one_large:
                data = b"".join(self._bucket.chunks(answer))
        else:
            data = b"".join(self._bucket.chunks(answer))
        if len(data) != size:
            raise ImageError("the connection was cut in the middle", kind="network")
        if not data:
            raise ImageError("the object is empty")
        return Contents(data, self._stamp(size, _version(answer.meta)))

    def _stamp(self, size: int, version: str) -> Stamp | None:
        return Stamp(self.key, size, 0, version=version) if version else None


class BucketPlace(RemotePlace):
    """An object of a bucket that is larger than a picture."""

    def __init__(self, address: str, network: Network) -> None:
        super().__init__(shown(address))
        self._bucket, self._key = bucket(address, network), split(address)[1]

    def head(self) -> Head:
        """See `RemotePlace`."""
        answer = self._bucket.get(self._bucket.pictures, self._key, head=True)
        return Head(answer.meta["size"], _version(answer.meta))

    def chunks(self, start: int, version: str) -> Generator[bytes, None, None]:
        """See `RemotePlace`."""
        yield from self._bucket.chunks(self._answer(version, {"offset": start}))

    def part(self, start: int, end: int, version: str) -> bytes:
        """See `RemotePlace`."""
        return b"".join(self._bucket.chunks(self._answer(version, (start, end))))

    def _answer(self, version: str, part: Any) -> Any:
        answer = self._bucket.get(self._bucket.streams, self._key, range=part)
        if _version(answer.meta) != version:
            raise ImageError("it changed while it was read", kind="other")
        return answer
