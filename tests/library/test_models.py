"""Which model a name stands for: tags, files, folders; and messages where it stands for none."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from support.cli import Cli, rows_of

from zsclip import ModelError, models
from zsclip.models import brings_weights, open_clip_data, resolve, weights


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


QUICKGELU = [
    (architecture, tag)
    for architecture in open_clip_data.architectures()
    if not (open_clip_data.model_config(architecture) or {}).get("quick_gelu")
    for tag, details in open_clip_data.pretrained_tags(architecture).items()
    if details.get("quick_gelu")
]


def test_27_pairs_stand_under_plain_names_and_want_quickgelu() -> None:
    assert len(QUICKGELU) == 27


@pytest.mark.slow
@pytest.mark.parametrize(("architecture", "tag"), QUICKGELU)
def test_every_tag_that_was_trained_with_quickgelu_is_built_with_it(architecture: str, tag: str) -> None:
    """On torch's meta device: shapes without numbers. Where open_clip has an architecture for QuickGELU, it is that one."""
    import torch

    from zsclip.engines.torch.building import module

    with torch.device("meta"):
        model = module(resolve(architecture, tag))
    blocks = [*getattr(model, "text", model).transformer.resblocks, *_native_blocks(model.visual)]
    assert {type(block.mlp.gelu).__name__ for block in blocks} == {"QuickGELU"}
    explicit = open_clip_data.model_config(f"{architecture}-quickgelu")
    assert explicit is None or dict(resolve(architecture, tag).config) == dict(explicit)


def _native_blocks(visual: Any) -> list[Any]:
    transformer = getattr(visual, "transformer", None)
    return [] if transformer is None else list(transformer.resblocks)


@pytest.mark.slow
def test_every_tag_of_every_architecture_is_resolved_as_open_clip_does() -> None:
    """Preprocessing, tokenizer and context length of all of them, against what open_clip would make of the same names."""
    import open_clip
    from open_clip.transform import PreprocessCfg, merge_preprocess_dict

    for architecture, tag in open_clip.list_pretrained():
        spec, config = resolve(architecture, tag), open_clip.get_model_config(architecture)
        theirs = merge_preprocess_dict(PreprocessCfg(), open_clip.get_pretrained_cfg(architecture, tag))
        ours = spec.preprocessing
        assert (ours.mean, ours.std) == (tuple(theirs["mean"]), tuple(theirs["std"])), architecture
        assert (ours.resize_mode, ours.interpolation) == (theirs["resize_mode"], theirs["interpolation"]), architecture
        text = config["text_cfg"]
        assert spec.tokenizer.context_length == text.get("context_length", 77)
        assert (spec.tokenizer.source or None) == text.get("hf_tokenizer_name")
        wanted = {
            "clean": "whitespace" if spec.tokenizer.kind == "hf" else "lower",
            **(text.get("tokenizer_kwargs") or {}),
        }
        assert spec.tokenizer.clean == wanted["clean"], architecture
        assert spec.tokenizer.strip_sep_token is wanted.get("strip_sep_token", False), architecture
        assert set(wanted) <= {"clean", "strip_sep_token"}, "an argument that open_clip's configurations did not have"


def test_siglip_without_a_tokenizer_of_its_own_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """open_clip would take another tokenizer without a word."""
    config = {**(open_clip_data.model_config("ViT-B-16-SigLIP") or {})}
    config["text_cfg"] = {key: value for key, value in config["text_cfg"].items() if key != "hf_tokenizer_name"}
    monkeypatch.setattr(open_clip_data, "model_config", lambda _: config)
    with pytest.raises(ModelError, match="names no tokenizer, and the CLIP tokenizer is not SigLIP's"):
        resolve("ViT-B-16-SigLIP", "webli")


def test_the_same_weights_have_one_identity_under_both_names() -> None:
    plain, explicit = resolve("ViT-B-32", "openai"), resolve("ViT-B-32-quickgelu", "openai")
    assert plain.identity(str(plain.tag_key)) == explicit.identity(str(explicit.tag_key))
    other = resolve("ViT-B-32", "laion400m_e32")
    assert other.identity(str(other.tag_key)) != plain.identity(str(plain.tag_key))


def test_staying_offline_is_no_part_of_a_model() -> None:
    spec, offline = resolve("ViT-B-32", "openai"), resolve("ViT-B-32", "openai", offline=True)
    assert (spec.offline, offline.offline) == (False, True)
    assert spec == offline
    assert spec.identity("sha256:0") == offline.identity("sha256:0")


def test_a_tag_may_be_spelt_with_dashes() -> None:
    assert resolve("ViT-B-32", "laion2b-s34b-b79k").pretrained == "laion2b_s34b_b79k"


