"""Connections of HTTP with a deadline for all that comes over them, kept open for the next request."""

from __future__ import annotations

import http.client
import io
import os
import socket
import ssl
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from zsclip.errors import ImageError
from zsclip.images.remote import guard
from zsclip.images.remote.settings import Network

_MOST_IDLE = 64
_IDLE_SECONDS = 20.0


class Deadline:
    """The time until which something must be done, and how long each single wait may take."""

    def __init__(self, total: float, each: float) -> None:
        self._end = time.monotonic() + total
        self._each = each

    def left(self) -> float:
        """How long the next wait may take; raises `TimeoutError` if none may."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return min(left, self._each)

    def remaining(self) -> float:
        """Seconds until the end; below 0 after it."""
        return self._end - time.monotonic()

    def extend(self, seconds: float) -> None:
        """Do not count a time in which nothing was asked."""
        self._end += seconds


class _Stream(io.RawIOBase):
    """What comes over a connection. Each read has what is left of the deadline: a server cannot make it long by sending little."""

    def __init__(self, connection: _Socket) -> None:
        self._connection = connection

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        return self._connection.receive(buffer)

    def close(self) -> None:
        if not self.closed:
            self._connection.release()
        super().close()


class _Socket:
    """As much of a socket as `http.client` uses.

    As with a real one, what was made of it can be read after it was closed: where the server ends the connection after its
    answer, `http.client` closes it with the head.
    """

    def __init__(self, connection: socket.socket, owner: Connection) -> None:
        self._socket, self._owner = connection, owner
        self._streams = 0
        self._closed = False

    def makefile(self, mode: str) -> io.BufferedReader:  # noqa: ARG002
        self._streams += 1
        return io.BufferedReader(_Stream(self))

    def receive(self, buffer: object) -> int:
        self._socket.settimeout(self._owner.deadline.left())
        return self._socket.recv_into(buffer)  # type: ignore[arg-type]

    def release(self) -> None:
        self._streams -= 1
        if self._closed and not self._streams:
            self._socket.close()

    def sendall(self, data: bytes) -> None:
        self._socket.settimeout(self._owner.deadline.left())
        self._socket.sendall(data)

    def close(self) -> None:
        self._closed = True
        if not self._streams:
            self._socket.close()


@dataclass(frozen=True)
class Destination:
    """Where a connection leads, and over which proxy."""

    secure: bool
    host: str
    port: int
    private: bool  # whether it may lead to a private address
    proxy: str = ""


class Connection(http.client.HTTPConnection):
    """A connection that is checked when it is made. `is_private` says whether it leads to a private address."""

    def __init__(self, destination: Destination, network: Network, deadline: Deadline) -> None:
        super().__init__(destination.host, destination.port)
        self.destination = destination
        self.deadline = deadline
        self.is_private = False
        self.used = 0.0
        self._network = network

    def connect(self) -> None:
        """See `http.client`. Raises `ImageError` where it may not lead."""
        to, seconds = self.destination, min(self._network.connect_seconds, self.deadline.left())
        if to.proxy:
            raw = self._through_proxy(seconds)
        else:
            raw, self.is_private = guard.connect(to.host, to.port, seconds, private=to.private)
        try:
            if to.secure:
                raw.settimeout(min(self._network.connect_seconds, self.deadline.left()))
                raw = _tls().wrap_socket(raw, server_hostname=to.host)
        except BaseException:
            raw.close()
            raise
        self.sock = _Socket(raw, self)

    def _through_proxy(self, seconds: float) -> socket.socket:
        """The user's own proxy may be anywhere. It makes the connection: what the name means here is checked, if it means anything."""
        to, proxy = self.destination, urlsplit(self.destination.proxy)
        try:
            found = [guard.is_private(address) for _, address, _ in guard.resolve(to.host, to.port)]
        except ImageError:
            found = [to.host.lower().endswith(("localhost", ".local", ".internal"))]
        self.is_private = any(found)
        if self.is_private and not to.private:
            raise guard.refusal(to.host)
        raw, _ = guard.connect(proxy.hostname or "", proxy.port or 80, seconds, private=True)
        if to.secure:
            self.sock = _Socket(raw, self)
            self.set_tunnel(to.host, to.port, headers=proxy_headers(to.proxy))
            self._tunnel()  # type: ignore[attr-defined]
        return raw


@cache
def _tls() -> ssl.SSLContext:
    """With the system's authorities, or those that SSL_CERT_FILE and SSL_CERT_DIR name."""
    return ssl.create_default_context()


def proxy_headers(proxy: str) -> dict[str, str]:
    """What tells a proxy who asks, if its address does."""
    parts = urlsplit(proxy)
    if parts.username is None:
        return {}
    return {"Proxy-Authorization": basic(parts)}


def basic(parts: SplitResult) -> str:
    """The user and password of an address as HTTP has them."""
    import base64

    pair = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
    return f"Basic {base64.b64encode(pair.encode()).decode()}"


def proxy_for(scheme: str, host: str) -> str:
    """The proxy that the environment names for a host (HTTPS_PROXY, NO_PROXY, ...); nothing if none."""
    if os.environ.get("REQUEST_METHOD"):  # of a CGI script, whose caller could set HTTP_PROXY
        return ""
    proxies = getproxies()
    proxy = proxies.get(scheme) or proxies.get("all") or ""
    if not proxy or proxy_bypass(host):
        return ""
    return proxy if "://" in proxy else f"http://{proxy}"


class Pool:
    """Connections that wait for the next request to where they lead, and how many requests each host has."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._idle: deque[Connection] = deque()
        self._asked: Counter[str] = Counter()
        self._changed = threading.Condition()

    @contextmanager
    def turn(self, host: str, deadline: Deadline) -> Iterator[None]:
        """Wait until a host has fewer requests than it may have at once; the wait does not count."""
        began = time.monotonic()
        with self._changed:
            self._changed.wait_for(lambda: self._asked[host] < self._network.per_host)
            self._asked[host] += 1
        deadline.extend(time.monotonic() - began)
        try:
            yield
        finally:
            with self._changed:
                self._asked[host] -= 1
                if not self._asked[host]:
                    del self._asked[host]
                self._changed.notify_all()

    def take(self, destination: Destination, deadline: Deadline) -> Connection:
        """A connection that is open already, or one to be made by its first request."""
        with self._changed:
            for one in self._idle:
                if one.destination == destination and time.monotonic() - one.used < _IDLE_SECONDS:
                    self._idle.remove(one)
                    one.deadline = deadline
                    return one
        return Connection(destination, self._network, deadline)

    def give(self, connection: Connection) -> None:
        """Keep one whose answer was read to its end."""
        connection.used = time.monotonic()
        with self._changed:
            self._idle.append(connection)
            oldest = self._idle.popleft() if len(self._idle) > _MOST_IDLE else None
        if oldest:
            oldest.close()
