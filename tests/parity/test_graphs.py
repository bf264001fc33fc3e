"""Graphs that are built from the weights' file against open_clip's own modules with the same weights."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from support import small_models as small
from support.made_once import MadeOnce

from zsclip.models import ModelSpec, fetch, resolve

if find_spec("openvino") is None:
    pytest.skip("OpenVINO has no wheel for this platform", allow_module_level=True)

from zsclip.engines.openvino import runtime
from zsclip.engines.openvino.graphs import architecture, siglip
from zsclip.engines.openvino.graphs.model import BuiltModel
from zsclip.engines.openvino.graphs.weights import MismatchError
from zsclip.engines.openvino.prefixes import forests

if TYPE_CHECKING:
    import torch

pytestmark = pytest.mark.slow

TOLERANCE = 1e-5  # of an element of a unit vector
FEW = {"layers": 2, "width": 128}


@dataclass(frozen=True)
class Family:
    """An architecture, what of it is made smaller, how it wants its images, and what its weights are published in."""

    architecture: str
    changes: dict[str, Any]
    preprocess: dict[str, Any] | None = None
    kind: str = "float32"


def siglip_family(name: str, timm: str, width: int, kind: str = "float32", **sizes: Any) -> Family:
    """A SigLIP whose image tower is as deep as the published one and has as many heads, but is narrow."""
    changes = {
        "embed_dim": width,
        "vision_cfg": small.timm_tower(timm, embed_dim=width, **sizes),
        "text_cfg": {"layers": 2, "width": 96, "heads": 4, "vocab_size": 500},
    }
    return Family(name, changes, small.INCEPTION, kind)


BASE = ("ViT-B-16-SigLIP", "vit_base_patch16_siglip_224", 96)
FAMILIES = {
    "OpenAI's CLIP": Family("ViT-B-32-quickgelu", {"vision_cfg": FEW, "text_cfg": FEW}),
    "SigLIP": siglip_family(*BASE),
    "SigLIP in float16": siglip_family(*BASE, "float16"),
    "SigLIP in bfloat16": siglip_family(*BASE, "bfloat16"),
    "SigLIP 2": siglip_family("ViT-B-32-SigLIP2-256", "vit_base_patch32_siglip_256", 96),
    # 384 pixels are 9 patches of 40, and 24 pixels over, as they are 27 of the published 14, and 6 over.
    "SigLIP SO400M": siglip_family("ViT-SO400M-14-SigLIP-384", "vit_so400m_patch14_siglip_384", 144, patch_size=40),
    "SigLIP 2 giant": siglip_family("ViT-gopt-16-SigLIP2-256", "vit_giantopt_patch16_siglip_256", 128),
}


@dataclass(frozen=True)
class Made:
    """open_clip's module, and the same model in a folder of its own."""

    module: Any
    spec: ModelSpec


@pytest.fixture(scope="module", params=list(FAMILIES))
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    return save(tmp_path_factory.mktemp("family") / "model", FAMILIES[request.param])


def save(folder: Path, family: Family) -> Made:
    import torch
    from safetensors.torch import load_file, save_file

    config = small.family(family.architecture, **family.changes)
    module, _ = small.save_family(folder, config, None, family.preprocess)
    document = json.loads((folder / "open_clip_config.json").read_text())
    vision, published = document["model_cfg"]["vision_cfg"], small.family(family.architecture)["vision_cfg"]
    if "timm_model_name" in vision:  # of the published model again, whose heads and depth it has
        vision["timm_model_name"] = published["timm_model_name"]
        (folder / "open_clip_config.json").write_text(json.dumps(document))
    if family.kind != "float32":
        path = folder / "open_clip_model.safetensors"
        half = {name: tensor.to(getattr(torch, family.kind)) for name, tensor in load_file(path).items()}
        save_file(half, path)
        module.load_state_dict({name: tensor.float() for name, tensor in half.items()})
    if config["text_cfg"].get("hf_tokenizer_name"):
        small.save_unigram(folder)
    return Made(module, resolve(f"local-dir:{folder}"))


def checkpoint_of(spec: ModelSpec) -> Path:
    assert spec.checkpoint is not None
    return spec.checkpoint


