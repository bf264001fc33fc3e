"""Requests of HTTP with limits: on bytes, on time, on redirects, on tries, and on where they may lead."""

from __future__ import annotations

import http.client
import logging
import random
import re
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import SplitResult, quote, urljoin, urlsplit, urlunsplit

from zsclip import __version__
from zsclip.closing import Closing
from zsclip.errors import ImageError
from zsclip.images.remote import connections
from zsclip.images.remote.connections import Connection, Deadline, Destination, Pool
from zsclip.images.remote.settings import Network

if TYPE_CHECKING:
    from zsclip.errors import ErrorKind

logger = logging.getLogger("zsclip")

T = TypeVar("T")

_MOST_REDIRECTS = 5
_FOREVER = 10 * 365 * 86_400.0
_MOST_INFLATED = 64_000_000
_CHUNK = 1 << 16
# Larger bodies are received one at a time, so that what is in memory does not grow with the number of readers.
_LARGE = 16_000_000
_one_large = threading.Lock()
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_WRONG: dict[int, tuple[str, ErrorKind]] = {
    400: ("the server does not understand the request", "other"), 401: ("the server wants a password", "denied"),
    402: ("the server wants to be paid", "denied"), 403: ("the server denies access", "denied"),
    404: ("there is no such page", "not_found"), 410: ("it is no longer there", "not_found"),
    407: ("the proxy wants a password", "denied"), 408: ("the server waited too long", "timeout"),
    429: ("the server is asked too often", "network"), 451: ("the server may not give it", "denied"),
}  # fmt: skip
_SAFE = "!#$%&'()*+,/:;=?@[]~"


class PassingError(Exception):
    """What may be better when it is tried again, after so many seconds if the server said that."""

    def __init__(self, error: ImageError, after: float | None = None) -> None:
        super().__init__()
        self.error = error
        self.after = after


@dataclass(frozen=True)
class Asked:
    """What is asked for. `typed`: its address comes from the user, who may name private ones, and not out of data."""

    address: str
    typed: bool
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Answer(Closing):
    """An answer whose body is still to be read. `address` gave it, after redirects; `held` is what ends with it, `turn` that of its
    host, which may end before."""

    address: str
    status: int
    headers: http.client.HTTPMessage
    body: http.client.HTTPResponse
    deadline: Deadline
    held: ExitStack
    turn: ExitStack

    def close(self) -> None:
        """See `Closing`. The connection is kept if the body was read to its end."""
        self.held.close()

    @property
    def version(self) -> str:
        """What tells this state of the thing from another; nothing if the server does not say."""
        if tag := self.headers.get("ETag"):
            return f"etag:{tag}"
        return f"modified:{when}" if (when := self.headers.get("Last-Modified")) else ""

    @property
    def length(self) -> int | None:
        """The bytes that the server promises; None if it does not."""
        text = self.headers.get("Content-Length", "")
        return int(text) if text.isdecimal() else None

    def chunks(self) -> Iterator[bytes]:
        """The body as it comes; raises `PassingError` where it is cut."""
        with _faults():
            while chunk := self.body.read1(_CHUNK):
                yield chunk
            if self.body.length:  # `read1` is silent about what is missing
                raise PassingError(ImageError("the connection was cut in the middle", kind="network"))


def unless(version: str) -> dict[str, str]:
    """Headers that ask for a thing unless it is still of that version."""
    kind, _, value = version.partition(":")
    if not value:
        return {}
    return {"If-None-Match" if kind == "etag" else "If-Modified-Since": value}


