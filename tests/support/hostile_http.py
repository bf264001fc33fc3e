"""A server of HTTP on this machine that does what servers should not: by path."""

from __future__ import annotations

import gzip
import hashlib
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server:
    """The server's address and what it was asked for. `picture` is what is behind the paths that give one."""

    def __init__(self, picture: bytes) -> None:
        self.picture = picture
        self.address = ""
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.sent = 0  # bodies of pictures, as wholes
        self.at_once = 0
        self.most_at_once = 0
        self.times: Counter[str] = Counter()
        self.stopped = threading.Event()
        self.lock = threading.Lock()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_of: Server

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        server, name = self.server_of, self.path.partition("?")[0].split("/")[1]
        with server.lock:
            server.asked.append((self.path, dict(self.headers)))
            server.times[self.path] += 1
            server.at_once += 1
            server.most_at_once = max(server.most_at_once, server.at_once)
        try:
            with suppress(ConnectionError):
                getattr(self, name.partition(".")[0].replace("-", "_"), self.missing)()
        finally:
            with server.lock:
                server.at_once -= 1

    def _send(self, status: int, body: bytes = b"", length: int | None = None, **headers: str) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def missing(self) -> None:
        self._send(404, b"no")

    def good(self) -> None:
        tag = f'"{hashlib.md5(self.server_of.picture + self.path.encode()).hexdigest()}"'
        data = self.server_of.picture
        if self.headers.get("If-None-Match") == tag:
            self._send(304, ETag=tag)
        elif part := self.headers.get("Range"):
            start, _, end = part.partition("=")[2].partition("-")
            stop = min(len(data), int(end) + 1) if end else len(data)
            some = data[int(start) : stop]
            self._send(206, some, ETag=tag, Content_Range=f"bytes {start}-{stop - 1}/{len(data)}")
        else:
            self.server_of.sent += 1
            self._send(200, data, ETag=tag, Content_Type="image/png")

    def undated(self) -> None:
        self.server_of.sent += 1
        self._send(200, self.server_of.picture)

    def dated(self) -> None:
        when = "Mon, 02 Nov 2026 10:00:00 GMT"
        if self.headers.get("If-Modified-Since") == when:
            self._send(304)
        else:
            self.server_of.sent += 1
            self._send(200, self.server_of.picture, Last_Modified=when)

    def forbidden(self) -> None:
        self._send(403, b"no")

    def busy(self) -> None:
        """Too many requests once, then good."""
        if self.server_of.times[self.path] == 1:
            self._send(429, b"", Retry_After="0")
        else:
            self.good()

    def very_busy(self) -> None:
        self._send(429, b"", Retry_After="3600")

    def flaky(self) -> None:
        if self.server_of.times[self.path] < 3:
            self._send(503, b"")
        else:
            self.good()

    def broken(self) -> None:
        self._send(500, b"")

    def stall(self) -> None:
        self.server_of.stopped.wait(30)

    def drip(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000000")
        self.end_headers()
        while not self.server_of.stopped.wait(0.02):
            self.wfile.write(b"x")

    def cut(self) -> None:
        self._send(200, self.server_of.picture[:100], len(self.server_of.picture))
        self.close_connection = True

    def cut_once(self) -> None:
        if self.server_of.times[self.path] == 1:
            self.cut()
        else:
            self.good()

    def half(self) -> None:
        """Each answer is cut at the middle of what it promises; what is asked from there on comes."""
        data, start = self.server_of.picture, 0
        if part := self.headers.get("Range"):
            first, _, end = part.partition("=")[2].partition("-")
            start = int(first)
            if end:
                self.good()
                return
        self.send_response(206 if start else 200)
        self.send_header("ETag", f'"{hashlib.md5(data + self.path.encode()).hexdigest()}"')
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        self.wfile.write(data[start : start + max(1, (len(data) - start) // 2)])
        self.close_connection = True

    def loop(self) -> None:
        self._send(302, Location=self.path)

    def hop(self) -> None:
        self._send(301, Location="/good/behind.png")

    def away(self) -> None:
        """To what stands after `?to=`."""
        self._send(302, Location=self.path.partition("?to=")[2])

    def gzip_bomb(self) -> None:
        self._send(200, _bomb(), Content_Encoding="gzip")

    def packed(self) -> None:
        self._send(200, gzip.compress(self.server_of.picture), Content_Encoding="gzip")

    def page(self) -> None:
        self._send(200, b"<!doctype html><title>No</title>", Content_Type="text/html; charset=utf-8")

    def empty(self) -> None:
        self._send(200)

    def huge(self) -> None:
        self._send(200, b"x" * 1000, 629_145_600)
        self.close_connection = True

    def endless(self) -> None:
        """More bytes than anybody wants, of a number that is not told."""
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while not self.server_of.stopped.is_set():
            self.wfile.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")

    def head(self) -> None:
        """Headers without end."""
        self.wfile.write(b"HTTP/1.1 200 OK\r\n")
        with suppress(OSError):
            while not self.server_of.stopped.is_set():
                self.wfile.write(b"X-More: and more\r\n")

    def nonsense(self) -> None:
        self.wfile.write(b"\x00\x01 this is not HTTP\r\n\r\n")
        self.close_connection = True

    def slow(self) -> None:
        time.sleep(0.05)
        self.good()


@cache
def _bomb() -> bytes:
    """100 MB in 100 KB."""
    return gzip.compress(bytes(100_000_000), 1)


@contextmanager
def serve(picture: bytes, host: str = "127.0.0.1") -> Iterator[Server]:
    """Serve until the block ends."""
    _bomb()  # before anybody waits for it
    state = Server(picture)
    handler = type("Handler", (_Handler,), {"server_of": state})
    server = ThreadingHTTPServer((host, 0), handler)
    server.daemon_threads = True
    state.address = f"http://{host}:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield state
    finally:
        state.stopped.set()
        server.shutdown()
        server.server_close()
