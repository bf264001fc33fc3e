"""Pictures in buckets, from moto's S3 on this machine and from a server that answers with errors."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from support import other_clouds, s3_server
from support.s3_server import Bucket

from zsclip import Classifier
from zsclip.errors import ImageError, InputError
from zsclip.images.folders import Search
from zsclip.images.item import Item
from zsclip.images.opening import Opening
from zsclip.images.places import picture_at, place
from zsclip.images.remote import buckets, credentials
from zsclip.images.remote.settings import Network
from zsclip.images.sources import Finder

pytest.importorskip("obstore")
pytest.importorskip("moto")

QUICK = Network(total_seconds=0.8, silence_seconds=0.3, pause_seconds=0.01)


@pytest.fixture(scope="module")
def bucket(demo_folder: Path) -> Iterator[Bucket]:
    with pytest.MonkeyPatch.context() as patch, s3_server.serve(patch) as bucket:
        for number, path in enumerate(sorted((demo_folder / "scenes").rglob("*.png"))[:24]):
            bucket.put(f"2024/{number % 2}/{number:02} ü#?%41+.png", path.read_bytes())
        for key in ("2024/notes.txt", "2024/.cache/a.png", "2024/.b.png", "2024/@eaDir/c.png", "2024x/d.png"):
            bucket.put(key, b"x")
        bucket.put("2024/", b"")
        bucket.put("broken/a.png", b"no picture")
        yield bucket


def names(*addresses: str, search: Search | None = None) -> tuple[list[str], str]:
    finder = Finder(addresses, search or Search())
    return [one.name for one in finder], str(finder.passed_over)


def test_a_prefix_leads_to_the_pictures_a_folder_would(bucket: Bucket) -> None:
    found, passed_over = names("s3://pictures/2024/")
    keys = [key for key in bucket.listed() if key.startswith(("2024/0/", "2024/1/"))]
    assert found == [f"s3://pictures/{key}" for key in keys]
    assert len(found) == 24
    assert passed_over.startswith("passed over 1 other file (1 .txt), 1 hidden file, 1 hidden folder, 1 system folder")
    assert names("s3://pictures/2024")[0] == found
    assert len(names("s3://pictures/2024/", search=Search(hidden=True))[0]) == 27
    assert names("s3://pictures/2024/", search=Search(recursive=False))[0] == []
    assert len(names("s3://pictures")[0]) == 26
    assert names("s3://pictures/nothing/")[0] == []
    assert names("s3://pictures/nothing")[0] == ["s3://pictures/nothing"]  # whose row will say so
    assert names(*found[:2])[0] == found[:2]


def embed(images: object, cache: Path) -> tuple[list[tuple[str, str | None]], dict[str, bytes], Classifier]:
    with Classifier.load("demo", cache_dir=cache, device="cpu") as classifier:
        found = [one for batch in classifier.embed_images(images) for one in batch]  # type: ignore[arg-type]
    vectors = {one.path.rpartition("/")[2]: one.embedding.vector.tobytes() for one in found if one.embedding}
    return [(one.path, one.error) for one in found], vectors, classifier


def test_a_bucket_gives_the_vectors_of_the_same_files_and_is_read_once(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in (keys := [key for key in bucket.listed() if key.startswith(("2024/0/", "2024/1/"))]):
        (tmp_path / key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / key).write_bytes(bucket.get(key))
    files = embed([str(tmp_path / key) for key in keys], tmp_path / "files")
    first = embed(iter(Finder(["s3://pictures/2024/"])), tmp_path / "store")
    assert first[1].keys() == files[1].keys()
    for name, vector in files[1].items():  # batches are others, and so is the order of their sums
        np.testing.assert_allclose(np.frombuffer(first[1][name], "<f4"), np.frombuffer(vector, "<f4"), atol=1e-5)
    read: list[str] = []
    real = buckets.Bucket.get
    monkeypatch.setattr(
        buckets.Bucket, "get", lambda self, store, key, **how: read.append(key) or real(self, store, key, **how)
    )
    second = embed(iter(Finder(["s3://pictures/2024/"])), tmp_path / "store")
    assert (second[0], second[1], read) == (first[0], first[1], [])
    assert (second[2].counts.found, second[2].counts.computed) == (24, 0)
    one_by_one = embed(
        [f"s3://pictures/{keys[0]}", "s3://pictures/gone.png", "s3://pictures/broken/a.png"], tmp_path / "store"
    )
    assert [error for _, error in one_by_one[0]] == [
        None,
        "there is no such object",
        "not an image in a format that is known here",
    ]
    assert one_by_one[2].counts.found == 1  # the server said that it is as it was
    bucket.put(keys[0], bucket.get(keys[1]))
    changed = embed(iter(Finder(["s3://pictures/2024/"])), tmp_path / "store")
    assert changed[2].counts.computed == 0  # the other's bytes
    name = keys[0].rpartition("/")[2]
    assert changed[1][name] == first[1][keys[1].rpartition("/")[2]] != first[1][name]


def test_a_key_that_cannot_be_asked_for_is_named(bucket: Bucket) -> None:
    for key in ("odd/a//b.png", "odd/../c.png"):
        bucket.put(key, b"x")
        with pytest.raises(InputError) as caught:
            names("s3://pictures/odd/")
        assert key in str(caught.value)
        bucket.client.delete_object(Bucket="pictures", Key=key)


def test_an_object_is_a_stream_in_one_version(bucket: Bucket) -> None:
    data = bytes(range(256)) * 20_000
    bucket.put("big/x.tar", data)
    opened = place("s3://pictures/big/x.tar")
    assert opened.name == "s3://pictures/big/x.tar"
    with opened.open() as stream:
        assert stream.read(5) == data[:5]
        assert stream.read() == data[5:]
    with opened.open_seekable() as stream:
        assert stream.seek(-7, io.SEEK_END) == len(data) - 7
        assert stream.read(100) == data[-7:]
        for start, size in ((0, 10), (1_048_570, 20), (5, 2_500_000), (1_048_576, 1)):
            stream.seek(start)
            assert stream.read(size) == data[start : start + size]
        stamp = opened.stamp()
        bucket.put("big/x.tar", data[::-1])
        stream.seek(3_500_000)
        with pytest.raises(ImageError, match="changed while it was read"):
            stream.read(1)
    assert opened.stamp() != stamp
    with pytest.raises(ImageError, match="no such object"):
        place("s3://pictures/gone.tar").open()


@pytest.mark.parametrize(
    ("code", "kind", "said"),
    [
        ("404-NoSuchKey", "not_found", "there is no such object"),
        ("404-NoSuchBucket", "not_found", "there is no such bucket; check its name"),
        ("403-AccessDenied", "denied", "access is denied; if it is public, try `sign_requests`"),
        (
            "403-InvalidAccessKeyId",
            "denied",
            "the access key is not known there; check AWS_ACCESS_KEY_ID or AWS_PROFILE",
        ),
        ("403-SignatureDoesNotMatch", "denied", "the secret key is wrong; check AWS_SECRET_ACCESS_KEY"),
        ("400-ExpiredToken", "denied", "the session token has expired; log in again"),
        ("403-RequestTimeTooSkewed", "denied", "this machine's clock is wrong"),
        ("400-AuthorizationHeaderMalformed", "other", "the bucket is in another region; set AWS_REGION=eu-west-3"),
        ("301-PermanentRedirect", "other", "the bucket is in another region; set AWS_REGION to it"),
        ("503-SlowDown", "network", "the server is asked too often"),
        ("500-InternalError", "network", "the server cannot answer now (HTTP 500)"),
        ("stall", "timeout", "the server takes too long"),
    ],
)
def test_what_a_server_refuses_says_which_and_what_to_do(
    code: str, kind: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with s3_server.serve_faults(monkeypatch):
        item = buckets.BucketPicture.at(f"s3://bucket/{code}.png", QUICK)
        with pytest.raises(ImageError) as caught:
            item.read(10**9)
        assert said in str(caught.value)
        assert caught.value.kind == kind
        assert "secret-message" not in str(caught.value)
        with pytest.raises(InputError) as whole:
            list(Finder([f"s3://{code.lower()}/2024/"], opening=Opening(network=QUICK)))
        assert whole.value.where == f"s3://{code.lower()}/2024/"


def test_without_keys_nobody_is_asked_for_any(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine's metadata would be asked for a role; here its address is this machine's, should anything ask."""
    with s3_server.serve_faults(monkeypatch) as asked:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_EC2_METADATA_DISABLED"):
            monkeypatch.delenv(name)
        endpoint = __import__("os").environ["AWS_ENDPOINT_URL"]
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", endpoint)
        monkeypatch.setenv("AWS_METADATA_ENDPOINT", endpoint)
        with pytest.raises(ImageError, match="access is denied; no keys were found; set them or AWS_PROFILE"):
            buckets.BucketPicture.at("s3://bucket/403-x.png", QUICK).read(10**9)
        assert asked == ["/bucket/403-x.png unsigned"]
        (tmp_path / "profiles").write_text(
            "[work]\naws_access_key_id = a\naws_secret_access_key = b\nregion = eu-north-1\n"
        )
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "profiles"))
        monkeypatch.setenv("AWS_PROFILE", "work")
        with pytest.raises(ImageError, match="if it is public"):
            buckets.BucketPicture.at("s3://bucket/403-y.png", QUICK).read(10**9)
        with pytest.raises(ImageError, match="no keys were found"):
            buckets.BucketPicture.at("s3://bucket/403-y.png", Network(sign_requests=False, tries=1)).read(10**9)
        assert [one.split()[1] for one in asked[1:]] == ["AWS4-HMAC-SHA256", "unsigned"]
        monkeypatch.setenv("AWS_PROFILE", "other")
        with pytest.raises(InputError, match=r"AWS_PROFILE=other cannot be had \(ProfileNotFound\)"):
            buckets.BucketPicture.at("s3://bucket/403-z.png", QUICK)
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "AZURE_STORAGE_ACCOUNT_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
    monkeypatch.setenv("AZURE_CLIENT_ID", "alone it means a machine's identity")
    assert credentials.OF["gs"](True) == (False, {"skip_signature": True})
    assert credentials.OF["az"](True)[0] is False


