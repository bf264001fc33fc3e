"""Graphs built from a file of weights, against open_clip's own modules (or transformers' classes) with the same weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from support import small_models as small
from support.made_once import MadeOnce, save_random_checkpoint

from zsclip.engines import probes
from zsclip.engines.openvino.prefixes import forests
from zsclip.errors import ModelError
from zsclip.models import ModelSpec, resolve

if find_spec("openvino") is None:
    pytest.skip("OpenVINO has no wheel for this platform", allow_module_level=True)

from zsclip.engines.openvino import runtime
from zsclip.engines.openvino.graphs.model import BuiltModel
from zsclip.engines.openvino.graphs.names import as_open_clip
from zsclip.engines.openvino.graphs.weights import MismatchError, Weights, mapped

if TYPE_CHECKING:
    import torch

pytestmark = pytest.mark.slow

TOLERANCE = 1e-5  # of an element of a unit vector
WORDS = 320
LENGTH = 16
VISION = {"layers": 2, "width": 64, "head_width": 32, "image_size": 64}
TEXT = {"layers": 2, "width": 64, "heads": 2, "vocab_size": WORDS, "context_length": LENGTH}
POOLER = {"attentional_pool": True, "attn_pooler_heads": 4, "attn_pooler_queries": 5}
RESNET = {"layers": [1, 2, 1, 2], "width": 16, "head_width": 32, "image_size": 96}


@dataclass(frozen=True)
class Family:
    """An architecture of open_clip, what of it is made smaller (or otherwise), and the token at which its texts end."""

    architecture: str
    vision: dict[str, Any] = field(default_factory=dict)
    text: dict[str, Any] = field(default_factory=dict)
    more: dict[str, Any] = field(default_factory=dict)
    end: int = WORDS - 1

    @property
    def config(self) -> dict[str, Any]:
        vision = RESNET if self.architecture.startswith("RN") else VISION
        return small.family(
            self.architecture, vision_cfg=vision | self.vision, text_cfg=TEXT | self.text, embed_dim=48, **self.more
        )


FAMILIES = {
    "ViT": Family("ViT-B-32"),
    "QuickGELU": Family("ViT-B-32-quickgelu"),
    "images that are not square": Family("ViT-B-16", {"image_size": [64, 96]}),
    "ViT-e": Family("ViT-e-14", {"width": 112, "head_width": 56, "image_size": 56}),
    "ViT-bigG": Family("ViT-bigG-14", {"width": 104, "head_width": 52, "image_size": 56}),
    "CLIPA": Family("ViT-L-14-CLIPA", {"image_size": 56}),
    "pooling before the normalisation": Family("ViT-B-32", {"pool_type": "avg", "final_ln_after_pool": True}),
    "normalisation before pooling": Family("ViT-B-32", {"pool_type": "avg", "no_ln_pre": True}),
    "worldwide": Family("ViT-H-14-worldwide", {"image_size": 56}, {"eos_id": 2}, end=2),
    "CoCa": Family("coca_ViT-B-32", POOLER, more={"multimodal_cfg": {"layers": 1, "width": 48}}),
    "CoCa with a pooler as wide as its blocks": Family(
        "coca_ViT-L-14", {**POOLER, "width": 48, "head_width": 24}, {"pad_id": 1}, {"multimodal_cfg": {"layers": 1}}
    ),
    "CoCa with a class token": Family("coca_base", {"image_size": 54}, more={"multimodal_cfg": {"layers": 1}}),
    "LayerScale": Family("ViT-B-32", {"ls_init_value": 0.3}, {"ls_init_value": 0.2}),
    "norms and activations of one's own": Family(
        "ViT-B-32",
        {"norm_kwargs": {"eps": 1e-3}, "act_kwargs": {"approximate": "tanh"}},
        {"norm_kwargs": {"eps": 1e-2}, "act_kwargs": {"approximate": "tanh"}, "mlp_ratio": 2.5},
    ),
    "ModifiedResNet": Family("RN50"),
    "ModifiedResNet with QuickGELU": Family("RN101-quickgelu", {"head_width": 16}),
    "ModifiedResNet with sides that are not multiples of 32": Family("RN50x4", {"image_size": 72}),
    "a text tower of its own": Family("ViT-B-32", more={"custom_text": True}),
    "texts pooled at their first place": Family("ViT-B-32", {}, {"pool_type": "first", "no_causal_mask": True}),
    "texts pooled at their last place": Family("ViT-B-32", {}, {"pool_type": "last", "proj_bias": True}),
    "texts that are not projected": Family("ViT-B-32", {}, {"width": 48, "proj_type": "none"}),
    "with a bias": Family("ViT-B-32", more={"init_logit_bias": -10}),
}


@dataclass(frozen=True)
class Made:
    """A model's folder, the same as it was resolved, and open_clip's module."""

    family: Family
    folder: Path
    spec: ModelSpec
    module: Any

    @property
    def file(self) -> Path:
        return Path(str(self.spec.checkpoint))


def made(family: Family, folder: Path) -> Made:
    module, _ = small.save_family(folder, family.config)
    return Made(family, folder, resolve(f"local-dir:{folder}"), module)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return made(FAMILIES["ViT"], tmp_path_factory.mktemp("plain"))


Tensors = dict[str, Any]
Rewrite = Callable[..., Made]


@pytest.fixture
def rewritten(plain: Made, tmp_path: Path) -> Rewrite:
    """Makes another model of the plain one: its tensors, as a function changes them, under the configuration of a family."""

    def rewrite(change: Callable[[Tensors], Tensors], family: Family = FAMILIES["ViT"]) -> Made:
        from safetensors.torch import load_file, save_file

        one = made(family, tmp_path / "model")
        save_file(change(load_file(plain.file)), one.file)
        return one

    return rewrite


def tokens_of(family: Family, texts: int = 20) -> np.ndarray:
    """Texts of all lengths, some with the same beginnings, each with an end token, filled up with what fills them up."""
    rng = np.random.default_rng(4)
    pad = family.text.get("pad_id", 0)
    tokens = np.full((texts, LENGTH), pad, np.int32)
    for row in tokens:
        length = int(rng.integers(1, LENGTH))
        row[:length] = rng.integers(3, WORDS - 1, length)
        row[length] = family.end
    tokens[texts // 2 :, :1] = tokens[0, :1]
    tokens[:, 0][tokens[:, 0] == family.end] = 5  # one text was nothing but its end
    tokens[:, 1][~(tokens == family.end).any(1)] = family.end
    return tokens


def compiled(graph: Any) -> Callable[..., np.ndarray]:
    run = runtime.core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda *inputs: unit(run(list(inputs))[0])


def unit(features: Any) -> np.ndarray:
    features = np.array(features)
    return features / np.linalg.norm(features, axis=-1, keepdims=True)


def embedded_texts(graph: Any, tokens: np.ndarray, end: int) -> np.ndarray:
    """Whole texts, or the forests of their beginnings, as the tower has it."""
    run = compiled(graph)
    if len(graph.inputs) == 1:
        return run(tokens)
    vectors: np.ndarray | None = None
    for forest in forests(tokens, (tokens == end).argmax(1) + 1, 48):
        found = run(*forest.inputs)[: len(forest.rows)]
        vectors = np.empty((len(tokens), found.shape[1]), np.float32) if vectors is None else vectors
        vectors[forest.rows] = found
    assert vectors is not None
    return vectors


def normalised(spec: ModelSpec, pixels: np.ndarray) -> torch.Tensor:
    import torch

    mean, std = (torch.tensor(one)[:, None, None] for one in (spec.preprocessing.mean, spec.preprocessing.std))
    return (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255 - mean) / std


def require_same(one: Made, tokens: np.ndarray | None = None) -> BuiltModel:
    """The graphs give the module's vectors, which are not all the same."""
    import torch

    built = BuiltModel(one.spec, one.file)
    pixels, tokens = probes.pixels(one.spec.preprocessing)[::4], tokens_of(one.family) if tokens is None else tokens
    with torch.no_grad():
        images = unit(one.module.encode_image(normalised(one.spec, pixels)))
        texts = unit(one.module.encode_text(torch.from_numpy(tokens)))
    np.testing.assert_allclose(compiled(built.image)(pixels), images, atol=TOLERANCE, rtol=0)
    np.testing.assert_allclose(embedded_texts(built.text, tokens, one.family.end), texts, atol=TOLERANCE, rtol=0)
    for vectors in (images, texts):
        assert np.abs(vectors - vectors[:1]).max() > 1000 * TOLERANCE, "equal vectors would agree with anything"
    return built


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_gives_open_clips_vectors(name: str, tmp_path: Path) -> None:
    one = made(FAMILIES[name], tmp_path / "model")
    built = require_same(one)
    assert built.facts.logit_scale == pytest.approx(100, rel=1e-6)
    assert built.facts.logit_bias == (-12.5 if name == "with a bias" else 0)
    assert built.facts.dimension == 48
    assert built.parameters == sum(parameter.numel() for parameter in one.module.parameters())
    assert built.vocabulary == WORDS


