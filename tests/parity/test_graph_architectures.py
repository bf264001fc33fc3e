"""Which of open_clip's architectures have graphs built from their weights' file, told from their configurations."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from zsclip.models import ModelSpec, open_clip_data, resolution

if find_spec("openvino") is None:
    pytest.skip("OpenVINO has no wheel for this platform", allow_module_level=True)

from zsclip.engines.openvino.graphs import architecture
from zsclip.engines.openvino.graphs.model import BuiltModel


def spec_of(name: str) -> ModelSpec:
    tags = open_clip_data.pretrained_tags(name)
    spec = resolution.from_tag(name, next(iter(tags))) if tags else resolution.without_weights(name)
    assert spec is not None
    return spec


SPECS = {name: spec_of(name) for name in open_clip_data.architectures()}


def tower(spec: ModelSpec) -> str:
    """Which module of open_clip its image tower is, and whether another makes its texts."""
    vision, text = spec.config["vision_cfg"], spec.config["text_cfg"]
    if text.get("hf_model_name"):
        return "a text tower of transformers"
    if name := vision.get("timm_model_name"):
        return "SigLIP" if "siglip" in name else "timm"
    if "multimodal_cfg" in spec.config:
        return "CoCa"
    return "ModifiedResNet" if isinstance(vision["layers"], list) else "VisionTransformer"


@pytest.mark.parametrize(
    ("kind", "architectures", "tags"),
    [("VisionTransformer", 45, 92), ("ModifiedResNet", 10, 16), ("CoCa", 3, 4)],
)
def test_every_tower_of_open_clips_own_is_built_from_its_file(kind: str, architectures: int, tags: int) -> None:
    of_it = [name for name, spec in SPECS.items() if tower(spec) == kind]
    assert len(of_it) >= architectures
    assert sum(len(open_clip_data.pretrained_tags(name)) for name in of_it) >= tags
    assert [name for name in of_it if architecture.read(SPECS[name]) is None] == []


def test_towers_of_timm_and_of_transformers_are_not() -> None:
    others = {name for name, spec in SPECS.items() if tower(spec) in ("timm", "a text tower of transformers")}
    assert others >= {"EVA02-B-16", "convnext_base", "MobileCLIP-S1", "MobileCLIP-B", "ViTamin-S", "PE-Core-T-16-384",
                      "roberta-ViT-B-32", "mt5-base-ViT-B-32", "nllb-clip-base", "coca_roberta-ViT-B-32"}  # fmt: skip
    assert {name for name in others if architecture.read(SPECS[name]) is not None} == set()


UNKNOWN: list[tuple[str, Mapping[str, Any]]] = [
    ("vision_cfg", {"attentional_pool": "parallel"}),
    ("vision_cfg", {"attentional_pool": True, "pool_type": "avg"}),
    ("vision_cfg", {"pool_type": "none"}),
    ("vision_cfg", {"qk_norm": True}),
    ("vision_cfg", {"block_type": "custom"}),
    ("vision_cfg", {"scale_attn_inner": True}),
    ("vision_cfg", {"norm_kwargs": {"bias": False}}),
    ("vision_cfg", {"act_kwargs": {"approximate": "sigmoid"}}),
    ("vision_cfg", {"image_size": 192}),  # which is not the preprocessing's
    ("vision_cfg", {"registers": 4}),
    ("text_cfg", {"scale_fc": True}),
    ("text_cfg", {"pool_type": "none"}),
    ("text_cfg", {"proj_type": "mlp"}),
    ("text_cfg", {"use_pad_mask": True}),
]


@pytest.mark.parametrize(("section", "values"), UNKNOWN)
@pytest.mark.parametrize("name", ["ViT-B-32", "RN50"])
def test_what_a_configuration_says_beyond_that_is_not_passed_over(
    name: str, section: str, values: Mapping[str, Any]
) -> None:
    spec = SPECS[name]
    assert architecture.read(spec) is not None
    config = {**spec.config, section: {**spec.config[section], **values}}
    assert architecture.read(replace(spec, config=config)) is None


def test_a_key_of_the_whole_model_is_not_passed_over_either() -> None:
    spec = SPECS["ViT-B-32"]
    assert architecture.read(replace(spec, config={**spec.config, "audio_cfg": {}})) is None


@pytest.mark.slow
def test_every_architecture_wants_the_tensors_that_open_clips_module_has(tmp_path: Path) -> None:
    """All of them and no others, in their shapes. Two blocks, for the rest are alike, and no numbers: files with holes."""
    import torch

    from zsclip.engines.torch.building import module

    for name, spec in SPECS.items():
        if name.endswith("-quickgelu") or tower(spec) not in ("VisionTransformer", "ModifiedResNet", "CoCa"):
            continue
        short = replace(spec, config=with_two_blocks(spec.config))
        with torch.device("meta"):
            theirs = module(short)
        path = tmp_path / f"{name}.safetensors"
        save_hollow(theirs.state_dict(), path)
        built = BuiltModel(short, path)
        assert built.parameters == sum(parameter.numel() for parameter in theirs.parameters()), name
        path.unlink()


def with_two_blocks(config: Mapping[str, Any]) -> dict[str, Any]:
    shorter: dict[str, Any] = dict(config)
    for key in ("vision_cfg", "text_cfg", "multimodal_cfg"):
        if isinstance(config.get(key, {}).get("layers"), int):
            shorter[key] = {**config[key], "layers": 2}
    return shorter


def save_hollow(tensors: Mapping[str, Any], path: Path) -> None:
    """A file of safetensors with these names and shapes, that takes no room on the disk."""
    header, end = {}, 0
    for name, tensor in tensors.items():
        begin, end = end, end + tensor.numel() * tensor.element_size()
        kind = {"torch.float32": "F32", "torch.int64": "I64"}[str(tensor.dtype)]
        header[name] = {"dtype": kind, "shape": list(tensor.shape), "data_offsets": [begin, end]}
    written = json.dumps(header).encode()
    written += b" " * (-len(written) % 8)  # numbers at places that are no multiple of their size would be copied
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(written)) + written)
        file.truncate(8 + len(written) + end)