def test_addresses_that_cannot_be_opened_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    for address, said in (("az://c/k.png", "Set AZURE_STORAGE_ACCOUNT_NAME"), ("s3:///k.png", "without a bucket")):
        with pytest.raises(InputError, match=said):
            list(Finder([address]))
        row = picture_at(address, "row 1", Opening())
        assert row.name == "row 1"
        with pytest.raises(ImageError, match=said):
            row.read(10**9)
    monkeypatch.setitem(__import__("sys").modules, "obstore.store", None)
    with pytest.raises(InputError, match=r"pip install 'zsclip\[remote\]'"):
        list(Finder(["s3://bucket/a.png"]))
    offline: Item = picture_at("s3://bucket/a.png", "", Opening(network=Network(offline=True)))
    with pytest.raises(ImageError, match="`offline`"):
        offline.read(10**9)


@pytest.mark.parametrize("scheme", ["gs", "az"])
def test_buckets_of_google_and_azure_give_the_rows_of_a_folder_and_are_not_read_again(
    scheme: str, red_star: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        (folder / name).write_bytes(red_star.read_bytes())
    (folder / "b.png").write_bytes(red_star.read_bytes() + b"more")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.add(folder / "a.png", "in/a.png")
    objects = {f"2024/{path.name}": path.read_bytes() for path in sorted(folder.iterdir())}
    objects |= {"2024/notes.txt": b"x", "x.tar": packed.getvalue()}

    def run(*paths: str) -> tuple[dict[str, bytes], list[str], Classifier]:
        with Classifier.load("demo", cache_dir=tmp_path / "store", device="cpu") as classifier:
            found = [one for part in classifier.embed_images(Finder(paths)) for one in part]
        vectors = {one.path: one.embedding.vector.tobytes() for one in found if one.embedding}
        return vectors, [one.error for one in found if one.error], classifier

    with Classifier.load("demo", cache_dir=tmp_path / "other", device="cpu") as classifier:
        files = [one for part in classifier.embed_images(Finder([str(folder)])) for one in part]
    expected = {
        f"{scheme}://pictures/2024/{Path(one.path).name}": one.embedding.vector.tobytes()
        for one in files
        if one.embedding
    }
    with other_clouds.serve(monkeypatch, objects) as asked:
        address = f"{scheme}://pictures/2024/"
        assert run(address)[:2] == (expected, [])
        assert sorted(asked) == [*(f"GET {scheme} 2024/{name}" for name in ("a.png", "b.png")), f"GET {scheme} listing"]
        asked.clear()
        again, _, classifier = run(address)
        assert (again, classifier.counts.found, asked) == (expected, 2, [f"GET {scheme} listing"])
        single = f"{scheme}://pictures/2024/b.png"
        assert run(single)[0] == {single: expected[single]}
        assert list(run(f"{scheme}://pictures/x.tar")[0]) == [f"{scheme}://pictures/x.tar/in/a.png"]
        assert run(f"{scheme}://pictures/none.png")[1] == ["there is no such object"]
        with pytest.raises(InputError, match="there is no such bucket"):
            run(f"{scheme}://others/")
