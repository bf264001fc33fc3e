"""Pictures of the web, from a server on this machine that does what servers should not."""

from __future__ import annotations

import io
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from support.hostile_http import Server, serve

from zsclip import Classifier
from zsclip.errors import ImageError, InputError
from zsclip.images.opening import Opening
from zsclip.images.places import picture_at, place
from zsclip.images.remote import guard
from zsclip.images.remote.addresses import address_of, extension, is_address, shown
from zsclip.images.remote.pages import WebPicture, WebPlace
from zsclip.images.remote.settings import Network
from zsclip.images.sources import Finder

# So small that what waits does not wait long.
QUICK = Network(total_seconds=0.6, silence_seconds=0.3, pause_seconds=0.01, max_bytes=40_000_000)


@pytest.fixture(scope="module")
def picture(red_star: Path) -> bytes:
    return red_star.read_bytes()


@pytest.fixture(scope="module")
def server(picture: bytes) -> Iterator[Server]:
    with serve(picture) as server:
        yield server


def read(address: str, network: Network = QUICK, *, typed: bool = True) -> bytes:
    return WebPicture(address, "", network, typed=typed).read(10**9).data


@pytest.mark.parametrize(
    ("path", "kind", "said"),
    [
        ("missing", "not_found", "no such page (HTTP 404)"),
        ("forbidden", "denied", "denies access (HTTP 403)"),
        ("very-busy", "network", "asked too often (HTTP 429), for another 3600 seconds"),
        ("broken", "network", "cannot answer now (HTTP 500)"),
        ("stall", "timeout", "takes too long"),
        ("drip", "timeout", "takes too long"),
        ("cut", "network", "cut in the middle"),
        ("loop", "network", "more than 5 redirects"),
        ("gzip-bomb", "too_large", "much larger than it looks"),
        ("page", "damaged", "a web page (text/html), not an image"),
        ("empty", "damaged", "sends nothing"),
        ("huge", "too_large", "629 MB; more than 40 MB"),
        ("endless", "too_large", "sends more than it may have"),
        ("head", "network", "headers do not end"),
        ("nonsense", "network", "connection failed"),
    ],
)
def test_what_a_server_does_wrong_is_an_error_that_says_what(server: Server, path: str, kind: str, said: str) -> None:
    with pytest.raises(ImageError) as caught:
        read(f"{server.address}/{path}/x.png")
    assert said in str(caught.value)
    assert caught.value.kind == kind


def test_what_may_pass_is_tried_again_and_the_rest_is_not(server: Server, picture: bytes) -> None:
    for path, times in (
        ("busy/1.png", 2),
        ("flaky/1.png", 3),
        ("cut-once/1.png", 2),
        ("hop/1.png", 1),
        ("packed/1.png", 1),
    ):
        assert read(f"{server.address}/{path}") == picture
        assert server.times[f"/{path}"] == times
    for path in ("missing/once.png", "forbidden/once.png", "head/once.png", "endless/once.png"):
        with pytest.raises(ImageError):
            read(f"{server.address}/{path}")
        assert server.times[f"/{path}"] == 1
    agent = next(headers for asked, headers in server.asked if asked == "/busy/1.png")
    assert agent["User-Agent"].startswith("zsclip/")
    assert agent["Accept-Encoding"] == "identity"


def test_addresses_in_data_lead_to_no_private_network(server: Server, picture: bytes) -> None:
    asked = len(server.asked)
    port = server.address.rpartition(":")[2]
    for host in ("127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0", "2130706433", "0x7f.1", "169.254.169.254",
                 "10.0.0.1", "192.168.1.1", "[fd00::1]", "[fe80::1]", "100.100.100.200", "168.63.129.16"):  # fmt: skip
        with pytest.raises(ImageError) as caught:
            read(f"http://{host}:{port}/good/a.png", typed=False)
        assert caught.value.kind in ("denied", "network"), host
    assert len(server.asked) == asked
    item = picture_at(f"{server.address}/good/a.png", "row 7", Opening(network=Network(allow_private=True)))
    assert (item.name, item.read(10**9).data) == ("row 7", picture)
    refused = picture_at(f"{server.address}/good/a.png", "row 7", Opening())
    with pytest.raises(ImageError, match="`allow_private` allows it"):
        refused.read(10**9)
    assert picture_at("a.png", "row 8", Opening()).name == "row 8"


