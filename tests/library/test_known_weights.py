"""Weights: which ones are loaded, which are refused, and what they are known by."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import small_models as small

from zsclip import Classifier, ModelError, models
from zsclip.embedding.model import Model
from zsclip.errors import CalibrationError
from zsclip.models import resolve, weights
from zsclip.models.spec import ModelFacts
from zsclip.store import maintenance
from zsclip.store.database import FILENAME, Store
from zsclip.unit_vectors import Embedding, Quality


def _save_demo_as(folder: Path, changes: dict[str, dict[str, int]]) -> Path:
    """The demo model's weights under a configuration of which these values are changed."""
    source = Path(str(resolve("demo").checkpoint)).parent
    document = json.loads((source / "open_clip_config.json").read_text())
    for key, values in changes.items():
        document["model_cfg"][key].update(values)
    folder.mkdir()
    (folder / "open_clip_config.json").write_text(json.dumps(document))
    shutil.copy(source / "open_clip_model.safetensors", folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"vision_cfg": {"image_size": 96}},
            "are for images of 64 x 64 pixels, but the configuration says 96 x 96 pixels",
        ),
        ({"text_cfg": {"context_length": 77}}, "are for texts of 32 tokens, but the configuration says 77 tokens"),
    ],
)
def test_weights_of_another_image_size_or_context_length_are_refused(
    suffix: str, changes: dict[str, dict[str, int]], message: str, tmp_path: Path
) -> None:
    folder = _save_demo_as(tmp_path / "model", changes)
    if suffix == ".pt":
        import torch
        from safetensors.torch import load_file

        torch.save({"state_dict": load_file(folder / "open_clip_model.safetensors")}, folder / "weights.pt")
        (folder / "open_clip_model.safetensors").unlink()
    with pytest.raises(ModelError, match=message) as caught:
        Classifier.load(f"local-dir:{folder}", engine="torch", use_cache=False).embed_texts(["a"])
    assert "write their own `" in str(caught.value)


