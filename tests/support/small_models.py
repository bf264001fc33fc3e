"""Small models of every family in folders, with random weights, `logit_scale` ln 100 and tokenizers made for the tests."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

TEXTS = [
    "a cat", "A photo of a Dog, on a mat.", "école_123: DON'T 'stop'!", "red star", "x",
    "a low resolution picture of the very large label on a table by the window, seen from above in the evening, " * 3,
]  # fmt: skip


def save_unigram(folder: Path, *, eos: str = "</s>", pad: str = "</s>") -> int:
    """A tokenizer of SigLIP's kind (T5's): pieces with probabilities, an end token that also fills up. Its vocabulary's size."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    letters = "▁abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,:!?'_é"
    pieces = [("<pad>", 0.0), (eos, 0.0), ("<unk>", 0.0), *((letter, -6.0) for letter in letters)]
    pieces += [(piece, -4.0) for piece in ("▁a", "▁the", "▁photo", "▁of", "▁cat", "▁dog", "▁mat", "▁on", "ing", "er")]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=2))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(single=f"$A {eos}", special_tokens=[(eos, 1)])
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=eos, pad_token=pad, unk_token="<unk>"
    ).save_pretrained(folder)
    return len(pieces)


def save_gemma(folder: Path) -> int:
    """A tokenizer of SigLIP 2's kind (Gemma's): pairs of characters with bytes behind them, an end token, padding of 0."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = [
        "<pad>",
        "<eos>",
        "<bos>",
        "<unk>",
        *(f"<0x{n:02X}>" for n in range(256)),
        "▁",
        *"abcdefghijklmnopqrstuvwxyz0123456789",
    ]
    merges = [("c", "a"), ("ca", "t"), ("▁", "a"), ("o", "f"), ("p", "h"), ("ph", "o"), ("t", "o"), ("pho", "to")]
    words += ["".join(pair) for pair in merges]
    tokenizer = Tokenizer(
        models.BPE({word: n for n, word in enumerate(words)}, merges, unk_token="<unk>", byte_fallback=True)
    )
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.post_processor = processors.TemplateProcessing(single="$A <eos>", special_tokens=[("<eos>", 1)])
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<eos>",
        pad_token="<pad>",
        bos_token="<bos>",
        unk_token="<unk>",
        padding_side="right",
    ).save_pretrained(folder)
    return len(words)


def save_word_pieces(folder: Path) -> int:
    """A tokenizer of BERT's kind, as CLIPA's."""
    from tokenizers import BertWordPieceTokenizer
    from transformers import BertTokenizerFast

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "cat", "dog", "photo", "of", "on", "mat", "red", "star"]
    words += [prefix + letter for prefix in ("", "##") for letter in "abcdefghijklmnopqrstuvwxyz0123456789.,:!?'_"]
    words = list(dict.fromkeys(words))
    (folder / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    made = BertWordPieceTokenizer({word: n for n, word in enumerate(words)}, lowercase=True)
    BertTokenizerFast(tokenizer_object=made._tokenizer, do_lower_case=True).save_pretrained(folder)
    return len(words)


def save_bytes(folder: Path, kind: str = "roberta") -> int:
    """A tokenizer of RoBERTa's kind: pairs of bytes; begin and end tokens around the text."""
    from tokenizers import ByteLevelBPETokenizer
    from transformers import PreTrainedTokenizerFast

    made = ByteLevelBPETokenizer()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    made.train_from_iterator(TEXTS, vocab_size=320, min_frequency=1, special_tokens=special)
    from tokenizers.processors import RobertaProcessing

    made._tokenizer.post_processor = RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=made._tokenizer, bos_token="<s>", eos_token="</s>", cls_token="<s>", sep_token="</s>",
        pad_token="<pad>", unk_token="<unk>", mask_token="<mask>",
    )  # fmt: skip
    tokenizer.save_pretrained(folder)
    return int(made.get_vocab_size())


def save_clip(folder: Path) -> int:
    """CLIP's own vocabulary as transformers has it."""
    import gzip

    from open_clip.tokenizer import SimpleTokenizer, default_bpe
    from transformers import CLIPTokenizer

    merges = gzip.decompress(Path(default_bpe()).read_bytes()).decode().split("\n")[1 : 49152 - 256 - 2 + 1]
    vocab = {word.replace("<start_of_text>", "<|startoftext|>").replace("<end_of_text>", "<|endoftext|>"): number
             for word, number in SimpleTokenizer().encoder.items()}  # fmt: skip
    CLIPTokenizer(vocab=vocab, merges=[tuple(merge.split()) for merge in merges]).save_pretrained(folder)
    return 49408


def shrunk(name: str, **sizes: Any) -> str:
    """The name of one of timm's models made with other sizes: registered with timm, which knows only published ones."""
    import timm
    from timm.models import is_model, register_model

    small = f"{name}_shrunk_{zlib.crc32(repr(sorted(sizes.items())).encode()):x}"  # others of one name may be made beside it
    if is_model(small):
        return small
    make = timm.models.model_entrypoint(name)

    def shrunk_model(pretrained: bool = False, **options: Any) -> Any:
        return make(pretrained=pretrained, **{**sizes, **options})

    shrunk_model.__name__ = small
    shrunk_model.__module__ = __name__
    register_model(shrunk_model)
    return small