@pytest.mark.parametrize("architecture", ["ViT-B-32", "RN50"])
def test_models_of_real_sizes_give_open_clips_vectors(architecture: str, made_once: MadeOnce) -> None:
    from zsclip.engines.torch.building import build

    save = partial(save_random_checkpoint, architecture)
    file = made_once(f"{architecture.lower()}.safetensors", save)
    spec = resolve(architecture, str(file))
    tokens = np.zeros((6, 77), np.int32)
    for row, length in zip(tokens, (2, 5, 9, 9, 30, 76), strict=True):
        row[: length + 1] = [49406, *np.random.default_rng(9).integers(300, 40000, length - 1), 49407]
    require_same(Made(Family(architecture, end=49407), file.parent, spec, build(spec, file)), tokens)


def halved(tensors: Tensors, dtype: str) -> Tensors:
    import torch

    return {name: one.to(getattr(torch, dtype)) for name, one in tensors.items()}


REWRITTEN: dict[str, tuple[Callable[[Tensors], Tensors], str]] = {
    "in float16": (lambda tensors: halved(tensors, "float16"), "ViT"),
    "in bfloat16": (lambda tensors: halved(tensors, "bfloat16"), "ViT"),
    "trained on several devices": (lambda tensors: {f"module.{name}": one for name, one in tensors.items()}, "ViT"),
    "from before text towers were modules of their own": (lambda tensors: tensors, "a text tower of its own"),
    "with a scale in a list": (lambda tensors: tensors | {"logit_scale": tensors["logit_scale"][None]}, "ViT"),
    "without the bias that it might have": (lambda tensors: tensors, "with a bias"),
}


