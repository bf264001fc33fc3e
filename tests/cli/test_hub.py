"""Fetching, packing and doing without: a hub on this machine, and networks that are not there."""

from __future__ import annotations

import hashlib
import json
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from support import hub_server
from support import small_models as small
from support.cli import Cli
from support.processes import run_and_list_modules, run_zsclip

from zsclip import Classifier, ModelError, models
from zsclip.embedding.model import Model
from zsclip.models import resolve, weights
from zsclip.models.spec import ModelFacts
from zsclip.store.database import Store
from zsclip.unit_vectors import Embedding, Quality

pytestmark = pytest.mark.slow


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[hub_server.Hub]:
    """An empty hub, which this process and those it starts take for the hub; their cache is empty too."""
    (tmp_path / "hub").mkdir()
    with hub_server.serve(tmp_path / "hub") as hub:
        look_for_the_hub_at(hub.address, tmp_path / "home", monkeypatch)
        yield hub


def look_for_the_hub_at(address: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    for name, value in {"HF_ENDPOINT": address, "HF_HOME": str(home), "HF_HUB_OFFLINE": "0"}.items():
        monkeypatch.setenv(name, value)
    for name in ("TRANSFORMERS_OFFLINE", "HF_HUB_CACHE", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


# In a process of its own, as the hub's client reads its settings when it is imported.
zsclip = run_zsclip


def put_demo(hub: hub_server.Hub, repository: str) -> Path:
    folder = hub.root / repository
    shutil.copytree(Path(str(resolve("demo").checkpoint)).parent, folder)
    return folder


def test_a_model_with_a_tokenizer_of_its_own_is_fetched_and_packed_whole(
    hub: hub_server.Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its tokenizer is in a second repository, as SigLIP's may be; afterwards there is no hub any more."""
    import open_clip
    import torch

    config = small.family(
        "ViT-B-16-SigLIP",
        embed_dim=64,
        vision_cfg=small.timm_tower("vit_base_patch16_siglip_224", **small.TINY),
        text_cfg={"layers": 2, "hf_tokenizer_name": "org/tokenizer"},
    )
    theirs, _ = small.save_family(hub.root / "org" / "model", config, small.save_unigram, small.INCEPTION)
    (hub.root / "org" / "tokenizer").mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.move(hub.root / "org" / "model" / name, hub.root / "org" / "tokenizer" / name)
    (hub.root / "org" / "tokenizer" / "config.json").write_text("{}")

    run = zsclip("models", "pull", "hf-hub:org/model", "--to", tmp_path / "packed")
    assert run.returncode == 0, run.stderr
    assert f"--model local-dir:{tmp_path / 'packed'}" in run.stderr
    assert not run.stdout
    assert models.is_complete(resolve("hf-hub:org/model"))

    monkeypatch.setenv("HF_HOME", str(tmp_path / "another machine"))
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("asked the network"))
    name = f"local-dir:{tmp_path / 'packed'}"
    assert resolve(name).tokenizer.source == tmp_path / "packed"
    with torch.no_grad():
        expected = theirs.encode_text(open_clip.get_tokenizer(name)(small.TEXTS), normalize=True).numpy()
    for one in (name, "hf-hub:org/model"):  # packed, and from the cache
        with Classifier.load(one, exact=True, use_cache=False, engine="torch", offline=True) as classifier:
            assert np.abs(classifier.embed_texts(small.TEXTS) - expected).max() < 1e-5
            assert classifier.model.spec.preprocessing.resize_mode == "squash"
    reread, _, _ = open_clip.create_model_and_transforms(name)
    assert reread.logit_bias.item() == pytest.approx(-12.5)


def test_models_that_are_compared_are_all_fetched_before_the_first_is_run(
    hub: hub_server.Hub, tmp_path: Path, demo_folder: Path, rough_demo: str
) -> None:
    put_demo(hub, "org/one")
    for label in ("red star", "blue ring"):
        shutil.copytree(demo_folder / "scenes" / label, tmp_path / "labelled" / label)
    two = (
        "evaluate",
        tmp_path / "labelled",
        "-p",
        "plain",
        "-f",
        "csv",
        "-m",
        "hf-hub:org/one",
        "-m",
        "hf-hub:org/two",
    )
    run = zsclip(*two)
    assert (run.returncode, run.stdout) == (1, "")
    assert "error: hf-hub:org/two: there is no repository 'org/two' on the hub" in run.stderr
    assert "Fetching open_clip_model.safetensors" not in run.stderr  # nothing large for a run that cannot be
    shutil.copytree(rough_demo.removeprefix("local-dir:"), hub.root / "org" / "two")
    run = zsclip(*two)
    assert run.returncode == 0, run.stderr
    fetched = [run.stderr.index(f"Fetching open_clip_model.safetensors of org/{name}") for name in ("one", "two")]
    assert fetched[1] < run.stderr.index("hf-hub:org/one, model 1 of 2") < run.stderr.index("model 2 of 2")


def test_a_text_tower_of_transformers_is_packed_with_its_configuration(hub: hub_server.Hub, tmp_path: Path) -> None:
    tower = hub.root / "org" / "roberta"
    tower.mkdir(parents=True)
    (tower / "config.json").write_text(json.dumps(small.ROBERTA))
    text = {"hf_model_name": "org/roberta", "hf_tokenizer_name": "org/roberta"}
    config = small.family("roberta-ViT-B-32", vision_cfg={"layers": 1}, text_cfg=text)
    model = hub.root / "org" / "model"
    model.mkdir()
    shutil.copy(tower / "config.json", model / "config.json")
    small.save_family(model, config, small.save_bytes)
    for path in model.iterdir():
        if path.name.startswith(("tokenizer", "special", "config")):
            shutil.move(path, tower / path.name)
    models.pack(resolve("hf-hub:org/model"), tmp_path / "packed")
    shutil.rmtree(hub.root / "org")
    with Classifier.load(f"local-dir:{tmp_path / 'packed'}", use_cache=False, engine="torch") as classifier:
        assert classifier.embed_texts(["a cat"]).shape == (1, 512)


def test_a_repository_in_transformers_format_is_fetched_and_packed(hub: hub_server.Hub, tmp_path: Path) -> None:
    (hub.root / "org" / "clip").mkdir(parents=True)
    small.save_transformers("clip", hub.root / "org" / "clip")
    (hub.root / "org" / "clip" / "notes.md").touch()
    spec = resolve("hf-hub:org/clip")
    assert spec.layout == "clip"
    models.pack(spec, tmp_path / "packed")
    assert {"config.json", "model.safetensors", "preprocessor_config.json", "tokenizer.json"} <= {
        path.name for path in (tmp_path / "packed").iterdir()
    }
    vectors = []
    for name in ("hf-hub:org/clip", f"local-dir:{tmp_path / 'packed'}"):
        with Classifier.load(name, use_cache=False, engine="torch") as classifier:
            vectors.append(classifier.embed_texts(small.TEXTS))
    np.testing.assert_array_equal(*vectors)


@pytest.mark.parametrize("name", ["demo", "ViT-B-32"])
def test_what_is_here_already_can_be_packed(name: str, tmp_path: Path, vit_b32: Path) -> None:
    spec = resolve(name, str(vit_b32) if name == "ViT-B-32" else None)
    models.pack(spec, tmp_path / "packed")
    packed = resolve(f"local-dir:{tmp_path / 'packed'}")
    assert packed.preprocessing == spec.preprocessing
    assert packed.tokenizer == spec.tokenizer
    assert packed.config["vision_cfg"] == spec.config["vision_cfg"]
    with pytest.raises(ModelError, match="is there already"):
        models.pack(spec, tmp_path / "packed")


def test_a_download_that_breaks_off_is_not_taken_for_whole(hub: hub_server.Hub) -> None:
    source = put_demo(hub, "org/demo") / "open_clip_model.safetensors"
    hub.breaks_off_at = 100_000
    run = zsclip("models", "pull", "hf-hub:org/demo", "-q")
    assert run.returncode == 1
    assert "the download of open_clip_model.safetensors from org/demo failed" in run.stderr
    assert "Traceback" not in run.stderr
    assert models.on_disk(resolve("hf-hub:org/demo")) is None
    hub.breaks_off_at = None
    assert "it goes on where it stopped" in run.stderr
    assert zsclip("models", "pull", "hf-hub:org/demo").returncode == 0
    found = models.on_disk(resolve("hf-hub:org/demo"))
    assert found is not None
    assert hashlib.sha256(found.read_bytes()).digest() == hashlib.sha256(source.read_bytes()).digest()


def test_a_download_that_broke_off_goes_on_where_it_stopped(
    hub: hub_server.Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 40_000)  # the client keeps whole chunks, as a rule of 10 MB
    source = put_demo(hub, "org/demo") / "open_clip_model.safetensors"
    hub.breaks_off_at = 100_000
    with pytest.raises(ModelError, match="it goes on where it stopped"):
        models.fetch(resolve("hf-hub:org/demo"))
    hub.breaks_off_at = None
    hub.ranges.clear()
    assert models.fetch(resolve("hf-hub:org/demo")).read_bytes() == source.read_bytes()
    assert hub.ranges == ["bytes=80000-"]


def test_what_arrived_of_another_file_is_not_taken(hub: hub_server.Hub, tmp_path: Path) -> None:
    source = put_demo(hub, "org/demo") / "open_clip_model.safetensors"
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    blobs = tmp_path / "home" / "hub" / "models--org--demo" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / f"{digest}.zsclip.incomplete").write_bytes(b"x" * 1000)
    with pytest.raises(ModelError, match="what arrived is not what the hub names by its SHA-256"):
        models.fetch(resolve("hf-hub:org/demo"))
    assert models.fetch(resolve("hf-hub:org/demo")).read_bytes() == source.read_bytes()  # from the beginning


@pytest.mark.parametrize(("seconds", "code"), [("", 1), ("20", 0)])
def test_a_slow_hub_gets_the_time_that_hugging_faces_variable_says(
    seconds: str, code: int, hub: hub_server.Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_demo(hub, "org/demo")
    hub.slow = 6.0
    monkeypatch.delenv("HF_HUB_ETAG_TIMEOUT", raising=False)
    if seconds:
        monkeypatch.setenv("HF_HUB_ETAG_TIMEOUT", seconds)
    run = zsclip("models", "pull", "hf-hub:org/demo")
    assert run.returncode == code, run.stderr
    assert ("HF_HUB_ETAG_TIMEOUT gives it more" in run.stderr) == (code == 1)


@pytest.mark.parametrize("safe", [True, False])
def test_weights_in_several_files_are_fetched_known_and_packed(safe: bool, hub: hub_server.Hub, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    folder = hub.root / "org" / "clip"
    folder.mkdir(parents=True)
    small.save_transformers("clip", folder)
    with Classifier.load(f"local-dir:{folder}", use_cache=False, engine="torch") as classifier:
        expected = classifier.embed_texts(small.TEXTS)
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    stem, ending = ("model", "safetensors") if safe else ("pytorch_model", "bin")
    names = [f"{stem}-0000{n}-of-00002.{ending}" for n in (1, 2)]
    homes = {name: names[n % 2] for n, name in enumerate(state)}
    for file in names:
        part = {name: state[name] for name, home in homes.items() if home == file}
        save_file(part, folder / file) if safe else torch.save(part, folder / file)
    (folder / f"{stem}.{ending}.index.json").write_text(json.dumps({"weight_map": homes}))
    models.pack(resolve("hf-hub:org/clip"), tmp_path / "packed")
    found = {}
    for name in (f"local-dir:{folder}", "hf-hub:org/clip", f"local-dir:{tmp_path / 'packed'}"):
        with Classifier.load(name, engine="torch") as classifier:
            assert np.array_equal(classifier.embed_texts(small.TEXTS), expected)
            found[name] = json.loads(classifier.model.identity)["weights"]
    assert len(set(found.values())) == 1
    assert next(iter(found.values())).startswith("sample:" if safe else "sha256:")
    with (tmp_path / "packed" / names[1]).open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x55")
    with Classifier.load(f"local-dir:{tmp_path / 'packed'}", engine="torch") as classifier:
        assert json.loads(classifier.model.identity)["weights"] not in found.values()
    (tmp_path / "packed" / names[0]).unlink()
    with pytest.raises(ModelError, match=f"{names[0]}"):
        Classifier.load(f"local-dir:{tmp_path / 'packed'}", engine="torch").embed_texts(["a"])


def test_a_packed_folder_appears_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(ModelError, match=r"packed cannot be written: No space left on device"):
        models.pack(resolve("demo"), tmp_path / "packed")
    assert not list(tmp_path.iterdir())


def test_a_repository_that_is_not_there_says_so(hub: hub_server.Hub) -> None:
    with pytest.raises(ModelError, match=r"there is no repository 'org/none' on the hub"):
        resolve("hf-hub:org/none")
    (hub.root / "org" / "empty").mkdir(parents=True)
    with pytest.raises(ModelError, match=r"the repository org/empty has no config.json"):
        resolve("hf-hub:org/empty")


def assert_says_soon_what_to_do(message: str) -> None:
    started = time.monotonic()
    with pytest.raises(ModelError, match=message) as caught:
        models.fetch(resolve("ViT-B-16", "openai"))
    assert time.monotonic() - started < 10
    for remedy in ("zsclip models pull ViT-B-16 openai --to DIR", "`pretrained=FILE`", "`model=demo`"):
        assert remedy in str(caught.value)


def test_a_revision_of_a_repository_is_a_model_of_its_own(
    hub: hub_server.Hub, red_star: Path, sharp_demo: Path, cli: Cli
) -> None:
    """By branch or tag and by commit; with open_clip's format and transformers'."""
    put_demo(hub, "org/demo")
    shutil.copytree(sharp_demo, hub.root / "org" / "demo@v1")
    (hub.root / "org" / "clip").mkdir(parents=True)
    small.save_transformers("clip", hub.root / "org" / "clip@v1")
    scales = {}
    for name in ("org/demo", "org/demo@v1", f"org/demo@{hub_server.commit('v1')}", "org/clip@v1"):
        with Classifier.load(f"hf-hub:{name}", engine="torch", use_cache=False) as classifier:
            scales[name] = round(classifier.model.facts.logit_scale)
    assert list(scales.values())[1:] == [100, 100, 100]
    assert scales["org/demo"] != 100
    shown = cli("models", "show", "hf-hub:org/demo@v1", "--engine", "torch").out
    assert f"revision       {hub_server.commit('v1')}\n" in shown
    assert "digest         sample:" in shown
    assert not any("tokenizer" in asked and "resolve/main" in asked and "clip" in asked for asked in hub.asked)
    with pytest.raises(
        ModelError, match=r"the repository org/demo has no revision 'v2'. After the @ comes a branch, a tag"
    ):
        resolve("hf-hub:org/demo@v2")
    run = cli("models", "pull", "hf-hub:org/demo@v3", "--offline")
    assert "zsclip models pull hf-hub:org/demo@v3 --to DIR" in run.err


def test_known_pictures_need_neither_the_hub_nor_the_weights(
    hub: hub_server.Hub, red_star: Path, tmp_path: Path, sharp_demo: Path
) -> None:
    put_demo(hub, "org/demo")
    command = ["classify", red_star, "-m", "hf-hub:org/demo", "--engine", "torch", "-f", "csv"]
    command += ["-l", "red star,blue circle", "--temperature", "30"]
    first = zsclip(*command)
    assert first.returncode == 0, first.stderr
    blobs = tmp_path / "home" / "hub" / "models--org--demo" / "blobs"
    large = max(blobs.iterdir(), key=lambda path: path.stat().st_size)
    large.unlink()  # the configuration stays
    hub.asked.clear()
    again, imported = run_and_list_modules(*command)
    assert again.stdout == first.stdout
    assert not hub.asked
    assert "torch" not in imported
    shutil.copy(sharp_demo / "open_clip_model.safetensors", hub.root / "org" / "demo")
    new = zsclip(*command, "--template", "<label> <label>")  # other weights are fetched: nothing is mixed
    assert new.returncode == 1
    assert "are others than those that its vectors in the store were made with" in new.stderr
    last = zsclip(*command)
    assert last.returncode == 0, last.stderr
    assert last.stdout != first.stdout


def test_a_tag_is_known_by_its_file_and_what_0_1_kept_under_its_name_is_taken_over(
    hub: hub_server.Hub, tmp_path: Path
) -> None:
    spec = resolve("ViT-B-32", "openai")
    repository, filename = str(spec.remote["hf_hub"]).rpartition("/")[::2]
    (hub.root / repository).mkdir(parents=True)
    published = hub.root / repository / (filename or "open_clip_model.safetensors")
    key, former = (
        {b"i" * 32: Embedding(np.eye(512, dtype=np.float32)[0], Quality.EXACT)},
        spec.identity(str(spec.tag_key)),
    )
    with Store(tmp_path / "store") as store:
        store.put(former, key)
        store.put_facts(former, ModelFacts(100.0, 0.0, 512))
        assert Model(spec, store).identity == former  # nothing is on this machine, and all is known
        assert not hub.asked
        identities = []
        for number in range(2):
            save_file({"a": np.full(9, number)}, published)
            shutil.rmtree(tmp_path / "home" / "hub", ignore_errors=True)
            model = Model(spec, store)
            models.fetch(spec)
            identities.append(model.identity)
            assert set(store.get(model.identity, list(key), 512, least=Quality.EXACT)) == (
                set(key) if number == 0 else set()
            )
            shutil.rmtree(tmp_path / "home" / "hub")
            assert Model(spec, store).known_identity() == model.identity  # as it was when it was last here
        assert identities[0] != identities[1]


def test_a_pickle_from_the_hub_is_known_by_the_name_that_the_cache_gives_it(
    hub: hub_server.Hub, tmp_path: Path
) -> None:
    folder = put_demo(hub, "org/demo")
    (folder / "open_clip_model.safetensors").rename(folder / "open_clip_pytorch_model.bin")
    digest = hashlib.sha256((folder / "open_clip_pytorch_model.bin").read_bytes()).digest()
    path = models.fetch(resolve("hf-hub:org/demo"))
    assert weights.fingerprint(path) == weights.Fingerprint(whole=digest)
    assert weights.revision(path) == hub_server.commit()
    path.resolve().write_bytes(b"")  # it is not read
    assert weights.fingerprint(path) == weights.Fingerprint(whole=digest)


def test_without_a_network_a_download_fails_soon_and_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    look_for_the_hub_at("http://hub.invalid", tmp_path, monkeypatch)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert_says_soon_what_to_do(r"ViT-B-16 \(openai\): its weights .* not on this machine.*name resolution")


def test_a_resolver_that_never_answers_does_not_hold_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    look_for_the_hub_at("http://hub.invalid", tmp_path, monkeypatch)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(15))
    assert_says_soon_what_to_do("no answer within 5 seconds")


def test_a_host_that_accepts_and_never_answers_does_not_hold_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        look_for_the_hub_at(f"http://127.0.0.1:{listener.getsockname()[1]}", tmp_path, monkeypatch)
        assert_says_soon_what_to_do("cannot be reached")


def test_dropped_packets_do_not_hold_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A listener whose queue is full: what asks for a connection gets no answer at all."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        address = listener.getsockname()
        waiting = []
        for _ in range(3):
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex(address)
            waiting.append(one)
        try:
            look_for_the_hub_at(f"http://127.0.0.1:{address[1]}", tmp_path, monkeypatch)
            assert_says_soon_what_to_do("cannot be reached")
        finally:
            for one in waiting:
                one.close()


def test_told_to_stay_offline_it_asks_nothing(hub: hub_server.Hub, cli: Cli, demo_folder: Path) -> None:
    put_demo(hub, "org/demo")
    run = cli("models", "pull", "hf-hub:org/demo", "--offline")
    assert run.code == 1
    assert "not to be used (--offline or HF_HUB_OFFLINE)" in run.err
    scenes = demo_folder / "scenes" / "red star"
    run = cli("classify", scenes, "-l", "cat,dog", "-m", "ViT-B-16-SigLIP", "--offline")
    assert run.code == 1
    assert "ViT-B-16-SigLIP (webli): its weights and its tokenizer's files" in run.err
    assert not hub.asked
    assert cli("models", "pull", "hf-hub:org/demo").code == 0  # the next run in this process may


def test_weights_without_their_tokenizer_say_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    (tmp_path / "weights.pt").touch()
    with pytest.raises(
        ModelError, match=r"its tokenizer's files \(tokenizer.json of timm/ViT-B-16-SigLIP\) are not on"
    ):
        models.fetch(resolve("ViT-B-16-SigLIP", str(tmp_path / "weights.pt")))
