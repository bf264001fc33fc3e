"""Count the parameters of every architecture of open_clip, and the operations for one picture, for `zsclip models list`.

    python scripts/count_models.py        (writes zsclip/models/counts.json)

Modules are built, and a picture sent through the image tower, on torch's meta device: there are shapes and no numbers. Text
towers of transformers would be described on the hub; the shapes of the published ones stand below.
"""

from __future__ import annotations

import json
import logging
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import open_clip
import torch
from torch.utils.flop_counter import FlopCounterMode

_PACKAGE = Path(__file__).parents[1] / "zsclip"
TARGET = _PACKAGE / "models" / "counts.json"
DEMO = "demo"

_XLM = {"model_type": "xlm-roberta", "vocab_size": 250002, "max_position_embeddings": 514, "type_vocab_size": 1}
_MT5 = {
    "model_type": "mt5",
    "vocab_size": 250112,
    "d_kv": 64,
    "feed_forward_proj": "gated-gelu",
    "is_encoder_decoder": True,
}
_NLLB = {"model_type": "m2m_100", "vocab_size": 256206, "d_model": 1024, "encoder_attention_heads": 16, "decoder_layers": 1,
         "max_position_embeddings": 1024, "is_encoder_decoder": True}  # fmt: skip
TEXT_TOWERS: dict[str, dict[str, Any]] = {
    "roberta-base": {"model_type": "roberta", "vocab_size": 50265, "max_position_embeddings": 514, "type_vocab_size": 1},
    "xlm-roberta-base": _XLM,
    "xlm-roberta-large": {**_XLM, "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096},
    "google/mt5-base": {**_MT5, "d_model": 768, "d_ff": 2048, "num_layers": 12, "num_heads": 12},
    "google/mt5-xl": {**_MT5, "d_model": 2048, "d_ff": 5120, "num_layers": 24, "num_heads": 32},
    "facebook/nllb-200-distilled-600M": {**_NLLB, "encoder_layers": 12, "encoder_ffn_dim": 4096},
    "facebook/nllb-200-distilled-1.3B": {**_NLLB, "encoder_layers": 24, "encoder_ffn_dim": 8192},
}  # fmt: skip


def configuration(architecture: str) -> dict[str, Any]:
    if architecture != DEMO:
        return open_clip.get_model_config(architecture)
    return json.loads((_PACKAGE / "demo" / "model" / "open_clip_config.json").read_text())["model_cfg"]


def build(config: dict[str, Any]) -> torch.nn.Module:
    with tempfile.TemporaryDirectory() as folder:
        if name := config["text_cfg"].get("hf_model_name"):
            (Path(folder) / "config.json").write_text(json.dumps(TEXT_TOWERS[name]))
            config["text_cfg"] |= {"hf_model_name": folder, "hf_model_pretrained": False}
        if "timm_model_name" in config["vision_cfg"]:
            config["vision_cfg"]["timm_model_pretrained"] = False
        custom = config.pop("custom_text", False) or name
        kind = open_clip.CoCa if "multimodal_cfg" in config else open_clip.CustomTextCLIP if custom else open_clip.CLIP
        return kind(**config).eval().requires_grad_(False)


def count(architecture: str) -> tuple[int, int]:
    """Parameters of all, and floating-point operations of the image tower for one picture (a multiplication and an addition
    are two)."""
    config = configuration(architecture)
    size = config["vision_cfg"].get("image_size", 224)
    height, width = (size, size) if isinstance(size, int) else size
    with torch.device("meta"):
        model = build(config)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model.visual(torch.empty(1, 3, height, width))
    return sum(parameter.numel() for parameter in model.parameters()), counter.get_total_flops()


def main() -> None:
    logging.disable()
    torch.backends.mha.set_fastpath_enabled(False)  # one operation that the counter does not know
    counts = {}
    for architecture in sorted((*open_clip.list_models(), DEMO)):
        counts[architecture] = count(architecture)
        print("{:40}{:>16,}{:>20,}".format(architecture, *counts[architecture]), flush=True)
    document = {
        "counted with": ", ".join(f"{name} {version(name)}" for name in ("open_clip_torch", "timm", "torch")),
        "parameters": {name: parameters for name, (parameters, _) in counts.items()},
        "image_flops": {name: flops for name, (_, flops) in counts.items()},
    }
    TARGET.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