TINY = {"embed_dim": 64, "depth": 2, "num_heads": 2}


def timm_tower(name: str, **sizes: Any) -> dict[str, Any]:
    """An image tower of timm's for `family`, which registers it."""
    return {"timm_model_name": partial(shrunk, name, **sizes)}


INCEPTION = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic", "resize_mode": "squash"}


def family(name: str, **changes: Mapping[str, Any]) -> dict[str, Any]:
    """open_clip's configuration of an architecture, with some of its values made smaller."""
    from zsclip.models import open_clip_data

    config = deepcopy(dict(open_clip_data.model_config(name) or {}))
    for key, values in changes.items():
        if isinstance(values, dict):
            values = {**config[key], **{name: value() if callable(value) else value for name, value in values.items()}}
        config[key] = values
    return config


def save_family(
    folder: Path,
    config: dict[str, Any],
    save_tokenizer: Callable[[Path], int] | None = None,
    preprocess: Mapping[str, Any] | None = None,
) -> tuple[Any, Any]:
    """A `local-dir:` of random weights, a tokenizer of its own; and open_clip's model and transform of the same folder."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    if save_tokenizer is not None:
        config["text_cfg"]["vocab_size"] = save_tokenizer(folder)
    document = {"model_cfg": config, "preprocess_cfg": dict(preprocess or {})}
    path = folder / "open_clip_config.json"
    path.write_text(json.dumps(document))
    torch.manual_seed(7)
    if hf_name := config["text_cfg"].get("hf_model_name"):
        # open_clip asks the hub for the text tower's configuration, unless its name is a folder.
        theirs = folder.with_name(folder.name + "-theirs")
        theirs.mkdir()
        config["text_cfg"]["hf_model_name"] = str(folder)
        (theirs / "open_clip_config.json").write_text(json.dumps(document))
        config["text_cfg"]["hf_model_name"] = hf_name
        model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{theirs}", pretrained_text=False)
    else:
        model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    with torch.no_grad():
        model.logit_scale.fill_(math.log(100))
        if model.logit_bias is not None:
            model.logit_bias.fill_(-12.5)
        for parameter in model.parameters():
            if parameter.ndim:  # zeros and ones would hide where they go, and small weights what they do
                parameter.add_(torch.randn_like(parameter) * 0.03)
    count_statistics(model)
    save_file(
        {name: tensor.contiguous() for name, tensor in model.state_dict().items()},
        folder / "open_clip_model.safetensors",
    )
    return model.eval(), transform


def count_statistics(model: Any) -> None:
    """Give the normalisations over a batch of open_clip's ModifiedResNet statistics and weights such as training gives them. Fresh
    ones have mean 0, variance 1, and in the last of a block the weight 0, which hides the block."""
    import torch
    from open_clip.modified_resnet import ModifiedResNet

    if not isinstance(model.visual, ModifiedResNet):
        return
    with torch.no_grad():
        for name, norm in model.visual.named_modules():
            if not isinstance(norm, torch.nn.BatchNorm2d):
                continue
            # With blocks as strong as their shortcuts, rounding grows to 1e-5 in any order of computation.
            norm.weight.uniform_(*((0.1, 0.4) if name.startswith("layer") and name.endswith("bn3") else (0.6, 1.4)))
            norm.bias.normal_(0, 0.2)
            norm.momentum = None  # the mean over all batches, of which there is one
        coarse = torch.randn(8, 3, 9, 9) * 2
        size = model.visual.image_size
        model.visual.train()(torch.nn.functional.interpolate(coarse, (size, size), mode="bicubic"))
    model.eval()


ROBERTA = {"model_type": "roberta", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 96,
           "vocab_size": 320, "max_position_embeddings": 514, "type_vocab_size": 1, "pad_token_id": 1}  # fmt: skip


def save_transformers(kind: str, folder: Path) -> Any:
    """A small random `CLIPModel` or `SiglipModel` as transformers saves it, with tokenizer and image processor."""
    import torch
    import transformers

    torch.manual_seed(5)
    shape = {"hidden_size": 64, "intermediate_size": 150, "num_hidden_layers": 2, "num_attention_heads": 4}
    if kind == "siglip":
        size = save_unigram(folder)
        config = transformers.SiglipConfig(
            text_config={**shape, "vocab_size": size, "max_position_embeddings": 24},
            vision_config={**shape, "image_size": 64, "patch_size": 16},
        )
        model = transformers.SiglipModel(config)
        processor = transformers.SiglipImageProcessor(size={"height": 64, "width": 64})
    else:
        save_clip(folder)
        end = {"clip": 49407, "old clip": 2, "gelu clip": 49407}[kind]
        act = "gelu" if kind == "gelu clip" else "quick_gelu"
        config = transformers.CLIPConfig(
            projection_dim=40,
            text_config={**shape, "eos_token_id": end, "hidden_act": act, "max_position_embeddings": 32},
            vision_config={**shape, "image_size": 64, "patch_size": 16, "hidden_act": act},
        )
        model = transformers.CLIPModel(config)
        processor = transformers.CLIPImageProcessor(size={"shortest_edge": 64}, crop_size={"height": 64, "width": 64})
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
        model.logit_scale.fill_(math.log(100))
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return model.eval()
