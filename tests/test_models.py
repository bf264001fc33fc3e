"""Which model a name stands for: tags, files, folders; and messages where it stands for none."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from zsclip import ModelError, models, open_clip_data
from zsclip.models import resolve


def test_the_default_is_the_documented_one() -> None:
    spec = resolve()
    assert (spec.name, spec.pretrained) == ("ViT-B-32-256", "datacomp_s34b_b86k")
    assert spec.preprocessing.size == (256, 256)


@pytest.mark.parametrize("architecture", sorted(models.DEFAULT_TAGS))
def test_every_default_tag_is_a_tag_of_open_clips(architecture: str) -> None:
    spec = resolve(architecture)
    assert spec.pretrained in open_clip_data.pretrained_tags(architecture)


def test_a_tag_brings_its_activation_and_zsclip_says_so(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert resolve("ViT-B-32", "openai").quick_gelu
    assert "QuickGELU" in caplog.text
    assert not resolve("ViT-B-32", "laion2b_s34b_b79k").quick_gelu


def test_every_tag_that_was_trained_with_quickgelu_runs_with_it() -> None:
    """27 pairs stand under plain architecture names."""
    pairs = [
        (architecture, tag)
        for architecture in open_clip_data.architectures()
        if not open_clip_data.model_config(architecture).get("quick_gelu")  # type: ignore[union-attr]
        for tag, details in open_clip_data.pretrained_tags(architecture).items()
        if details.get("quick_gelu")
    ]
    assert len(pairs) == 27
    for architecture, tag in pairs:
        if not open_clip_data.model_config(architecture)["text_cfg"].get("hf_tokenizer_name"):  # type: ignore[index]
            assert resolve(architecture, tag).quick_gelu, (architecture, tag)


def test_the_same_weights_have_one_identity_under_both_names() -> None:
    plain, explicit = resolve("ViT-B-32", "openai"), resolve("ViT-B-32-quickgelu", "openai")
    assert plain.identity(str(plain.tag_key)) == explicit.identity(str(explicit.tag_key))
    other = resolve("ViT-B-32", "laion400m_e32")
    assert other.identity(str(other.tag_key)) != plain.identity(str(plain.tag_key))


def test_a_tag_may_be_spelt_with_dashes() -> None:
    assert resolve("ViT-B-32", "laion2b-s34b-b79k").pretrained == "laion2b_s34b_b79k"


def test_preprocessing_comes_from_the_tag(tmp_path: Path) -> None:
    assert resolve("MobileCLIP-S1").preprocessing.mean == (0.0, 0.0, 0.0)
    assert resolve("ViT-H-14", "dfn5b").preprocessing.interpolation == "bicubic"
    checkpoint = tmp_path / "fine-tuned.pt"
    checkpoint.touch()
    assert resolve("MobileCLIP-S1", str(checkpoint)).preprocessing.mean == (0.0, 0.0, 0.0)


def test_a_checkpoint_under_an_ambiguous_name_warns_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    checkpoint = tmp_path / "weights.pt"
    checkpoint.touch()
    resolve("ViT-B-32", str(checkpoint))
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "--model ViT-B-32-quickgelu" in caplog.text
    caplog.clear()
    resolve("ViT-B-32-quickgelu", str(checkpoint))
    resolve("ViT-B-32-256", str(checkpoint))  # has no such twin
    assert not caplog.records


@pytest.mark.parametrize(
    ("model", "pretrained", "message"),
    [
        ("ViT-B32", None, r"no architecture 'ViT-B32'. Did you mean ViT-B-32"),
        ("weights.pt", None, r"For a checkpoint file give the architecture too"),
        ("ViT-B-32", "no-such-tag", r"neither a file nor a tag of ViT-B-32. Its tags are: openai"),
        ("ViT-B-32-plus-256", None, r"needs --pretrained.*no published weights"),
        ("convnext_base_w", None, r"needs --pretrained.*Its tags are: laion2b_s13b_b82k"),
        ("coca_ViT-B-32", None, r"needs --pretrained.*Its tags are: laion2b_s13b_b90k"),
        ("demo", "openai", r"--model demo brings its own weights"),
        ("local-dir:/no/such", None, r"there is no folder"),
    ],
)
def test_what_cannot_be_resolved_says_why(model: str, pretrained: str | None, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        resolve(model, pretrained)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "no weights in"),
        ({"open_clip_model.safetensors": ""}, "there is no .*open_clip_config.json"),
        ({"open_clip_model.safetensors": "", "open_clip_config.json": "{"}, "cannot be read as JSON"),
        ({"model.safetensors": "", "open_clip_config.json": "{}"}, "has no mapping `model_cfg`"),
        ({"a.bin": "", "open_clip_config.json": '{"model_cfg": {"embed_dim": 8}}'}, "`model_cfg` has no `vision_cfg`"),
    ],
)
def test_a_folder_that_is_no_model_says_why(tmp_path: Path, files: dict[str, str], message: str) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(ModelError, match=message):
        resolve(f"local-dir:{tmp_path}")


def test_a_folders_own_preprocessing_is_read(tmp_path: Path) -> None:
    folder = Path(str(resolve("demo").checkpoint)).parent
    document = json.loads((folder / "open_clip_config.json").read_text())
    document["preprocess_cfg"] = {
        "mean": 0.25,
        "std": [0.1, 0.2, 0.3],
        "resize_mode": "squash",
        "interpolation": "bilinear",
    }
    (tmp_path / "open_clip_config.json").write_text(json.dumps(document))
    (tmp_path / "open_clip_model.safetensors").touch()
    wanted = resolve(f"local-dir:{tmp_path}").preprocessing
    assert (wanted.mean, wanted.std) == ((0.25, 0.25, 0.25), (0.1, 0.2, 0.3))
    assert (wanted.resize_mode, wanted.interpolation, wanted.size) == ("squash", "bilinear", (64, 64))


@pytest.mark.network
def test_weights_are_downloaded() -> None:
    assert models.fetch(resolve("hf-hub:timm/vit_base_patch32_clip_224.openai")).is_file()


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("text_cfg", [], "`text_cfg` must be a mapping"),
        ("vision_cfg", None, "`vision_cfg` must be a mapping"),
        ("image_size", "x", "`image_size` must be one or two numbers"),
        ("context_length", "x", "`context_length` must be a number above 2"),
        ("mean", "abc", "`mean` must be one or three numbers"),
        ("mean", [1, 2], "`mean` must be one or three numbers"),
        ("resize_mode", "stretch", "`resize_mode` must be one of shortest, longest, squash"),
    ],
)
def test_a_configuration_with_wrong_values_says_which(tmp_path: Path, key: str, value: object, message: str) -> None:
    folder = Path(str(resolve("demo").checkpoint)).parent
    document = json.loads((folder / "open_clip_config.json").read_text())
    homes = {"image_size": document["model_cfg"]["vision_cfg"], "context_length": document["model_cfg"]["text_cfg"]}
    homes |= dict.fromkeys(("text_cfg", "vision_cfg"), document["model_cfg"])
    homes.get(key, document["preprocess_cfg"])[key] = value
    (tmp_path / "open_clip_config.json").write_text(json.dumps(document))
    (tmp_path / "open_clip_model.safetensors").touch()
    with pytest.raises(ModelError, match=message):
        resolve(f"local-dir:{tmp_path}")


@pytest.mark.parametrize("name", ["hf-hub:foo bar", "hf-hub:", "hf-hub:a/b/c", "hf-hub:a"])
def test_a_name_that_is_no_repository_says_so(name: str) -> None:
    with pytest.raises(ModelError, match="is no repository of the hub"):
        resolve(name)
