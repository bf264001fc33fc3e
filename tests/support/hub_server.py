"""A Hugging Face hub on this machine: repositories are folders `ORG/REPO` under a root, revisions of them `ORG/REPO@REVISION`."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

_PAGE = 5  # files of a listing that come at once


def commit(revision: str = "main") -> str:
    """The commit that a branch or tag is at."""
    return hashlib.sha1(revision.encode()).hexdigest()


class Hub:
    """The server's address and manners: `breaks_off_at` bytes of a file it hangs up; `silent`: asked for files it says nothing; `slow`:
    that it takes so many seconds for its first answer. `ranges` are the parts of files that it was asked for."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.address = ""
        self.breaks_off_at: int | None = None
        self.silent = threading.Event()
        self.slow = 0.0
        self.asked: list[str] = []
        self.ranges: list[str] = []


@contextmanager
def serve(root: Path) -> Iterator[Hub]:
    """Serve until the block ends."""
    hub = Hub(root)
    stopped = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        _revision = "main"

        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def _answer(self, *, body: bool) -> None:
            hub.asked.append(f"{self.command} {self.path}")
            if self.path == "/":
                self._send(200, b"", body=False)
                return
            if "Range" in self.headers:
                hub.ranges.append(self.headers["Range"])
            if hub.slow:
                seconds, hub.slow = hub.slow, 0.0
                stopped.wait(seconds)
            if hub.silent.is_set():
                stopped.wait(60)
                return
            if match := re.fullmatch(r"/api/([^?]+)/tree/([^/?]+)/?([^?]*)(?:\?(.*))?", self.path):
                self._list(hub.root / match[1], unquote(match[3]), match[4] or "")
                return
            match = re.fullmatch(r"/([^?]+)/resolve/([^/]+)/([^?]+)(?:\?.*)?", self.path)
            if match is None or not (hub.root / match[1]).is_dir():
                self._send(404, b"", body=False, error="RepoNotFound")
                return
            repository, asked = hub.root / match[1], unquote(match[2])
            others = [path.name.partition("@")[2] for path in repository.parent.glob(f"{repository.name}@*")]
            revision = next((one for one in ("main", *others) if asked in (one, commit(one))), None)
            if revision is None:
                self._send(404, b"", body=False, error="RevisionNotFound")
                return
            self._revision = revision
            path = repository if revision == "main" else repository.with_name(f"{repository.name}@{revision}")
            path /= unquote(match[3])
            if not path.is_file():
                self._send(404, b"", body=False, error="EntryNotFound")
                return
            self._send(200, path.read_bytes(), body=body)

        def _list(self, repository: Path, below: str, query: str) -> None:
            """The files of a repository, some at a time."""
            found = sorted(path for path in (repository / below).rglob("*") if path.is_file())
            if not found:
                self._send(404, b"", body=False, error="EntryNotFound" if repository.is_dir() else "RepoNotFound")
                return
            start = int(match[1]) if (match := re.search(r"cursor=(\d+)", query)) else 0
            files = [
                {"type": "file", "path": str(path.relative_to(repository)), "size": path.stat().st_size,
                 "oid": hashlib.sha1(path.read_bytes()).hexdigest()} for path in found[start : start + _PAGE]
            ]  # fmt: skip
            body = json.dumps(files).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            if start + _PAGE < len(found):
                address = hub.address + self.path.partition("?")[0]
                self.send_header("Link", f'<{address}?recursive=true&cursor={start + _PAGE}>; rel="next"')
            self.end_headers()
            self.wfile.write(body)

        def _send(self, status: int, data: bytes, *, body: bool, error: str = "") -> None:
            start = 0
            if body and (match := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))):
                status, start = 206, int(match[1])
            self.send_response(status)
            self.send_header("Content-Length", str(len(data) - start))
            self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
            self.send_header("X-Repo-Commit", commit(self._revision))
            if status == 206:
                self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            if error:
                self.send_header("X-Error-Code", error)
            self.end_headers()
            if body:
                stop = len(data) if hub.breaks_off_at is None else hub.breaks_off_at
                self.wfile.write(data[start:stop])
                if stop < len(data):
                    self.close_connection = True

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        stopped.set()
        server.shutdown()
        server.server_close()