class Web:
    """A client of HTTP; threads share it."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self._pool = Pool(network)
        self._warned = False

    def read(self, asked: Asked) -> tuple[bytes, Answer]:
        """All bytes of a picture, no more than it may have and in no more time, and the answer. Raises `ImageError`."""

        def once(deadline: Deadline) -> tuple[bytes, Answer]:
            with self._open(asked, deadline) as answer:
                return self._body(answer), answer

        return self._tried(once)

    def stream(self, asked: Asked) -> Answer:
        """A good answer, which the caller closes; its body has all the time as long as something comes. Raises `ImageError`."""

        def once(deadline: Deadline) -> Answer:
            answer = self._open(asked, deadline)
            deadline.extend(_FOREVER)
            # What names pictures of the same host is open as long as they are read.
            answer.turn.close()
            return answer

        return self._tried(once)

    def _tried(self, once: Callable[[Deadline], T]) -> T:
        """What comes of it, tried again after a pause as long as there are tries and time. Raises `ImageError`."""
        deadline = Deadline(self.network.total_seconds, self.network.silence_seconds)
        for number in range(1, self.network.tries + 1):
            try:
                return once(deadline)
            except PassingError as passing:
                pause = self.network.pause_seconds * 2 ** (number - 1) * random.uniform(0.5, 1)  # noqa: S311
                pause = pause if passing.after is None else passing.after
                if number == self.network.tries or pause >= deadline.remaining():
                    raise passing.error from None
                time.sleep(pause)
        raise AssertionError("unreachable")

    def _open(self, asked: Asked, deadline: Deadline) -> Answer:
        """A good answer, behind redirects; raises `ImageError`, and `PassingError`."""
        address, headers, private = asked.address, dict(asked.headers), asked.typed or self.network.allow_private
        first = _parts(address).netloc
        for _ in range(_MOST_REDIRECTS + 1):
            parts = _parts(address)
            if parts.netloc != first:
                headers.pop("Authorization", None)
            elif parts.username is not None:
                headers["Authorization"] = connections.basic(parts)
            answer, is_private = self._ask(address, parts, headers, private, deadline)
            location = answer.headers.get("Location")
            if answer.status not in _REDIRECTS or location is None:
                return _require_good(answer)
            # What is public does not lead into a private network, whoever named it.
            private = self.network.allow_private or (private and is_private)
            answer.close()
            address = urljoin(address, location)
        raise ImageError(f"more than {_MOST_REDIRECTS} redirects", kind="network")

    def _ask(
        self,
        address: str,
        parts: SplitResult,
        headers: Mapping[str, str],
        private: bool,
        deadline: Deadline,
    ) -> tuple[Answer, bool]:
        """The answer of one server, and whether that is at a private address."""
        host, secure = parts.hostname or "", parts.scheme == "https"
        if not secure and not self._warned:
            self._warned = True
            logger.warning(
                "http:// is not encrypted: anybody between here and %s can see and change what it sends.", host
            )
        proxy = connections.proxy_for(parts.scheme, host)
        destination = Destination(secure, host, parts.port or (443 if secure else 80), private, proxy)
        target = urlunsplit(("", "", quote(parts.path or "/", _SAFE), quote(parts.query, _SAFE), ""))
        sent = {
            "Host": _host(parts),
            "User-Agent": f"zsclip/{__version__}",
            "Accept-Encoding": "identity",
            **headers,
        }
        if proxy and not secure:
            target = f"http://{_host(parts)}{target}"
            sent.update(connections.proxy_headers(proxy))
        turn = ExitStack()
        with ExitStack() as held, _faults():
            held.callback(turn.close)
            turn.enter_context(self._pool.turn(host, deadline))
            connection, body = self._response(destination, target, sent, deadline)
            held.callback(self._release, connection, body)
            answer = Answer(address, body.status, body.headers, body, deadline, held.pop_all(), turn)
        return answer, connection.is_private

    def _response(
        self, destination: Destination, target: str, headers: dict[str, str], deadline: Deadline
    ) -> tuple[Connection, http.client.HTTPResponse]:
        """The head of an answer. A connection that was kept open may have been closed by the server meanwhile."""
        while True:
            connection = self._pool.take(destination, deadline)
            kept_open = connection.sock is not None
            try:
                connection.request("GET", target, headers=headers)
                return connection, connection.getresponse()
            except (ConnectionError, http.client.BadStatusLine):
                connection.close()
                if not kept_open:
                    raise
            except BaseException:
                connection.close()
                raise

    def _release(self, connection: Connection, body: http.client.HTTPResponse) -> None:
        whole = body.isclosed() or body.length == 0
        body.close()
        if whole and connection.sock is not None and not body.will_close:
            self._pool.give(connection)
        else:
            connection.close()

    def _body(self, answer: Answer) -> bytes:
        most = self.network.max_bytes
        length = answer.length
        if length is not None and length > most:
            raise _too_large(f"{length / 1e6:,.0f} MB", most)
        packed = answer.headers.get("Content-Encoding", "identity").lower()
        data, together = bytearray(), ExitStack()
        with together:
            for chunk in answer.chunks():
                data += chunk
                if len(data) > most:
                    raise _too_large("the server sends more than it may have", most)
                if len(data) > _LARGE and len(data) - len(chunk) <= _LARGE:
                    began = time.monotonic()
                    together.enter_context(_one_large)
                    answer.deadline.extend(time.monotonic() - began)
        if packed in ("gzip", "x-gzip", "deflate"):
            return _inflated(bytes(data))
        if packed != "identity":
            raise ImageError(f"the server sends it packed ({packed[:20]}), which was not asked for", kind="other")
        kind = answer.headers.get_content_type()
        if kind in ("text/html", "application/xhtml+xml") and data[:512].lstrip()[:1] == b"<":
            raise ImageError(f"a web page ({kind}), not an image", kind="damaged")
        return bytes(data)


@lru_cache(maxsize=8)
def web(network: Network) -> Web:
    """The client with these settings, whose connections all share."""
    return Web(network)


def _parts(address: str) -> SplitResult:
    try:
        parts = urlsplit(address)
        _ = parts.port
        host = (parts.hostname or "").encode("idna") if not (parts.hostname or "").isascii() else parts.hostname
    except (ValueError, UnicodeError):
        raise ImageError("not an address that can be read", kind="not_found") from None
    if parts.scheme not in ("http", "https"):
        raise ImageError(f"a redirect to {parts.scheme[:20]}:, which is not of the web", kind="denied")
    if not host or re.search(r"[\s\x00-\x20\x7f]", parts.netloc):
        raise ImageError("an address without a host", kind="not_found")
    if isinstance(host, bytes):
        port = f":{parts.port}" if parts.port else ""
        user = parts.netloc.rpartition("@")
        parts = parts._replace(netloc=f"{user[0]}{user[1]}{host.decode()}{port}")
    return parts


def _host(parts: SplitResult) -> str:
    """For the header: what user and password come before is for another one."""
    return parts.netloc.rpartition("@")[2]


def _require_good(answer: Answer) -> Answer:
    """Raise for an answer that is none."""
    status = answer.status
    if status in (200, 206, 304):
        return answer
    said, kind = _WRONG.get(
        status, ("the server cannot answer now" if status >= 500 else "no usable answer", "network")
    )
    with answer:
        after = _seconds(answer.headers.get("Retry-After", "")) if status in _PASSING else None
        error = ImageError(f"{said} (HTTP {status})", kind=kind)
        if after is not None and after > answer.deadline.remaining():
            error = ImageError(f"{said} (HTTP {status}), for another {after:.0f} seconds", kind=kind)
    raise PassingError(error, after) if status in _PASSING else error


def _seconds(text: str) -> float | None:
    """What Retry-After says: seconds, or a date."""
    if text.strip().isdecimal():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None


def _too_large(size: str, most: int) -> ImageError:
    return ImageError(f"{size}; more than {most / 1e6:,.0f} MB are not read over the network", kind="too_large")


def _inflated(data: bytes) -> bytes:
    """A body that came packed although that was not asked for, if it is not too large then."""
    for bits in (47, -15):  # gzip and zlib, or bare
        inflater = zlib.decompressobj(bits)
        try:
            inflated = inflater.decompress(data, _MOST_INFLATED)
        except zlib.error:
            continue
        if not inflater.eof:
            raise (
                _too_large("packed, and much larger than it looks", _MOST_INFLATED)
                if inflater.unconsumed_tail
                else (ImageError("packed by the server, and cut short"))
            )
        return inflated
    raise ImageError("packed by the server, and damaged")


@contextmanager
def _faults() -> Iterator[None]:
    """What goes wrong on the way, as what may pass, or not."""
    try:
        yield
    except TimeoutError:
        raise PassingError(ImageError("the server takes too long", kind="timeout")) from None
    except ssl.SSLCertVerificationError as error:
        raise ImageError(
            f"its certificate cannot be trusted ({error.verify_message}); SSL_CERT_FILE names other authorities",
            kind="denied",
        ) from None  # fmt: skip
    except http.client.InvalidURL:
        raise ImageError("not an address that can be asked for", kind="not_found") from None
    except (http.client.HTTPException, ConnectionError, ssl.SSLError, EOFError) as error:
        if isinstance(error, http.client.LineTooLong) or "headers" in str(error):
            raise ImageError("the server's headers do not end", kind="network") from None
        raise PassingError(ImageError("the connection failed", kind="network")) from None
    except OSError as error:
        raise PassingError(
            ImageError(f"the connection failed ({error.strerror or type(error).__name__})", kind="network")
        ) from None
