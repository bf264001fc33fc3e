"""Seconds from the shell to the message where weights are missing and the hub cannot be reached.

    python benchmarks/no_network.py

Whole processes (`zsclip models pull ViT-B-16 openai`, with an empty cache). Nothing is sent to other machines.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack


def run(case: str, endpoint: str) -> None:
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, "HF_HOME": home, "HF_ENDPOINT": endpoint, "HF_HUB_OFFLINE": "0"}
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "zsclip", "models", "pull", "ViT-B-16", "openai", "-q"],
            env=environment, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        seconds = time.perf_counter() - started
    assert done.returncode == 1, done.stderr
    assert "cannot be reached" in done.stderr, done.stderr
    print(f"{case:<48}{seconds:6.2f} s")


def main() -> None:
    run("a name that no resolver knows", "http://hub.invalid")
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    run("a port that refuses connections", f"http://127.0.0.1:{port}")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        run("a host that accepts and never answers", f"http://127.0.0.1:{silent.getsockname()[1]}")
    with ExitStack() as stack:
        full = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(3):  # the queue is full: what asks now has its packets dropped
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        run("dropped packets", f"http://127.0.0.1:{full.getsockname()[1]}")


if __name__ == "__main__":
    main()