def test_preprocessing_comes_from_the_tag(tmp_path: Path) -> None:
    assert resolve("MobileCLIP-S1").preprocessing.mean == (0.0, 0.0, 0.0)
    assert resolve("ViT-H-14", "dfn5b").preprocessing.interpolation == "bicubic"
    checkpoint = tmp_path / "fine-tuned.pt"
    checkpoint.touch()
    assert resolve("MobileCLIP-S1", str(checkpoint)).preprocessing.mean == (0.0, 0.0, 0.0)


def test_an_architecture_and_its_weights_can_be_written_as_one(tmp_path: Path) -> None:
    checkpoint = tmp_path / "a:b.safetensors"
    checkpoint.touch()
    for architecture, tag in (("ViT-B-32", "openai"), ("ViT-B/16", "laion400m-e31"), ("RN50", str(checkpoint))):
        assert resolve(f"{architecture}:{tag}") == resolve(architecture, tag)
    assert resolve("RN50:openai", offline=True).offline
    assert [brings_weights(name) for name in ("demo", "ViT-B-32:openai", "local-dir:x", "ViT-B-32")] == [True] * 3 + [
        False
    ]


def test_a_checkpoint_under_an_ambiguous_name_warns_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    checkpoint = tmp_path / "weights.pt"
    checkpoint.touch()
    resolve("ViT-B-32", str(checkpoint))
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "`model=ViT-B-32-quickgelu`" in caplog.text
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
        ("ViT-B-32-plus-256", None, r"needs `pretrained` with a tag.*no published weights"),
        ("convnext_base_w", None, r"needs `pretrained` with a tag.*Its tags are: laion2b_s13b_b82k"),
        ("coca_ViT-B-32", None, r"needs `pretrained` with a tag.*Its tags are: laion2b_s13b_b90k"),
        ("demo", "openai", r"`model=demo` brings its own weights. Leave out `pretrained=openai`"),
        ("ViT-B-32:openai", "laion400m_e31", r"`model=ViT-B-32:openai` brings its own weights. Leave out"),
        ("ViT-B-32:", None, r"has no tag or checkpoint file after its colon"),
        ("ViT-B-32:no-such-tag", None, r"neither a file nor a tag of ViT-B-32"),
        ("ViT-B32:openai", None, r"no architecture 'ViT-B32'. Did you mean ViT-B-32"),
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


def test_a_folder_with_several_weights_is_refused_with_their_names(tmp_path: Path) -> None:
    folder = Path(str(resolve("demo").checkpoint)).parent
    (tmp_path / "open_clip_config.json").write_text((folder / "open_clip_config.json").read_text())
    (tmp_path / "epoch_1.pt").touch()
    assert resolve(f"local-dir:{tmp_path}").checkpoint == tmp_path / "epoch_1.pt"
    (tmp_path / "epoch_1.pt").rename(tmp_path / "weights.index.json")
    with pytest.raises(ModelError, match="are split into several files; save them as one"):
        resolve(f"local-dir:{tmp_path}")
    (tmp_path / "epoch_1.pt").touch()
    (tmp_path / "epoch_2.pt").touch()
    with pytest.raises(ModelError, match=r"several files that may be its weights: epoch_1\.pt, epoch_2\.pt. Leave one"):
        resolve(f"local-dir:{tmp_path}")
    (tmp_path / "open_clip_pytorch_model.bin").touch()  # a name that open_clip knows
    assert resolve(f"local-dir:{tmp_path}").checkpoint == tmp_path / "open_clip_pytorch_model.bin"


@pytest.mark.parametrize(
    "names", [[], {"a": "../model.safetensors"}, {"a": "/etc/passwd"}, {"a": 1}, {"a": "x.py"}, None]
)
def test_an_index_of_weights_names_files_beside_it_only(names: object, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    with pytest.raises(ModelError, match="names no files of weights beside it"):
        weights.parts(tmp_path / "model.safetensors.index.json")


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


@pytest.mark.parametrize(
    "name",
    [
        "hf-hub:foo bar",
        "hf-hub:",
        "hf-hub:a/b/c",
        "hf-hub:a",
        "hf-hub:a@b/c",
        "hf-hub:a/b@",
        "hf-hub:a/b@../c",
        "hf-hub:a/b@c d",
    ],
)
def test_a_name_that_is_no_repository_says_so(name: str) -> None:
    with pytest.raises(ModelError, match="is no repository of the hub"):
        resolve(name)


def test_a_checkpoint_whose_architecture_has_tags_that_differ_warns(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "weights.pt").touch()
    spec = resolve("ViT-L-14", str(tmp_path / "weights.pt"))
    assert spec.preprocessing.mean == (0.48145466, 0.4578275, 0.40821073)
    assert "If they come from laion2b_s32b_b82k" in caplog.text


@pytest.mark.slow
def test_the_tokenizer_is_part_of_the_identity(tmp_path: Path) -> None:
    from support import small_models as small

    small.save_transformers("clip", tmp_path)
    name = f"local-dir:{tmp_path}"
    before = resolve(name).identity("sha256:0")
    assert resolve(name).identity("sha256:0") == before
    document = json.loads((tmp_path / "tokenizer.json").read_text())
    document["normalizer"] = None
    (tmp_path / "tokenizer.json").write_text(json.dumps(document))
    assert resolve(name).identity("sha256:0") != before


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["RN50", "ViT-S-32-alt", "MobileCLIP2-S0", "coca_ViT-B-32", "ViT-B-16-SigLIP"])
def test_the_table_of_parameters_counts_what_is_built(architecture: str) -> None:
    import open_clip

    model = open_clip.create_model(architecture, load_weights=False)
    assert models.parameter_counts()[architecture] == sum(parameter.numel() for parameter in model.parameters())


