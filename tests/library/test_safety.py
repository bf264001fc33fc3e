"""Configurations and weights that would run code, or that are broken: nothing runs, and a message says what is wrong."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import small_models as small

from zsclip import Classifier, ModelError
from zsclip.models import resolve

pytestmark = pytest.mark.slow

DEMO = Path(str(resolve("demo").checkpoint)).parent
WEIGHTS = "open_clip_model.safetensors"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the demo model."""
    return Path(shutil.copytree(DEMO, tmp_path / "model"))


def edit(folder: Path, change: Callable[[dict[str, Any]], Any], name: str = "open_clip_config.json") -> None:
    document = json.loads((folder / name).read_text())
    change(document)
    (folder / name).write_text(json.dumps(document))


def put_code(folder: Path) -> Path:
    """A module that leaves a file behind when it is imported."""
    trace = folder.parent / "it-ran"
    (folder / "evil.py").write_text(
        f"open({str(trace)!r}, 'w').close()\n"
        "from transformers import BertTokenizerFast, RobertaConfig, RobertaModel\n"
        "class Tokenizer(BertTokenizerFast): pass\n"
        "class Config(RobertaConfig): pass\n"
        "class Model(RobertaModel): pass\n"
    )
    return trace


@pytest.fixture
def with_code(folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A model whose configuration asks for its tokenizer's code to be run; and the file that would be left behind."""
    import transformers.dynamic_module_utils as dynamic

    monkeypatch.setattr(dynamic, "HF_MODULES_CACHE", str(folder.parent / "modules"))
    trace = put_code(folder)
    size = small.save_word_pieces(folder)
    edit(folder, lambda one: one.update(auto_map={"AutoTokenizer": [None, "evil.Tokenizer"]}, tokenizer_class="EvilTokenizer"),
         "tokenizer_config.json")  # fmt: skip

    def ask(document: dict[str, Any]) -> None:
        text = document["model_cfg"]["text_cfg"]
        text.update(hf_tokenizer_name="org/evil", tokenizer_kwargs={"trust_remote_code": True}, vocab_size=size)

    edit(folder, ask)
    return folder, trace


def test_a_tokenizers_code_is_not_run(with_code: tuple[Path, Path], caplog: pytest.LogCaptureFixture) -> None:
    from zsclip.engines.torch.tokenizers import load_tokenizer

    folder, trace = with_code
    with pytest.raises(ModelError, match="is not run"):
        load_tokenizer(resolve(f"local-dir:{folder}"))
    assert not trace.exists()
    assert "left out of its configuration: tokenizer_kwargs trust_remote_code" in caplog.text


def test_the_same_configuration_runs_code_in_open_clip_so_the_test_tests(with_code: tuple[Path, Path]) -> None:
    import open_clip

    folder, trace = with_code
    open_clip.get_tokenizer(f"local-dir:{folder}")
    assert trace.exists()


@pytest.mark.parametrize("where", ["auto_map", "model_type", "kernels"])
def test_a_text_towers_code_is_not_run(where: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    tower: dict[str, Any] = {
        "auto_map": {**small.ROBERTA, "auto_map": {"AutoConfig": "evil.Config", "AutoModel": "evil.Model"}},
        "model_type": {**small.ROBERTA, "model_type": "evil", "auto_map": {"AutoConfig": "evil.Config"}},
        "kernels": {**small.ROBERTA, "_attn_implementation": "org/evil", "attn_implementation": "org/evil"},
    }[where]
    (folder / "config.json").write_text(json.dumps(small.ROBERTA))
    config = small.family("roberta-ViT-B-32", vision_cfg={"layers": 1})
    small.save_family(folder, config, small.save_bytes)
    (folder / "config.json").write_text(json.dumps(tower))
    trace = put_code(folder)
    with Classifier.load(f"local-dir:{folder}", use_cache=False, engine="torch") as classifier:
        if where == "model_type":
            with pytest.raises(ModelError, match="do not fit this architecture"):
                classifier.embed_texts(["a cat"])
        else:
            assert classifier.embed_texts(["a cat"]).shape == (1, 512)
    assert not trace.exists()


class Evil:
    """Pickled, it leaves a file behind when it is read."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, tuple[str]]:
        import os

        return os.system, (f"touch {self.trace}",)


@pytest.mark.parametrize("layout", ["open_clip", "transformers", "architecture", "npz"])
def test_a_malicious_pickle_is_not_run(layout: str, folder: Path, tmp_path: Path) -> None:
    import torch

    from zsclip.engines.torch.building import build

    trace = tmp_path / "it-ran"
    model: tuple[str, ...] = (f"local-dir:{folder}",)
    (folder / WEIGHTS).unlink()
    if layout == "open_clip":
        torch.save({"state_dict": Evil(trace)}, folder / "open_clip_pytorch_model.bin")
    elif layout == "transformers":
        (folder / "open_clip_config.json").unlink()
        small.save_transformers("clip", folder)
        (folder / "model.safetensors").unlink()
        torch.save(Evil(trace), folder / "pytorch_model.bin")
    elif layout == "architecture":
        torch.save([Evil(trace)], tmp_path / "weights.pt")
        model = ("RN50", str(tmp_path / "weights.pt"))
    else:
        np.savez(tmp_path / "weights.npz", **{"params/b": np.array([Evil(trace)], dtype=object)})
        model = ("ViT-B-32", str(tmp_path / "weights.npz"))
    spec = resolve(*model)
    with pytest.raises(ModelError, match=r"can be read safely|do not fit"):
        build(spec, spec.checkpoint)
    assert not trace.exists()


@pytest.mark.parametrize(
    ("tower", "key", "value", "message"),
    [
        ("vision_cfg", "timm_model_name", "hf-hub:org/evil", "`timm_model_name` must be one of timm's own names"),
        ("vision_cfg", "timm_model_name", "local-dir:/tmp/evil", "`timm_model_name` must be one of timm's own names"),
        ("text_cfg", "hf_model_name", "/tmp/evil", "`hf_model_name` must be a repository of the hub"),
        ("text_cfg", "hf_tokenizer_name", "../evil", "`hf_tokenizer_name` must be a repository of the hub"),
        ("text_cfg", "tokenizer_mode", "evil", "no `tokenizer_mode` 'evil'"),
        ("text_cfg", "tokenizer_kwargs", {"clean": "evil"}, "`clean` of the tokenizer must be one of"),
        ("text_cfg", "tokenizer_kwargs", "evil", "`tokenizer_kwargs` must be a mapping"),
    ],
)
def test_a_key_that_names_something_to_load_is_refused(
    tower: str, key: str, value: object, message: str, folder: Path
) -> None:
    def change(document: dict[str, Any]) -> None:
        if key == "tokenizer_mode":
            document["model_cfg"][tower]["hf_tokenizer_name"] = "org/tokenizer"
        document["model_cfg"][tower][key] = value

    edit(folder, change)
    with pytest.raises(ModelError, match=message):
        resolve(f"local-dir:{folder}")


def test_arguments_of_a_tokenizer_come_from_a_list_of_harmless_ones(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    given = {"clean": "canonicalize", "bpe_path": "/etc/passwd", "reduction_mask": "syntax"}
    edit(folder, lambda one: one["model_cfg"]["text_cfg"].update(tokenizer_kwargs=given))
    spec = resolve(f"local-dir:{folder}").tokenizer
    assert (spec.kind, spec.clean) == ("clip", "canonicalize")
    assert "tokenizer_kwargs bpe_path, reduction_mask" in caplog.text
    given = {"use_fast": True, "tokenizer_file": "/etc/passwd", "pad_token": {"__type": "AddedToken"}, "cache_dir": "/"}
    edit(
        folder,
        lambda one: one["model_cfg"]["text_cfg"].update(tokenizer_kwargs=given, hf_tokenizer_name="org/tokenizer"),
    )
    assert dict(resolve(f"local-dir:{folder}").tokenizer.options) == {"use_fast": True}


@pytest.mark.parametrize("name", ["visual.conv1.weight", "ln_final.bias", "logit_scale", "token_embedding.weight"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_found_wherever_they_are(name: str, value: float, folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    from zsclip.engines.torch.building import build

    state = load_file(folder / WEIGHTS)
    flat = state[name].reshape(-1)
    flat[len(flat) // 2] = value
    save_file({**state, name: flat.reshape(state[name].shape)}, folder / WEIGHTS)
    spec = resolve(f"local-dir:{folder}")
    with pytest.raises(ModelError, match=rf"are broken: {name} holds NaN or infinite numbers"):
        build(spec, folder / WEIGHTS)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "config.json").unlink(), "there is no .*open_clip_config.json, nor a config.json"),
        (lambda folder: (folder / "preprocessor_config.json").unlink(), "how the model wants its images is not known"),
        (lambda folder: (folder / "model.safetensors").unlink(), "no weights in"),
        (lambda folder: (folder / "model.safetensors").rename(folder / "model.safetensors.index.json"), "cannot be read as JSON"),
        (lambda folder: edit(folder, lambda one: one.update(model_type="blip"), "config.json"), "type 'blip'.*reads clip"),
        (lambda folder: edit(folder, lambda one: one["vision_config"].update(hidden_act="gelu"), "config.json"), "One tower|one tower"),
        (lambda folder: edit(folder, lambda one: one["text_config"].update(hidden_size="x"), "config.json"), "must be a int"),
        (lambda folder: edit(folder, lambda one: one.update(do_normalize=False), "preprocessor_config.json"), "is false"),
        (lambda folder: edit(folder, lambda one: one.update(size={"shortest_edge": 99}), "preprocessor_config.json"), "do not lead"),
        (lambda folder: edit(folder, lambda one: one.pop("image_mean"), "preprocessor_config.json"), "three numbers"),
        (lambda folder: edit(folder, lambda one: one.update(resample=0), "preprocessor_config.json"), "bilinear"),
        (lambda folder: edit(folder, lambda one: one["text_config"].update(num_hidden_layers=3), "config.json"), "do not fit"),
        (lambda folder: (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:900]), "read safely"),
        (lambda folder: (folder / "tokenizer.json").write_text("{"), "its tokenizer in .* cannot be used"),
    ],
    ids=range(14),
)  # fmt: skip
def test_a_damaged_folder_in_transformers_format_says_what_is_wrong(
    damage: Callable[[Path], object], message: str, tmp_path: Path
) -> None:
    small.save_transformers("clip", tmp_path)
    damage(tmp_path)
    with (
        pytest.raises(ModelError, match=message),
        Classifier.load(f"local-dir:{tmp_path}", use_cache=False, engine="torch") as classifier,
    ):
        classifier.embed_texts(["a cat"])


def test_a_tokenizer_of_another_model_is_told(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    small.save_clip(folder)
    edit(folder, lambda one: one["model_cfg"]["text_cfg"].update(hf_tokenizer_name="org/tokenizer", vocab_size=400))
    state = load_file(folder / WEIGHTS)
    save_file({**state, "token_embedding.weight": state["token_embedding.weight"][:400].clone()}, folder / WEIGHTS)
    with Classifier.load(f"local-dir:{folder}", use_cache=False, engine="torch") as classifier:
        with pytest.raises(ModelError, match="they do not belong together"):
            classifier.embed_texts(["a photo of a cat"])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 80) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)
DOCUMENT = json.loads((DEMO / "open_clip_config.json").read_text())
PLACES = [
    ("model_cfg",), ("preprocess_cfg",),
    *(("model_cfg", key) for key in (*DOCUMENT["model_cfg"], "quick_gelu", "custom_text", "multimodal_cfg")),
    *(("model_cfg", "vision_cfg", key) for key in (*DOCUMENT["model_cfg"]["vision_cfg"], "timm_model_name", "pool_type")),
    *(("model_cfg", "text_cfg", key) for key in (*DOCUMENT["model_cfg"]["text_cfg"], "hf_model_name", "tokenizer_kwargs", "eos_id")),
    *(("preprocess_cfg", key) for key in ("mean", "std", "resize_mode", "interpolation", "fill_color", "size")),
]  # fmt: skip


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.sampled_from(PLACES), value=JSON)
def test_whatever_a_configuration_says_the_answer_is_a_model_or_a_message(
    place: tuple[str, ...], value: object, tmp_path_factory: pytest.TempPathFactory
) -> None:
    from zsclip.engines.torch.building import build

    folder = tmp_path_factory.mktemp("any")
    document = deepcopy(DOCUMENT)
    inner = document
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    (folder / "open_clip_config.json").write_text(json.dumps(document))
    (folder / WEIGHTS).symlink_to(DEMO / WEIGHTS)
    with suppress(ModelError):
        spec = resolve(f"local-dir:{folder}")
        spec.identity("sha256:0")
        build(spec, folder / WEIGHTS)