@pytest.mark.slow
def test_a_checkpoint_of_another_size_than_its_architecture_is_refused(
    vit_b32: Path, rn50: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    from zsclip.engines.torch.building import build

    with pytest.raises(ModelError, match="are for images of 224 x 224 pixels, but the configuration says 256 x 256"):
        build(resolve("ViT-B-32-256", str(vit_b32)), vit_b32)
    state = load_file(rn50)
    name = "visual.attnpool.positional_embedding"
    save_file({**state, name: state[name][:26].clone()}, tmp_path / "smaller.safetensors")
    with pytest.raises(ModelError, match="are for images of 160 x 160 pixels, but the configuration says 224 x 224"):
        build(resolve("RN50", str(tmp_path / "smaller.safetensors")), tmp_path / "smaller.safetensors")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_weights_of_another_size_in_transformers_format_are_refused(kind: str, tmp_path: Path) -> None:
    from zsclip.engines.torch.building import build

    small.save_transformers(kind, tmp_path)
    length = {"clip": 32, "siglip": 24}[kind]
    for tower, key, message in (
        ("vision_config", "image_size", "are for images of 64 x 64 pixels, but the configuration says 96 x 96 pixels"),
        ("text_config", "max_position_embeddings", f"are for texts of {length} tokens, but the configuration says 96"),
    ):
        document = json.loads((tmp_path / "config.json").read_text())
        document[tower][key] = 96
        (tmp_path / "other").mkdir(exist_ok=True)
        for file in tmp_path.glob("*.*"):
            shutil.copy(file, tmp_path / "other")
        (tmp_path / "other" / "config.json").write_text(json.dumps(document))
        pixels = (tmp_path / "other" / "preprocessor_config.json").read_text()
        if key == "image_size":
            (tmp_path / "other" / "preprocessor_config.json").write_text(pixels.replace("64", "96"))
        spec = resolve(f"local-dir:{tmp_path / 'other'}")
        with pytest.raises(ModelError, match=message):
            build(spec, Path(str(spec.checkpoint)))


def identity(path: Path, store: Path | None, **options: bool) -> str:
    """The key in the store of the demo model's architecture with the weights in that file."""
    demo = resolve("demo")
    with Store(store) as opened:
        return Model(replace(demo, checkpoint=path), opened, **options).identity


def save(path: Path, scale: float = 1.0) -> Path:
    """The demo model's weights, all of them times `scale`: of the same shapes, so that files are of one size."""
    import torch
    from safetensors.torch import load_file, save_file

    state = {name: tensor * scale for name, tensor in load_file(str(resolve("demo").checkpoint)).items()}
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        with path.open("wb") as file:  # by its path, a checkpoint would hold its name
            torch.save(state, file)
    return path


CHANGES: dict[str, Callable[[Path, Path], object]] = {
    "written over": lambda other, path: path.write_bytes(other.read_bytes()),
    "copied over with its time": lambda other, path: shutil.copy2(other, path),
    "moved into its place": lambda other, path: other.rename(path),
}


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize("change", CHANGES)
def test_weights_of_the_same_size_and_time_are_known_for_others(change: str, suffix: str, tmp_path: Path) -> None:
    path, other = save(tmp_path / f"one{suffix}"), save(tmp_path / f"other{suffix}", 1.25)
    status = path.stat()
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    before, expected = identity(path, tmp_path / "store"), identity(other, None)
    CHANGES[change](other, path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (status.st_size, status.st_mtime_ns)
    assert identity(path, tmp_path / "store") == expected != before


@pytest.mark.slow
def test_pictures_are_computed_again_when_a_checkpoint_was_rewritten_with_its_time_kept(
    red_star: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(Path(str(resolve("demo").checkpoint)).parent, folder)
    path = folder / "open_clip_model.safetensors"
    status = path.stat()

    def vector() -> np.ndarray:
        with Classifier.load(f"local-dir:{folder}", engine="torch", exact=True) as classifier:
            ((one,),) = classifier.embed_images([red_star])
            assert one.embedding is not None
            return one.embedding.vector

    before = vector()
    save(path, 1.25)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert abs(vector() - before).max() > 0.01


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_moved_copied_and_linked_weights_are_the_same(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"one{suffix}"
    demo = Path(str(resolve("demo").checkpoint)).read_bytes()
    path.write_bytes(demo if suffix == ".safetensors" else b"any")
    before = identity(path, tmp_path / "store")
    os.link(path, tmp_path / f"linked{suffix}")  # changes the inode's change time
    path.chmod(0o600)
    assert identity(path, tmp_path / "store") == before
    shutil.copyfile(path, tmp_path / f"copied{suffix}")
    path.rename(tmp_path / f"moved{suffix}")
    for name in ("linked", "copied", "moved"):
        assert identity(tmp_path / f"{name}{suffix}", tmp_path / "store") == before
        assert identity(tmp_path / f"{name}{suffix}", None) == before


@given(place=st.integers(0, 11), sizes=st.lists(st.integers(1, 30_000), min_size=1, max_size=4))
def test_a_change_of_any_tensors_beginning_middle_or_end_is_seen(place: int, sizes: list[int]) -> None:
    from safetensors.numpy import save_file

    tensors = {f"{n}": np.zeros(size, np.uint8) for n, size in enumerate(sizes)}
    with TemporaryDirectory() as folder:
        path = Path(folder) / "weights.safetensors"
        save_file(tensors, path)
        before = weights.fingerprint(path)
        changed = tensors[str(place % len(sizes))]
        changed[[0, len(changed) // 2, -1][place // 4]] = 1
        save_file(tensors, path)
        assert weights.fingerprint(path) != before
        assert weights.fingerprint(path).sample


@pytest.mark.parametrize("data", [b"", b"\xff" * 8, b"\2" + b"\0" * 7 + b"[]", b"\2" + b"\0" * 7 + b"{", b"x" * 100])
def test_what_only_is_called_safetensors_is_known_by_all_of_its_bytes(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(data)
    assert weights.fingerprint(path).key == f"sha256:{hashlib.sha256(data).hexdigest()}"


def kept_by_0_1(folder: Path, path: Path) -> str:
    """What 0.1 kept of weights as this version finds it: by size and time, under a digest of all bytes; one picture's vector."""
    digest = hashlib.sha256(path.read_bytes()).digest()
    former = resolve("demo").identity(f"sha256:{digest.hex()}")
    status = path.stat()
    with Store(folder) as store:
        store.put(former, {b"i" * 32: Embedding(np.eye(64, dtype=np.float32)[0], Quality.EXACT)})
        store.put_facts(former, ModelFacts(100.0, 0.0, 64))
    with sqlite3.connect(folder / FILENAME) as connection:
        connection.execute(
            "INSERT INTO weights (path, size, mtime_ns, digest) VALUES (?, ?, ?, ?)",
            (os.fsencode(path), status.st_size, status.st_mtime_ns, digest),
        )
    return former


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_what_0_1_kept_of_weights_is_taken_over_once(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"one{suffix}"
    path.write_bytes(Path(str(resolve("demo").checkpoint)).read_bytes())
    former = kept_by_0_1(tmp_path / "store", path)
    exports = tmp_path / "exports"
    (exports / f"demo-{models.short_identity(former)}-v4").mkdir(parents=True)
    with Store(tmp_path / "store") as store:
        model = Model(replace(resolve("demo"), checkpoint=path), store, exports=exports)
        assert set(store.get(model.identity, [b"i" * 32], 64, least=Quality.EXACT)) == {b"i" * 32}
        assert model.facts.logit_scale == 100
        assert model.former_identities == [former]
        assert [one.name for one in exports.iterdir()] == [f"demo-{models.short_identity(model.identity)}-v4"]
        assert len(maintenance.info(store).models) == 1
    assert model.identity == identity(path, None)  # what it is called does not depend on what was kept
    status = path.stat()
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x55")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert identity(path, tmp_path / "store") != model.identity


@pytest.mark.slow
def test_a_calibration_that_0_1_made_still_counts(tmp_path: Path) -> None:
    from zsclip.scoring.calibration import Binding, Calibration
    from zsclip.scoring.calibration import Quality as Measured
    from zsclip.scoring.rules import Rules
    from zsclip.text.labels import as_label_set
    from zsclip.text.prompts import as_prompt_sets

    labels, sets, good = as_label_set(["cat", "dog"]), as_prompt_sets("plain"), Measured(0.1, 0.1)
    whole = hashlib.sha256(Path(str(resolve("demo").checkpoint)).read_bytes()).hexdigest()
    with Classifier.load("demo") as classifier:
        for key, counts in ((f"sha256:{whole}", True), ("sha256:" + "0" * 64, False)):
            binding = Binding.of(resolve("demo").identity(key), labels, sets)
            calibration = Calibration(2.0, binding, "demo", "plain", 2, 10, 10, 0, good, good)
            if counts:
                assert classifier.calibrated(Rules(), calibration, labels, sets).temperature == 2
            else:
                with pytest.raises(CalibrationError, match="another model"):
                    classifier.calibrated(Rules(), calibration, labels, sets)
