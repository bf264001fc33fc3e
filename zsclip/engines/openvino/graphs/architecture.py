"""Which architecture a configuration of open_clip describes, as far as its graph can be built here.

What a configuration says is either understood or a reason to build nothing: no key is passed over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias

from zsclip.engines.openvino.graphs import modified_resnet, siglip, vision_transformer
from zsclip.engines.openvino.graphs.layers import ACTIVATIONS, Activation, Blocks
from zsclip.engines.openvino.graphs.modified_resnet import ModifiedResNet
from zsclip.engines.openvino.graphs.text_transformer import TextTransformer
from zsclip.engines.openvino.graphs.vision_transformer import VisionTransformer
from zsclip.engines.openvino.graphs.weights import Scope
from zsclip.images.preprocessing import Preprocessing
from zsclip.models.spec import ModelSpec

# open_clip's defaults of what changes a tower in a way that is not built here, or nothing at inference (the last three).
_PLAIN: Mapping[str, Any] = {
    "block_type": None, "qk_norm": False, "scaled_cosine_attn": False, "scale_heads": False, "scale_attn_inner": False,
    "scale_attn": False, "scale_fc": False,
}  # fmt: skip
_WITHOUT_EFFECT = {"output_tokens", "patch_dropout", "timm_model_pretrained"}
_TOKENIZERS = {"hf_tokenizer_name", "tokenizer_mode", "tokenizer_kwargs"}
_TOP = {
    "embed_dim", "vision_cfg", "text_cfg", "multimodal_cfg", "custom_text", "quick_gelu", "init_logit_scale", "init_logit_bias",
    "nonscalar_logit_scale",
}  # fmt: skip

_Builder: TypeAlias = Callable[[Scope, Preprocessing], Any]  # of an image tower's graph
_Reader: TypeAlias = "Callable[[ModelSpec, _Section], _Builder | None]"


@dataclass(frozen=True)
class Architecture:
    """`image` builds the graph of the image tower. `text_prefix` is what its weights' names begin with. `unused` begin the names
    of weights that make no embeddings."""

    image: _Builder
    text: TextTransformer
    text_prefix: str
    has_bias: bool
    unused: tuple[str, ...] = ()


def read(spec: ModelSpec) -> Architecture | None:
    """The architecture of a model, None if it is none of these."""
    config = spec.config
    if not config.keys() <= _TOP:
        return None
    image, text = _image(spec), _text(spec)
    if image is None or text is None:
        return None
    is_coca = "multimodal_cfg" in config
    return Architecture(
        image,
        text,
        "text." if is_coca or config.get("custom_text") else "",
        config.get("init_logit_bias") is not None,
        ("text_decoder.",) if is_coca else (),
    )


def _image(spec: ModelSpec) -> _Builder | None:
    vision = _Section(spec.config["vision_cfg"])
    if vision.get("image_size", 224) not in (spec.preprocessing.size[0], list(spec.preprocessing.size)):
        return None
    image = _builder(spec, vision)(spec, vision)
    return image if image and vision.is_understood() else None


def _builder(spec: ModelSpec, vision: _Section) -> _Reader:
    if spec.layout == "siglip":
        return _siglip
    if vision.get("timm_model_name", None) is not None:
        return _timm
    return _modified_resnet if isinstance(vision.get("layers", 12), list) else _vision_transformer


def _siglip(spec: ModelSpec, vision: _Section) -> _Builder | None:
    """SigLIP of any size, in transformers' format."""
    blocks = _blocks(vision, vision.get("width", 0), vision.get("heads", 0), quick=spec.quick_gelu)
    if blocks is None or blocks.scaled:
        return None
    return partial(siglip.graph, siglip.Siglip(replace(blocks, names=siglip.TIMM), vision.get("patch_size", 0)))


def _timm(spec: ModelSpec, vision: _Section) -> _Builder | None:
    """One of timm's models, under its name."""
    model = siglip.PUBLISHED.get(vision.get("timm_model_name", ""))
    if model is None or vision.get("timm_pool", "avg") != "map" or vision.get("timm_proj", "linear") != "none":
        return None
    return partial(siglip.published, model, spec.embed_dim)


