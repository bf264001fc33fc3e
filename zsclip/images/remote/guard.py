"""Where connections may lead: checked on the very address that is connected to, so that no name can mean another one later."""

from __future__ import annotations

import socket
import time
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from zsclip.errors import ImageError

_TRANSLATED = ip_network("64:ff9b::/96")  # IPv4 behind NAT64
_METADATA = frozenset(
    {ip_address("168.63.129.16")}
)  # of Azure's machines; others' are link-local, shared or unique local


def is_private(text: str) -> bool:
    """Whether an IP address is of this machine, a private network or a link, or reserved; so is one that is wrapped in IPv6."""
    try:
        address: IPv4Address | IPv6Address = ip_address(text.partition("%")[0])
    except ValueError:
        return True
    if isinstance(address, IPv6Address):
        if address in _TRANSLATED:
            address = IPv4Address(int(address) & 0xFFFFFFFF)
        elif address.ipv4_mapped or address.sixtofour or address.teredo:
            return True
    return not address.is_global or address.is_multicast or address.is_reserved or address in _METADATA


def resolve(host: str, port: int) -> list[tuple[int, str, tuple[str, int]]]:
    """The addresses of a host: family, IP address, and what a socket is connected to. Raises `ImageError`."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise ImageError(f"there is no host {host}", kind="network") from None
    return [(family, str(target[0]), target) for family, _, _, _, target in found]  # type: ignore[misc]


def refusal(host: str) -> ImageError:
    """What is said of a host that may not be asked."""
    return ImageError(
        f"{host} is this machine or in a private network, where addresses in data and redirects may not lead; "
        "`allow_private` allows it",
        kind="denied",
    )


def connect(host: str, port: int, seconds: float, *, private: bool) -> tuple[socket.socket, bool]:
    """A connection to a host, and whether it leads to a private address, which is refused unless `private`.

    All its addresses have `seconds` together. Raises `ImageError`, and `OSError` for what may pass.
    """
    deadline = time.monotonic() + seconds
    trouble: Exception = refusal(host)
    for family, address, target in resolve(host, port):
        if is_private(address) and not private:
            continue
        connection = socket.socket(family, socket.SOCK_STREAM)
        try:
            connection.settimeout(max(0.001, deadline - time.monotonic()))
            connection.connect(target)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            connection.close()
            trouble = error
            continue
        return connection, is_private(address)
    raise trouble
