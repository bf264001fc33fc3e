"""Google Cloud Storage and Azure's blobs, as far as they are asked, from one server on this machine."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

ACCOUNT = "devstoreaccount1"  # of Azure's emulator
_WHEN = "Wed, 25 Nov 2026 00:00:00 GMT"


@contextmanager
def serve(patch: pytest.MonkeyPatch, objects: dict[str, bytes]) -> Iterator[list[str]]:
    """The objects in a bucket or container called `pictures`; notes what is asked for."""
    asked: list[str] = []
    generations: dict[str, int] = {}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_PUT(self) -> None:
            """Writes on the conditions that each of the two has: generations, or tags."""
            data = self.rfile.read(int(self.headers["Content-Length"]))
            key = unquote(urlsplit(self.path).path.removeprefix(f"/{ACCOUNT}")).removeprefix("/pictures/")
            former, generation = objects.get(key), self.headers.get("x-goog-if-generation-match")
            if self.headers.get("If-None-Match") == "*" and former is not None:
                self._answer(409, b"<Error><Code>BlobAlreadyExists</Code></Error>")
            elif generation not in (None, str(generations.get(key, 0))) or (
                self.headers.get("If-Match") not in (None, former and tag(former))
            ):
                self._answer(412, b"<Error><Code>PreconditionFailed</Code></Error>")
            else:
                objects[key] = data
                generations[key] = 1 + max(generations.values(), default=0)
                self._answer(201, b"", key)

        def do_DELETE(self) -> None:
            key = unquote(urlsplit(self.path).path.removeprefix(f"/{ACCOUNT}")).removeprefix("/pictures/")
            there = objects.pop(key, None) is not None
            generations.pop(key, None)
            self._answer(202 if there else 404, b"")

        def do_POST(self) -> None:
            """Azure's batch, which its client deletes by."""
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            answers = ""
            for number, path in enumerate(re.findall(r"^DELETE (\S+)", body, re.MULTILINE)):
                there = objects.pop(unquote(urlsplit(path).path).split("/pictures/", 1)[-1], None) is not None
                status = "202 Accepted" if there else "404 Not Found"
                answers += (
                    f"--batch\r\nContent-Type: application/http\r\nContent-ID: {number}\r\n\r\nHTTP/1.1 {status}\r\n"
                    "x-ms-version: 2023-11-03\r\n\r\n\r\n"
                )
            self._answer(202, (answers + "--batch--\r\n").encode())

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            of_azure = parts.path.startswith(f"/{ACCOUNT}/")
            bucket, _, key = unquote(parts.path.removeprefix(f"/{ACCOUNT}").lstrip("/")).partition("/")
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            asked.append(f"{self.command} {'az' if of_azure else 'gs'} {key or 'listing'}")
            if bucket != "pictures":
                self._answer(404, b"<Error><Code>ContainerNotFound</Code></Error>" if of_azure else
                             b"<Error><Code>NoSuchBucket</Code></Error>")  # fmt: skip
            elif not key:
                found = [name for name in objects if name.startswith(query.get("prefix", ""))]
                self._answer(200, (azures if of_azure else googles)(found).encode())
            elif key not in objects:
                self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
            elif self.headers.get("If-None-Match") == tag(objects[key]):
                self._answer(304, b"")
            else:
                self._answer(200, objects[key], key)

        def _answer(self, status: int, body: bytes, key: str = "") -> None:
            whole = len(body)
            if status == 200 and key and (asked := self.headers.get("Range")):
                start, _, end = asked.removeprefix("bytes=").partition("-")
                last = min(int(end), whole - 1) if end else whole - 1
                status, body = 206, body[int(start) : last + 1]
            self.send_response(status)
            if status == 206:
                self.send_header("Content-Range", f"bytes {start}-{last}/{whole}")
            if key:
                self.send_header("ETag", tag(objects[key]))
                self.send_header("x-goog-generation", str(generations.get(key, 1)))
            if self.command == "POST":
                self.send_header("Content-Type", "multipart/mixed; boundary=batch")
            self.send_header("Last-Modified", _WHEN)
            self.send_header("x-ms-version", "2023-11-03")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD" and status != 304:
                self.wfile.write(body)

    def googles(found: list[str]) -> str:
        entries = "".join(
            f"<Contents><Key>{name}</Key><LastModified>2026-11-25T00:00:00.000Z</LastModified>"
            f"<ETag>{tag(objects[name])}</ETag><Size>{len(objects[name])}</Size></Contents>"
            for name in found
        )
        return f"<ListBucketResult><IsTruncated>false</IsTruncated>{entries}</ListBucketResult>"

    def azures(found: list[str]) -> str:
        entries = "".join(
            f"<Blob><Name>{name}</Name><Properties><Last-Modified>{_WHEN}</Last-Modified><Etag>{tag(objects[name])}</Etag>"
            f"<Content-Length>{len(objects[name])}</Content-Length><Content-Type>image/png</Content-Type></Properties></Blob>"
            for name in found
        )
        return f"<EnumerationResults><Blobs>{entries}</Blobs><NextMarker/></EnumerationResults>"

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    patch.setenv("STORAGE_EMULATOR_HOST", address)
    patch.setenv("AZURE_STORAGE_USE_EMULATOR", "true")
    patch.setenv("AZURITE_BLOB_STORAGE_URL", address)
    try:
        yield asked
    finally:
        server.shutdown()
        server.server_close()


def tag(data: bytes) -> str:
    """What tells this state of an object."""
    return f'"{hashlib.sha256(data).hexdigest()[:16]}"'