def test_the_table_of_parameters_has_every_architecture() -> None:
    assert {*open_clip_data.architectures(), models.DEMO} == set(models.parameter_counts())


@pytest.mark.slow
def test_models_list_shows_every_architecture_and_tag(cli: Cli) -> None:

    import open_clip

    run = cli("models", "list")
    rows = rows_of(run.out)
    assert {(row["model"], row["pretrained"]) for row in rows if row["pretrained"]} == set(open_clip.list_pretrained())
    assert {row["model"] for row in rows} == {*open_clip.list_models(), models.DEMO}
    (row,) = (row for row in rows if row["model"] == "ViT-B-32-256" and row["default"])
    assert (row["pretrained"], row["width"], row["parameters"]) == ("datacomp_s34b_b86k", "256", "151288833")
    table = cli("models", "list", "--filter", "siglip2 384", "-f", "table").out
    assert "ViT-SO400M-16-SigLIP2-384  384 x 384 pixels, 1,136 M parameters, " in table
    assert " GFLOP\n  84.1 %  webli (default)  Apache-2.0\n" in table
    assert "ViT-B-32" not in table
    run = cli("models", "list", "--filter", "no such thing")
    assert (run.code, run.out) == (1, "")


@pytest.mark.parametrize(
    ("architecture", "tag"), [("ViT-B-16-SigLIP2", "webli"), ("xlm-roberta-base-ViT-B-32", "laion5b_s13b_b90k")]
)
def test_models_show_needs_no_download(architecture: str, tag: str, cli: Cli) -> None:
    run = cli("models", "show", architecture, tag)
    assert run.code == 0
    assert "not on this machine" in run.out
    assert f"parameters     {models.parameter_counts()[architecture]:,}" in run.out
    assert cli("models", "show", "--model", architecture, "--pretrained", tag).out == run.out
    assert cli("models", "show", architecture, "--pretrained", tag).out == run.out


def test_models_show_takes_a_tag_as_an_argument_or_as_an_option_but_not_two(cli: Cli) -> None:
    shown = cli("models", "show", "ViT-B-32", "--pretrained", "openai").out
    assert "pretrained     openai" in shown
    assert shown == cli("models", "show", "ViT-B-32", "openai").out
    run = cli("models", "show", "ViT-B-32", "openai", "--pretrained", "laion400m_e32")
    assert (run.code, run.out) == (2, "")
    assert "--pretrained" in run.err
    assert cli("models", "show", "ViT-B-32", "--model", "RN50").code == 2


def test_models_show_with_a_name_leaves_the_environment_aside(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = cli("models", "show", "ViT-B-32")
    monkeypatch.setenv("ZSCLIP_MODEL", "RN50")
    monkeypatch.setenv("ZSCLIP_PRETRAINED", "yfcc15m")
    assert cli("models", "show", "ViT-B-32") == plain
    assert "pretrained     yfcc15m" in cli("models", "show").out


@pytest.mark.slow
def test_siglip_2_in_transformers_format_reads_lower_case(tmp_path: Path) -> None:
    from support import small_models as small

    small.save_transformers("siglip", tmp_path)
    assert resolve(f"local-dir:{tmp_path}").tokenizer.clean == "none"
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "GemmaTokenizer"}')
    assert resolve(f"local-dir:{tmp_path}").tokenizer.clean == "lower"


@pytest.mark.slow
def test_a_folder_in_transformers_format_without_a_tokenizer_says_so(tmp_path: Path) -> None:
    from support import small_models as small

    small.save_transformers("clip", tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match="there is no tokenizer in"):
        models.fetch(resolve(f"local-dir:{tmp_path}"))


@pytest.mark.parametrize(
    ("architecture", "said"),
    [
        ("coca_ViT-B-32", "its tags are: laion2b_s13b_b90k, mscoco"),
        ("ViT-e-14", "none published; it needs a checkpoint file"),
    ],
)
def test_models_show_tells_of_architectures_without_a_default_too(architecture: str, said: str, cli: Cli) -> None:
    run = cli("models", "show", architecture)
    assert run.code == 0
    assert said in run.out
    assert f"parameters     {models.parameter_counts()[architecture]:,}" in run.out
