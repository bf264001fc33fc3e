"""What is at an address of the web: a picture, or something larger."""

from __future__ import annotations

from collections.abc import Generator, Mapping

from zsclip.errors import ImageError
from zsclip.images.item import Contents, Revalidated, Stamp
from zsclip.images.remote.addresses import shown
from zsclip.images.remote.settings import Network
from zsclip.images.remote.streams import Head, RemotePlace
from zsclip.images.remote.web import Asked, PassingError, unless, web


class WebPicture(Revalidated):
    """A picture of the web. `typed`: the user named its address, which does not come out of data. `headers` are sent with each
    request, such as who asks.
    """

    def __init__(
        self, address: str, name: str, network: Network, *, typed: bool, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(name or shown(address))
        self._headers = headers or {}
        self.key = shown(address).encode("utf-8", "surrogateescape")
        self._address, self._network, self._typed = address, network, typed

    def read_unless(self, kept: Stamp | None, max_pixels: int) -> Contents | None:  # noqa: ARG002
        """See `Revalidated`."""
        asked = Asked(self._address, self._typed, {**self._headers, **(unless(kept.version) if kept else {})})
        data, answer = web(self._network).read(asked)
        if answer.status == 304 and kept:
            return None
        if not data:
            raise ImageError("the server sends nothing")
        return Contents(data, Stamp(self.key, len(data), 0, version=answer.version) if answer.version else None)


class WebPlace(RemotePlace):
    """An object of the web. `headers` are sent with each request, such as who asks."""

    def __init__(
        self, address: str, network: Network, *, typed: bool = True, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(shown(address))
        self._address, self._network, self._typed = address, network, typed
        self._headers = headers or {}

    def head(self) -> Head:
        """See `RemotePlace`. By its first byte: addresses that are signed for GET are refused to HEAD."""
        with web(self._network).stream(self._asked({"Range": "bytes=0-0"})) as answer:
            total = answer.headers.get("Content-Range", "").rpartition("/")[2]
            size = int(total) if total.isdecimal() else answer.length
            if size is None or (answer.status == 206 and not total.isdecimal()):
                raise ImageError("the server does not say how large it is; download it first", kind="other")
            return Head(size, answer.version)

    def chunks(self, start: int, version: str) -> Generator[bytes, None, None]:
        """See `RemotePlace`."""
        ranged = self._part(f"bytes={start}-", version) if start else {}
        with web(self._network).stream(self._asked(ranged)) as answer:
            self._require_same(answer.version, version)
            if start and answer.status != 206:
                raise ImageError("the connection broke, and the server cannot go on from there", kind="other")
            try:
                yield from answer.chunks()
            except PassingError as passing:
                raise passing.error from None

    def part(self, start: int, end: int, version: str) -> bytes:
        """See `RemotePlace`."""
        for number in range(self._network.tries):
            with web(self._network).stream(self._asked(self._part(f"bytes={start}-{end - 1}", version))) as answer:
                self._require_same(answer.version, version)
                if answer.status != 206:
                    raise ImageError("the server does not give parts of it; download it first", kind="other")
                try:
                    return b"".join(answer.chunks())
                except PassingError as passing:
                    if number + 1 == self._network.tries:
                        raise passing.error from None
        raise AssertionError("unreachable")

    def _asked(self, headers: Mapping[str, str]) -> Asked:
        return Asked(self._address, self._typed, {**self._headers, **headers})

    @staticmethod
    def _part(text: str, version: str) -> dict[str, str]:
        kind, _, tag = version.partition(":")
        same = {"If-Range": tag} if tag and not (kind == "etag" and tag.startswith("W/")) else {}
        return {"Range": text, **same}

    @staticmethod
    def _require_same(found: str, expected: str) -> None:
        if expected and found and found != expected:
            raise ImageError("it changed while it was read", kind="other")