def vectors(graph: Any, batches: Iterable[Iterable[np.ndarray]]) -> list[np.ndarray]:
    """Unit vectors of a graph in fp32, a batch after the other."""
    compiled = runtime.core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found = [compiled(list(batch))[0] for batch in batches]
    return [one / np.linalg.norm(one, axis=1, keepdims=True) for one in found]


def text_vectors(spec: ModelSpec, built: BuiltModel, tokens: np.ndarray) -> np.ndarray:
    """Of tokens (n, context length), over prefixes in common where the graph is made for them."""
    shape = architecture.read(spec)
    assert shape is not None
    text = shape.text
    if not text.shares_prefixes:
        return vectors(built.text, [[tokens]])[0]
    ends = tokens.argmax(1) if text.pool == "argmax" else (tokens == text.end).argmax(1)
    (forest,) = forests(tokens, ends + 1, tokens.size)
    found = np.empty((len(tokens), spec.embed_dim), np.float32)
    found[forest.rows] = vectors(built.text, [forest.inputs])[0][: len(tokens)]
    return found


def pixels_of(spec: ModelSpec, count: int = 3) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, *spec.preprocessing.size, 3), dtype=np.uint8)


def normalised(spec: ModelSpec, pixels: np.ndarray) -> torch.Tensor:
    """As open_clip's transform leaves them."""
    import torch
    from torchvision.transforms.functional import normalize

    scaled = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    return normalize(scaled, list(spec.preprocessing.mean), list(spec.preprocessing.std))


def tokens_of(spec: ModelSpec, count: int = 4) -> np.ndarray:
    """Any tokens, with the largest at some place, as an end token is, and zeros behind it."""
    rng = np.random.default_rng(2)
    size = spec.config["text_cfg"]["vocab_size"]
    tokens = rng.integers(1, size - 1, (count, spec.context_length))
    for row, length in zip(tokens, rng.integers(3, spec.context_length - 1, count), strict=True):
        row[length:] = 0
        row[length - 1] = size - 1
    return tokens.astype(np.int32)


def assert_equal(module: Any, spec: ModelSpec) -> None:
    import torch

    built = BuiltModel(spec, checkpoint_of(spec))
    pixels, tokens = pixels_of(spec), tokens_of(spec)
    with torch.no_grad():
        images = module.encode_image(normalised(spec, pixels), normalize=True).numpy()
        texts = module.encode_text(torch.from_numpy(tokens), normalize=True).numpy()
    assert np.abs(images[0] - images[1]).max() > 10 * TOLERANCE  # all alike would agree with anything
    assert np.abs(texts[0] - texts[1]).max() > 10 * TOLERANCE
    np.testing.assert_allclose(vectors(built.image, [[pixels]])[0], images, atol=TOLERANCE, rtol=0)
    np.testing.assert_allclose(text_vectors(spec, built, tokens), texts, atol=TOLERANCE, rtol=0)
    assert built.facts.logit_scale == pytest.approx(module.logit_scale.exp().item(), rel=1e-5)
    bias = 0.0 if module.logit_bias is None else module.logit_bias.item()
    assert built.facts.logit_bias == pytest.approx(bias)
    assert built.parameters == sum(parameter.numel() for parameter in module.parameters())


def test_vectors_scale_and_bias_are_open_clips(made: Made) -> None:
    assert_equal(made.module, made.spec)


