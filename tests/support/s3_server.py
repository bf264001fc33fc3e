"""S3 on this machine: moto's server, and the environment in which nothing else is asked."""

from __future__ import annotations

import re
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest


class Bucket:
    """A bucket. `meets` is shown each request (WSGI's) before it is served, may change it, and may give a status to answer with instead."""

    def __init__(self, address: str, name: str) -> None:
        import boto3

        self.address, self.name = address, name
        self.meets: Callable[[dict[str, Any]], int | None] = lambda request: None
        self.client: Any = boto3.client(
            "s3",
            endpoint_url=address,
            region_name="us-east-1",
            aws_access_key_id="static",
            aws_secret_access_key="static",
        )
        self.client.create_bucket(Bucket=name)

    def put(self, key: str, data: bytes) -> None:
        self.client.put_object(Bucket=self.name, Key=key, Body=data)

    def get(self, key: str) -> bytes:
        data: bytes = self.client.get_object(Bucket=self.name, Key=key)["Body"].read()
        return data

    def listed(self) -> list[str]:
        return [one["Key"] for one in self.client.list_objects_v2(Bucket=self.name).get("Contents", ())]


def environment(address: str) -> dict[str, str]:
    """Static keys and this server: no profile is read, and no machine's metadata asked for."""
    return {
        "AWS_ACCESS_KEY_ID": "static", "AWS_SECRET_ACCESS_KEY": "static", "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": address, "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    }  # fmt: skip


@contextmanager
def serve(patch: pytest.MonkeyPatch, name: str = "pictures") -> Iterator[Bucket]:
    """Serve until the block ends."""
    import logging

    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        for variable, value in environment(f"http://{host}:{port}").items():
            patch.setenv(variable, value)
        # What earlier servers of this process had is there still.
        urllib.request.urlopen(urllib.request.Request(f"http://{host}:{port}/moto-api/reset", method="POST")).close()
        bucket = Bucket(f"http://{host}:{port}", name)
        _let_meet(bucket, server)
        yield bucket
    finally:
        server.stop()


def _let_meet(bucket: Bucket, server: Any) -> None:
    served = server._server.app

    def app(request: dict[str, Any], start: Any) -> Any:
        status = bucket.meets(request)
        if status is None:
            return served(request, start)
        request["wsgi.input"].read(int(request.get("CONTENT_LENGTH") or 0))
        start(f"{status} Fault", [("Content-Length", "0")])
        return [b""]

    server._server.app = app


@contextmanager
def serve_faults(patch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A server of S3 that answers each request by the first part of its key or bucket, such as "403-AccessDenied"; it notes what it
    was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            asked.append(f"{self.path} {self.headers.get('Authorization', 'unsigned')[:16]}")
            status, _, code = re.sub(r"[?].*", "", self.path).strip("/").split("/")[-1].partition(".")[0].partition("-")
            if status == "stall":
                time.sleep(3)
                return
            region = "<Region>eu-west-3</Region>" if "Malformed" in code else ""
            body = f"<Error><Code>{code}</Code>{region}<Message>secret-message</Message></Error>".encode()
            self.send_response(int(status))
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    for variable, value in environment(f"http://127.0.0.1:{server.server_address[1]}").items():
        patch.setenv(variable, value)
    try:
        yield asked
    finally:
        server.shutdown()
        server.server_close()
