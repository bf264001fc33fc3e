"""Weights: which ones are loaded, which are refused, and what they are known by."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from support import small_models as small

from zsclip import Classifier, ModelError
from zsclip.models import resolve


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
