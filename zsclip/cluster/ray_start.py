"""Joining a Ray cluster, or starting one on this machine: quickly, quietly, and with one message where it cannot be."""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from zsclip.errors import InputError, ZsclipError, missing_extra

LOCAL = "local"
_CONNECT_SECONDS = 5
_STORE_BYTES = 256 << 20  # of the object store of a local cluster, through which numbers of parts travel
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",  # an actor without a GPU sees none
    "RAY_DEDUP_LOGS": "0",
}


def start(address: str) -> bool:
    """Connect this process to the cluster at `local`, `auto` or `HOST:PORT`; False if it was connected before.

    Raises `InputError` where there is none, or it cannot be used from here.
    """
    if re.match(r"\w+://", address):
        raise InputError(
            "a cluster is joined from one of its machines, and not through Ray's client.",
            where=f"`cluster={address}`",
            remedy="From outside, use: ray job submit -- zsclip ...",
        )
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    if address != LOCAL:
        for name in ("RAY_gcs_server_port_wait_time_s", "RAY_NUM_REDIS_GET_RETRIES"):  # of a newer and an older Ray
            os.environ.setdefault(name, "3")
    else:
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # keeps it on 127.0.0.1, here too
    try:
        import ray
    except ImportError:
        raise missing_extra("a run on a cluster", "ray", "cluster") from None
    if ray.is_initialized():
        return False
    settings: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL, "configure_logging": True}
    with _signals_as_they_are():
        try:
            if address == LOCAL:
                settings |= {"include_dashboard": False, "object_store_memory": _STORE_BYTES}
                ray.init(address=LOCAL, _node_ip_address="127.0.0.1", **settings)
                _let_it_end_with_this_process()
            else:
                ray.init(address=_address(address), **settings)
        except ZsclipError:
            raise
        except Exception as error:
            ray.shutdown()
            raise _said(error, address) from None
    _no_wall_of_traces()
    return True


def _address(address: str) -> str:
    """`HOST:PORT` as Ray will ask for it. `auto` is `RAY_ADDRESS`, within a job of Ray's too, else the cluster on this machine."""
    from ray._private import services

    where = f"`cluster={address}`"
    try:
        found = str(services.canonicalize_bootstrap_address_or_die(address))
    except ValueError:
        found = ""
    host, _, port = found.rpartition(":")
    if not host or not port.isdigit():
        raise InputError("is no address of a cluster.", where=where, remedy="There are: local, auto, HOST:PORT.")
    try:  # Ray itself would try for minutes
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise InputError(
            f"no cluster answers at {found} ({getattr(error, 'strerror', None) or error}).",
            where=where,
            remedy="Start one with: ray start",
        ) from None
    return found


def _said(error: Exception, address: str) -> InputError:
    """What Ray says, in a line."""
    text, where = " ".join(str(error).split()), f"`cluster={address}`"
    if "Version mismatch" in text:
        found = re.findall(r"(Ray|Python): (\S+)", text)
        if len(found) == 4:
            theirs, ours = (
                " and ".join(f"{name} {version}" for name, version in half) for half in (found[:2], found[2:])
            )
            what = f"the cluster runs {theirs}, this process {ours}."
            return InputError(what, where=where, remedy="Both must be the same everywhere.")
    if "Could not find any running" in text:
        return InputError("no cluster runs on this machine.", where=where, remedy="Start one with: ray start")
    return InputError(
        f"cannot be joined: {text[:300].rstrip('.')}.",
        where=where,
        remedy="Is that its own port, and are RAY_AUTH_MODE and the token here those of the cluster?",
    )


@contextmanager
def _signals_as_they_are() -> Iterator[None]:
    """Ray lets SIGTERM raise an exception somewhere in the main thread."""
    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            try:
                signal.signal(number, handler)
            except ValueError:
                break  # not the main thread, in which Ray has left them alone


def _no_wall_of_traces() -> None:
    """Ray writes what befalls its processes to standard output, where results go, and has no setting for that."""
    from ray._private import worker

    if hasattr(worker, "print_to_stdstream"):
        worker.print_to_stdstream = lambda *_, **__: None


# Waits until the process that started it is gone, and gives Ray's own end a moment.
_REAPER = """
import os, pathlib, sys, time
sys.stdin.read()
time.sleep(2)
for entry in pathlib.Path("/proc").glob("[0-9]*"):
    try:
        if sys.argv[1].encode() in (entry / "cmdline").read_bytes() and int(entry.name) != os.getpid():
            os.kill(int(entry.name), 9)
    except OSError:
        pass
"""


def _let_it_end_with_this_process() -> None:
    """Two of Ray's agents would outlive a process that is killed or ends by a signal. They are known by the cluster's folder."""
    import ray

    folder = ray._private.worker._global_node.get_session_dir_path()
    reader, writer = os.pipe()  # whose other end closes with this process, however it ends
    subprocess.Popen(  # noqa: S603
        [sys.executable, "-S", "-E", "-c", _REAPER, folder], stdin=reader, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is not meant for it
    )  # fmt: skip
    os.close(reader)
    _kept_open.append(writer)


_kept_open: list[int] = []