def _modified_resnet(spec: ModelSpec, vision: _Section) -> _Builder | None:
    width, head_width = vision.get("width", 768), vision.get("head_width", 64)
    if len(blocks := vision.get("layers", 12)) != 4:
        return None
    vision.get("patch_size", None)  # means nothing to it
    shape = ModifiedResNet(tuple(blocks), width, width * 32 // head_width, spec.embed_dim)
    return partial(modified_resnet.graph, shape)


def _vision_transformer(spec: ModelSpec, vision: _Section) -> _Builder | None:
    width, head_width = vision.get("width", 768), vision.get("head_width", 64)
    if not isinstance(vision.get("layers", 12), int):
        return None
    blocks = _blocks(vision, width, width // head_width, quick=spec.quick_gelu)
    pooler, pool = vision.get("attentional_pool", False), vision.get("pool_type", "tok")
    queries, heads = vision.get("attn_pooler_queries", 256), vision.get("attn_pooler_heads", 8)
    vision.get("pos_embed_type", "learnable")  # either is in the file
    if blocks is None or pooler not in (True, False) or pool not in ("tok", "avg") or (pooler and pool != "tok"):
        return None
    shape = VisionTransformer(
        blocks,
        vision.get("patch_size", 16),
        spec.embed_dim,
        pool,
        normalised_before=not vision.get("no_ln_pre", False),
        normalised_after_pool=vision.get("final_ln_after_pool", False),
        queries=queries if pooler else 0,
        pooler_heads=heads,
    )
    return partial(vision_transformer.graph, shape)


def _text(spec: ModelSpec) -> TextTransformer | None:
    text = _Section(spec.config["text_cfg"])
    blocks = _blocks(text, text.get("width", 512), text.get("heads", 8), quick=spec.quick_gelu)
    pool, projection = text.get("pool_type", "argmax"), text.get("proj_type", "linear")
    length = text.get("context_length", 77)
    if (
        blocks is None
        or text.get("hf_model_name", None) is not None
        or pool not in ("argmax", "eos", "first", "last")
        or projection not in ("linear", "none")
        or length != spec.context_length
    ):
        return None
    text.get("final_ln_after_pool", False)  # open_clip reads it, and gives it to nothing
    shape = TextTransformer(
        blocks,
        text.get("vocab_size", 49408),
        length,
        spec.embed_dim,
        causal=not text.get("no_causal_mask", False),
        pool=pool,
        end=text.get("eos_id", 2),
        appended=text.get("embed_cls", False),
        pad=text.get("pad_id", 0),
        projection=_projection(projection, has_bias=text.get("proj_bias", False)),
    )
    return shape if text.is_understood(_TOKENIZERS) else None


def _projection(kind: str, *, has_bias: bool) -> str:
    return "none" if kind == "none" else "linear" if has_bias else "matrix"


def _blocks(section: _Section, width: int, heads: int, *, quick: bool) -> Blocks | None:
    activation = _activation(section.get("act_kwargs", None), quick=quick)
    norm = section.get("norm_kwargs", None) or {}
    if (
        activation is None
        or not norm.keys() <= {"eps"}
        or any(section.get(key, plain) != plain for key, plain in _PLAIN.items())
    ):
        return None
    return Blocks(
        width,
        section.get("layers", 12),
        heads,
        int(width * section.get("mlp_ratio", 4.0)),
        activation,
        norm.get("eps", 1e-5),
        scaled=section.get("ls_init_value", None) is not None,
    )


def _activation(arguments: Mapping[str, Any] | None, *, quick: bool) -> Activation | None:
    if quick:
        return None if arguments else ACTIVATIONS["quick_gelu"]
    names = {(): "gelu", (("approximate", "none"),): "gelu", (("approximate", "tanh"),): "gelu_tanh"}
    name = names.get(tuple((arguments or {}).items()))
    return ACTIVATIONS[name] if name else None


class _Section:
    """A part of a configuration, which notes what of it was asked for."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values
        self._asked: set[str] = set()

    def get(self, key: str, default: Any) -> Any:
        self._asked.add(key)
        return self._values.get(key, default)

    def is_understood(self, beside: set[str] = frozenset()) -> bool:  # type: ignore[assignment]
        return self._values.keys() <= self._asked | _WITHOUT_EFFECT | beside