def test_what_is_public_does_not_lead_into_a_private_network(
    server: Server, picture: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """127.0.0.2 plays a public address: both are this machine, so nothing leaves it."""
    real = guard.is_private
    monkeypatch.setattr(guard, "is_private", lambda address: address != "127.0.0.2" and real(address))
    with serve(picture, "127.0.0.2") as public:
        to_private = f"{public.address}/away?to={server.address}/good/a.png"
        for typed in (True, False):
            with pytest.raises(ImageError, match="redirects may not lead"):
                read(to_private, typed=typed)
        assert read(to_private, Network(allow_private=True), typed=False) == picture
        assert read(f"{server.address}/away?to={public.address}/good/a.png") == picture
        back = f"{server.address}/away?to={public.address}/away?to={server.address}/good/a.png"
        with pytest.raises(ImageError, match="redirects may not lead"):
            read(back)
    for scheme in ("file:///etc/passwd", "ftp://127.0.0.1/x", "s3://bucket/x"):
        with pytest.raises(ImageError, match="not of the web"):
            read(f"{server.address}/away?to={scheme}")


def test_what_is_checked_is_what_is_connected_to(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that means something public when it is checked and this machine a moment later."""
    answers = iter(["93.184.216.34", "127.0.0.1", "127.0.0.1"])
    port = int(server.address.rpartition(":")[2])
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda *_, **__: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers), port))]
    )
    tried: list[object] = []
    monkeypatch.setattr(socket.socket, "connect", lambda self, target: tried.append(target) or _refuse())
    asked = len(server.asked)
    with pytest.raises(ImageError):
        read(f"http://rebinding.example:{port}/good/a.png", typed=False)
    assert tried == [("93.184.216.34", port)]  # the others were refused before
    assert len(server.asked) == asked


def _refuse() -> None:
    raise ConnectionRefusedError


def test_a_second_run_transfers_no_picture(server: Server, tmp_path: Path) -> None:
    addresses = [f"{server.address}/good/{n}.png?id={n}&token=secret{n}" for n in range(6)]
    addresses += [f"{server.address}/dated/x.png", f"{server.address}/undated/x.png"]
    names, sent = [], []
    for _ in range(2):
        before = server.sent
        with Classifier.load("demo", cache_dir=tmp_path) as classifier:
            found = [one for batch in classifier.embed_images(addresses) for one in batch]
            assert not any(one.error for one in found)
        names.append([one.path for one in found])
        sent.append(server.sent - before)
    assert sent == [8, 1]  # a server that gives no version is asked for all of it
    assert names[0] == names[1]
    assert names[0][2] == f"{server.address}/good/2.png?id=2"
    assert b"secret" not in b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    with Classifier.load("demo", cache_dir=tmp_path, rehash=True) as classifier:
        before = server.sent
        assert len([one for batch in classifier.embed_images(addresses) for one in batch]) == 8
    assert server.sent - before == 8


def test_of_a_table_of_addresses_a_second_run_transfers_no_picture(server: Server, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("url\n" + "".join(f"{server.address}/good/{n}.png\n" for n in range(6)))
    opening, sent = Opening(network=Network(allow_private=True)), []
    for _ in range(2):
        before = server.sent
        with Classifier.load("demo", cache_dir=tmp_path / "store", device="cpu") as classifier:
            found = [
                one
                for part in classifier.embed_images(Finder([str(tmp_path / "list.csv")], opening=opening))
                for one in part
            ]
        assert [one.path for one in found if one.embedding] == [f"{tmp_path}/list.csv#{n}" for n in range(6)]
        sent.append(server.sent - before)
    assert sent == [6, 0]
    with place(f"{server.address}/good/x.tar", Opening(network=Network(per_host=1))).open() as stream:
        assert read(f"{server.address}/good/a.png", Network(per_host=1)), "what is open has no turn of its host"
        assert stream.read()


def test_a_host_has_no_more_requests_at_once_than_it_may_have(picture: bytes) -> None:
    with serve(picture) as server, ThreadPoolExecutor(12) as pool:
        network = Network(per_host=2)
        assert set(pool.map(lambda n: read(f"{server.address}/slow/{n}.png", network), range(12))) == {picture}
        assert server.most_at_once == 2


def test_what_is_larger_than_a_picture_is_a_stream(server: Server, picture: bytes) -> None:
    resumed = WebPlace(f"{server.address}/half/x.tar?Signature=s", QUICK)
    assert resumed.name == f"{server.address}/half/x.tar"
    assert resumed.open().read() == picture
    with place(f"{server.address}/good/x.zip").open_seekable() as stream:
        assert stream.seek(-10, io.SEEK_END) == len(picture) - 10
        assert stream.read() == picture[-10:]
        stream.seek(3)
        assert stream.read(50) == picture[3:53]
        stream.seek(0)
        assert stream.read() == picture
    stamp = place(f"{server.address}/good/x.zip").stamp()
    assert stamp is not None
    assert (stamp.size, stamp.version[:5]) == (len(picture), "etag:")
    assert place(f"{server.address}/missing/x.zip").stamp() is None
    with pytest.raises(ImageError, match="no such page"):
        place(f"{server.address}/missing/x.zip").open()
    with pytest.raises(ImageError, match="does not give parts"):
        place(f"{server.address}/undated/x.zip").open_seekable().read()
    with pytest.raises(InputError, match="`offline`"):
        place(f"{server.address}/good/x.zip", Opening(network=Network(offline=True)))


def test_a_server_that_closes_after_each_answer_is_read_to_its_end(tmp_path: Path) -> None:
    data = bytes(range(256)) * 4000
    (tmp_path / "large.bin").write_bytes(data)
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))  # HTTP/1.0, as `python -m http.server`
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            address = f"http://127.0.0.1:{server.server_port}/large.bin"
            assert read(address, Network()) == data
            with place(address).open() as stream:
                assert stream.read() == data
        finally:
            server.shutdown()


def test_a_proxy_is_used_as_the_environment_says(picture: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(picture) as proxy:
        monkeypatch.setenv("http_proxy", proxy.address.replace("//", "//user:pass@"))
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        with pytest.raises(ImageError, match="no such page"):  # this one takes the whole address for a path
            read("http://127.0.0.9/good/a.png")
        (path, headers) = proxy.asked[-1]
        assert (path, headers["Proxy-Authorization"]) == ("http://127.0.0.9/good/a.png", "Basic dXNlcjpwYXNz")
        with pytest.raises(ImageError, match="private network"):
            read("http://127.0.0.9/good/a.png", typed=False)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        with serve(picture) as server:
            assert read(f"{server.address}/good/a.png") == picture


def test_many_large_ones_are_received_one_at_a_time(picture: bytes) -> None:
    """So that memory does not grow with the number of readers."""
    import tracemalloc

    with serve(b"\x89PNG" + bytes(30_000_000)) as server, ThreadPoolExecutor(6) as pool:
        tracemalloc.start()
        sizes = pool.map(lambda n: len(read(f"{server.address}/undated/{n}.png", Network(total_seconds=60))), range(6))
        assert set(sizes) == {30_000_004}
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 6 * 30_000_000 * 1.7


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("https://user:pass@host/a.jpg", "https://host/a.jpg"),
        ("HTTPS://host/a.jpg?id=1", "https://host/a.jpg?id=1"),
        ("https://host/a.jpg?X-Amz-Signature=f&id=2&X-Amz-Expires=9#top", "https://host/a.jpg?id=2"),
        ("https://host/a.jpg?sv=1&se=2&sr=b&sp=r&sig=x", "https://host/a.jpg"),
        ("https://host/a.jpg?se=2", "https://host/a.jpg?se=2"),
        ("https://host/a.jpg?Expires=1&Signature=x&Key-Pair-Id=k&Policy=p", "https://host/a.jpg"),
        ("https://host/a.jpg?GoogleAccessId=a&w=640&AWSAccessKeyId=b", "https://host/a.jpg?w=640"),
        ("https://host?access_token=x", "https://host"),
        ("https://host/a.jpg?X%2DAmz%2DSignature=f", "https://host/a.jpg"),
        ("https://user:p%40ss@host:8443?a=b@c", "https://host:8443?a=b@c"),
        ("s3://key:secret@bucket/a@2x.jpg", "s3://bucket/a@2x.jpg"),
        ("s3://bucket/a?sig=part of the key.jpg", "s3://bucket/a?sig=part of the key.jpg"),
        ("hf://datasets/org/name@rev/a.jpg", "hf://datasets/org/name@rev/a.jpg"),
        ("photos/a.jpg?sig=1", "photos/a.jpg?sig=1"),
    ],
)
def test_no_secret_of_an_address_is_shown(address: str, name: str) -> None:
    assert shown(address) == name
    assert shown(name) == name


def test_what_is_an_address() -> None:
    assert all(map(is_address, ("s3://b/k", "HTTPS://h/", "hf://datasets/a/b", "gs://b", "az://c/k", "http://h")))
    assert not any(map(is_address, ("s3:/b", "photos/s3://b", "ftp://h/x", "C:\\a", "https:", "")))
    assert extension("https://h/a.TAR?x=.png") == ".tar"
    assert extension("s3://b/a.b/c?d.PNG") == ".png"
    assert extension("s3://b") == ""
    assert address_of(Path("s3://bucket/a/b.csv")) == "s3://bucket/a/b.csv"
    assert address_of(Path("s3/a.csv")) is None


def test_a_client_gives_up_at_its_deadline_whatever_comes(picture: bytes) -> None:
    """A byte now and then is no reason to go on, in headers neither; nor is a server that takes its time to say no."""
    with serve(picture) as server:
        done: list[float] = []

        def one(path: str) -> None:
            began = time.monotonic()
            with pytest.raises(ImageError):
                read(f"{server.address}/{path}/x.png", Network(total_seconds=0.5, pause_seconds=0.01, tries=50))
            done.append(time.monotonic() - began)

        threads = [threading.Thread(target=one, args=(path,)) for path in ("drip", "stall", "broken")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert len(done) == 3


def test_who_stops_early_waits_for_no_server(picture: bytes, tmp_path: Path) -> None:
    go_on, given_up = threading.Event(), list[str]()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            if "silent" in self.path and not go_on.wait(20):
                given_up.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(picture)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        names = [*(f"{address}/{number}.png" for number in range(20)), *(f"{address}/silent{n}.png" for n in range(20))]
        with Classifier.load("demo", cache_dir=tmp_path, device="cpu", batch_size=2) as classifier:
            found = classifier.embed_images(Finder(names))
            assert next(iter(found)).paths[0] == names[0]
            found.close()  # type: ignore[attr-defined]
        assert not given_up, "it was waited for"
        go_on.set()
        server.shutdown()