@pytest.mark.parametrize("name", REWRITTEN)
def test_weights_that_open_clip_reads_in_another_form_give_its_vectors(name: str, rewritten: Rewrite) -> None:
    import open_clip

    change, family = REWRITTEN[name]
    one = rewritten(change, FAMILIES[family])
    open_clip.load_checkpoint(one.module, str(one.file))
    assert require_same(one).facts.logit_scale == pytest.approx(one.module.logit_scale.exp().item())


def test_a_compiled_tower_outlives_the_model_that_it_is_built_of(tmp_path: Path) -> None:
    """Constants that did not keep their file's memory gave NaN or ended the process."""
    one = made(FAMILIES["ModifiedResNet"], tmp_path / "model")
    pixels = probes.pixels(one.spec.preprocessing)[:1]
    built = BuiltModel(one.spec, one.file)
    held = compiled(built.image)(pixels)
    np.testing.assert_array_equal(compiled(BuiltModel(one.spec, one.file).image)(pixels), held)


REFUSED: dict[str, tuple[Callable[[Tensors], Tensors], str]] = {
    "a tensor too many": (
        lambda tensors: tensors | {"visual.more": tensors["visual.proj"].clone()},
        "1 tensors are left over, such as visual.more",
    ),
    "a tensor too few": (
        lambda tensors: {name: one for name, one in tensors.items() if name != "ln_final.bias"},
        "there is no ln_final.bias",
    ),
    "another shape": (
        lambda tensors: tensors | {"visual.proj": tensors["visual.proj"].T.contiguous()},
        r"visual.proj is \(48, 64\), not \(64, 48\)",
    ),
    "another type": (
        lambda tensors: tensors | {"visual.proj": tensors["visual.proj"].double()},
        "weights are in F64",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_is_not_the_architecture_is_refused(name: str, rewritten: Rewrite) -> None:
    change, message = REFUSED[name]
    one = rewritten(change)
    with pytest.raises(MismatchError, match=message):
        BuiltModel(one.spec, one.file)


def test_weights_of_another_image_size_are_not_stretched(rewritten: Rewrite) -> None:
    one = rewritten(lambda tensors: tensors, Family("ViT-B-32", {"image_size": 96}))
    with pytest.raises(MismatchError, match=r"visual.positional_embedding is \(5, 64\), not \(10, 64\)"):
        BuiltModel(one.spec, one.file)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_weights_that_are_no_numbers_are_seen(value: float, dtype: str, plain: Made, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = halved(load_file(plain.file), dtype)
    save_file(tensors, tmp_path / "sound.safetensors")
    tensors["visual.ln_post.bias"][5] = value
    save_file(tensors, tmp_path / "broken.safetensors")
    assert Weights(mapped([tmp_path / "sound.safetensors"])).without_numbers() is None
    assert Weights(mapped([tmp_path / "broken.safetensors"])).without_numbers() == "visual.ln_post.bias"


@pytest.mark.parametrize("kind", ["clip", "old clip", "gelu clip"])
@pytest.mark.parametrize("files", [1, 3])
def test_transformers_own_format_gives_transformers_vectors(kind: str, files: int, tmp_path: Path) -> None:
    import torch

    theirs, spec = saved_transformers(kind, tmp_path, files)
    built = BuiltModel(spec, Path(str(spec.checkpoint)))
    pixels, tokens = probes.pixels(spec.preprocessing)[::4], transformers_tokens(spec)
    with torch.no_grad():
        images = unit(pooled(theirs.get_image_features(normalised(spec, pixels))))
        texts = unit(pooled(theirs.get_text_features(input_ids=torch.from_numpy(tokens))))
    np.testing.assert_allclose(compiled(built.image)(pixels), images, atol=TOLERANCE, rtol=0)
    np.testing.assert_allclose(embedded_texts(built.text, tokens, 49407), texts, atol=TOLERANCE, rtol=0)
    assert np.abs(images - images[:1]).max() > 0.01
    assert np.abs(texts - texts[:1]).max() > 0.01
    assert built.facts.logit_scale == pytest.approx(100, rel=1e-6)
    assert built.parameters == sum(parameter.numel() for parameter in theirs.parameters())


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_tensors_by_open_clips_names_are_those_of_its_module(kind: str, tmp_path: Path) -> None:
    """As numbers, and as what a graph computes."""
    from zsclip.engines.torch.building import build

    _, spec = saved_transformers(kind, tmp_path)
    file = Path(str(spec.checkpoint))
    found = as_open_clip(mapped([file]), spec, "text." if kind == "siglip" else "")
    wanted = {name: tensor.numpy() for name, tensor in build(spec, file).state_dict().items()}
    assert {name: one.shape for name, one in found.items()} == {name: one.shape for name, one in wanted.items()}
    order = sorted(found)
    graph = runtime.openvino.Model([found[name].node() for name in order], [], "tensors")
    computed = runtime.core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})([])
    for number, name in enumerate(order):
        np.testing.assert_array_equal(found[name].numbers(), wanted[name])
        np.testing.assert_array_equal(computed[number], wanted[name])


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_a_block_without_its_keys_is_told_by_its_name(kind: str, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    from zsclip.engines.torch.building import build

    _, spec = saved_transformers(kind, tmp_path)
    file = Path(str(spec.checkpoint))
    name = "text_model.encoder.layers.1.self_attn.k_proj.weight"
    save_file({other: one for other, one in load_file(file).items() if other != name}, file)
    found = as_open_clip(mapped([file]), spec, "text." if kind == "siglip" else "")
    assert "text_model.encoder.layers.1.self_attn.q_proj.weight" in found
    with pytest.raises(ModelError, match=r"transformer\.resblocks\.1\.attn\.in_proj_weight"):
        build(spec, file)


def saved_transformers(kind: str, folder: Path, files: int = 1) -> tuple[Any, ModelSpec]:
    """A small model of transformers, in so many files or more, and the same as it was resolved."""
    theirs = small.save_transformers(kind, folder)
    if files > 1:
        size = (folder / "model.safetensors").stat().st_size
        (folder / "model.safetensors").unlink()
        theirs.save_pretrained(folder, max_shard_size=size // files)
        assert len(list(folder.glob("*.safetensors"))) > 1
    return theirs, resolve(f"local-dir:{folder}")


def transformers_tokens(spec: ModelSpec) -> np.ndarray:
    """Texts of several lengths, filled up with the last token of the vocabulary, which ends CLIP's."""
    rng = np.random.default_rng(4)
    end = spec.config["text_cfg"]["vocab_size"] - 1
    tokens = np.full((8, spec.context_length), end, np.int32)
    for row, length in zip(tokens, (1, 2, 3, 9, 9, 15, 20, 23), strict=True):
        row[:length] = [1, *rng.integers(3, end, length - 1)]
    return tokens


def pooled(output: Any) -> Any:
    return getattr(output, "pooler_output", output)