@pytest.mark.parametrize("change", ["one more", "one less", "another shape", "one block less", "no file of weights"])
def test_a_file_that_is_not_the_model_is_an_error(made: Made, change: str, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    tensors = load_file(checkpoint_of(made.spec))
    name = sorted(name for name, tensor in tensors.items() if tensor.ndim)[len(tensors) // 2]
    if change == "one more":
        tensors["visual.another"] = torch.zeros(3)
    elif change == "one less":
        del tensors[name]
    elif change == "another shape":
        tensors[name] = torch.cat([tensors[name]] * 2)
    elif change == "one block less":
        begin = max(name.split("blocks.")[0] + "blocks." for name in tensors if "visual" in name and "blocks." in name)
        last = max(int(name.removeprefix(begin).split(".")[0]) for name in tensors if name.startswith(begin))
        tensors = {name: one for name, one in tensors.items() if not name.startswith(f"{begin}{last}.")}
    path = tmp_path / "model.safetensors"
    save_file(tensors, path)
    if change == "no file of weights":
        path.write_bytes(b"weights, but not as safetensors")
    with pytest.raises(MismatchError):
        BuiltModel(made.spec, path)


class TestSiglip:
    @pytest.fixture(scope="class")
    def checkpoint(self, made_once: MadeOnce) -> Path:
        """ViT-B-16-SigLIP at its real size."""

        def make(folder: Path) -> None:
            small.save_family(folder, small.family("ViT-B-16-SigLIP"), None, small.INCEPTION)

        return made_once("vit-b-16-siglip", make) / "open_clip_model.safetensors"

    def test_at_its_real_size_vectors_are_open_clips(self, checkpoint: Path) -> None:
        import open_clip

        module = open_clip.create_model("ViT-B-16-SigLIP", str(checkpoint)).eval()
        assert_equal(module, resolve("ViT-B-16-SigLIP", str(checkpoint)))

    def test_what_is_known_of_timms_models_is_what_timm_builds(self) -> None:
        """Depth, heads, activation of blocks and head, all normalisations, and that nothing else is in them."""
        import timm
        import torch

        names = [name for name in timm.list_models("vit_*_siglip_*") if "_gap_" not in name and "shrunk" not in name]
        assert siglip.PUBLISHED.keys() == set(names)
        for name in names:
            known = siglip.PUBLISHED[name]
            module = timm.create_model(name, num_classes=0, global_pool="map", device="meta")
            heads = {one.num_heads for one in (module.attn_pool, *(block.attn for block in module.blocks))}
            activations = {one.mlp.act for one in (module.attn_pool, *module.blocks)}
            x = torch.linspace(-4, 4, 100)
            tanh = known.activation is siglip.gelu_tanh
            expected = torch.nn.functional.gelu(x, approximate="tanh" if tanh else "none")
            assert len(module.blocks) == known.layers
            assert heads == {known.heads}
            assert all(torch.equal(one(x), expected) for one in activations)
            assert {one.eps for one in module.modules() if isinstance(one, torch.nn.LayerNorm)} == {1e-6}
            assert module.cls_token is None
            assert all(isinstance(one, torch.nn.Identity) for one in (module.norm_pre, module.fc_norm, module.head))

    def test_all_of_open_clips_are_known_but_those_with_another_text_tower(self) -> None:
        from zsclip.models import open_clip_data

        is_known = {
            name: architecture.read(resolve(name, tag)) is not None
            for name in open_clip_data.architectures()
            if "SigLIP" in name or "siglip" in name
            for tag in open_clip_data.pretrained_tags(name)
        }
        assert len(is_known) == 28
        assert {name for name, known in is_known.items() if not known} == {
            "nllb-clip-base-siglip",
            "nllb-clip-large-siglip",
        }

    def test_in_transformers_format_vectors_are_transformers(self, tmp_path: Path) -> None:
        """Its sizes are none of timm's, and all in the configuration."""
        import torch

        theirs = small.save_transformers("siglip", tmp_path)
        spec = resolve(f"local-dir:{tmp_path}")
        model = BuiltModel(spec, fetch(spec))
        pixels, tokens = pixels_of(spec), tokens_of(spec)
        with torch.no_grad():
            images = features(theirs.get_image_features(pixel_values=normalised(spec, pixels)))
            texts = features(theirs.get_text_features(input_ids=torch.from_numpy(tokens)))
        np.testing.assert_allclose(vectors(model.image, [[pixels]])[0], images, atol=TOLERANCE, rtol=0)
        np.testing.assert_allclose(vectors(model.text, [[tokens]])[0], texts, atol=TOLERANCE, rtol=0)


def features(output: Any) -> np.ndarray:
    import torch

    found: np.ndarray = torch.nn.functional.normalize(getattr(output, "pooler_output", output), dim=-1).numpy()
    return found
