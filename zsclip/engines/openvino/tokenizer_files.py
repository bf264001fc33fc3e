"""The tokenizer of a model out of its own files: CLIP's vocabulary, or the `tokenizer.json` of one of transformers.

transformers makes some of its classes anew from the vocabulary, whatever else the file says. What it makes of the classes here is
done in the same way; of any other class, or where a file says more than is known here, there is None, and transformers itself
has to be asked.
"""

from __future__ import annotations

import gzip
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zsclip.engines.openvino.tokenizer import Settings, Tokenizer
from zsclip.models import ModelSpec, TokenizerSpec, fetch_tokenizer, open_clip_data

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Pieces

logger = logging.getLogger("zsclip")

_KNOWN = "5."  # of transformers, whose classes are read here; version 4 uses the file as it is
_MERGES = (
    49152 - 256 - 2
)  # of those in the file, CLIP has as many as there are tokens beside bytes and the two special ones

# Keys of a `tokenizer_config.json` that are read here, or change no tokens: of a call that says how long texts are, with a
# `tokenizer.json` beside it.
_READ = {
    "tokenizer_class", "added_tokens_decoder", "extra_special_tokens", "additional_special_tokens", "padding_side", "truncation_side",
    "split_special_tokens", "add_prefix_space", "extra_ids", "do_lower_case", "strip_accents", "tokenize_chinese_chars",
}  # fmt: skip
_IDLE = {
    "add_bos_token", "add_eos_token", "backend", "chat_template", "clean_up_tokenization_spaces", "do_basic_tokenize", "is_local",
    "legacy", "local_files_only", "max_len", "max_length", "model_input_names", "model_max_length", "name_or_path", "never_split",
    "pad_to_multiple_of", "pad_token_type_id", "processor_class", "sp_model_kwargs", "spaces_between_special_tokens",
    "special_tokens_map_file", "stride", "tokenizer_file", "truncation_strategy", "unk_id", "use_default_system_prompt", "use_fast",
}  # fmt: skip
_NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
# The types of models in a `config.json` for which the class named by the tokenizer's own files counts; else it is this one.
_MODELS = {"bert": "BertTokenizer", "xlm-roberta": "XLMRobertaTokenizer", "clip": "CLIPTokenizer", "siglip": ""}


def read(spec: ModelSpec) -> Tokenizer | None:
    """The model's tokenizer without importing transformers, None where that might give other tokens. Its files are fetched if
    need be; raises `ModelError`."""
    if spec.tokenizer.kind == "clip":
        return _clip(spec.tokenizer)
    folder = fetch_tokenizer(spec)
    if folder is None or not version("transformers").startswith(_KNOWN):
        return None
    try:
        return _of_transformers(spec.tokenizer, folder)
    except Exception as error:  # a file may say anything, and `tokenizers` raises what it likes; transformers will tell
        logger.debug("%s: its tokenizer is left to transformers (%r)", spec.title, error)
        return None


def _clip(spec: TokenizerSpec) -> Tokenizer | None:
    """open_clip's SimpleTokenizer: bytes as characters, each also as the end of a word; then what pairs of pieces become."""
    if spec.special_tokens:
        return None
    with gzip.open(open_clip_data.folder() / "bpe_simple_vocab_16e6.txt.gz") as file:
        # A fifth of it is CLIP's, the first 530,000 bytes after a line of title.
        lines = file.read(1 << 20).decode(errors="ignore").split("\n", _MERGES + 1)[1:-1]
    both = " ".join(lines).split(" ")
    merges = list(zip(both[::2], both[1::2], strict=True))
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    letters = [chr(code) for code in (*plain, *range(256, 512 - len(plain)))]
    pieces = [*letters, *(f"{letter}</w>" for letter in letters), *map("".join, merges)]
    start = len(pieces)
    vocabulary = {piece: number for number, piece in enumerate([*pieces, "<start_of_text>", "<end_of_text>"])}
    return Tokenizer.clip(vocabulary, merges, Settings(spec.context_length, spec.clean, True, start, start + 1))


class _UnknownError(Exception):
    """What transformers makes of something is not known here."""


def _require(is_known: object) -> None:
    if not is_known:
        raise _UnknownError


@dataclass
class _Files:
    """A tokenizer as it is being made: what its files say, its special tokens by name, and the pieces as `tokenizers` read
    them."""

    path: Path
    config: Mapping[str, Any]
    tokens: dict[str, str]
    pieces: Pieces

    def pair(self, name: str) -> tuple[str, int]:
        """The special token that has that name, such as `eos_token`, and its number."""
        text = self.tokens.get(name)
        number = None if text is None else self.pieces.token_to_id(text)
        if text is None or number is None:
            raise _UnknownError
        return text, number


@dataclass(frozen=True)
class _Class:
    """A class of transformers: the special tokens that it has unless told otherwise, and what it makes anew."""

    tokens: Mapping[str, str] = field(default_factory=dict)
    make: Callable[[_Files], None] | None = None  # None: the file counts
    side: str = "right"  # at which texts are filled up
    extra: int = 0  # how many special tokens it has beside, unless the configuration lists some or none


def _of_transformers(spec: TokenizerSpec, folder: Path) -> Tokenizer:
    from tokenizers import Tokenizer as Pieces

    _require(not spec.mode and spec.language is None and not spec.options)
    config = _json(folder / "tokenizer_config.json")
    kind = _CLASSES.get(_class_name(config, _json(folder / "config.json")))
    if kind is None:
        raise _UnknownError
    _require(config.keys() <= _READ | _IDLE | set(_NAMED))
    _require(not config.get("split_special_tokens") and config.get("truncation_side", "right") == "right")
    path = folder / "tokenizer.json"
    files = _Files(path, config, _tokens(config, kind, folder), Pieces.from_file(str(path)))
    _add_tokens(files, kind)
    if kind.make is not None:
        kind.make(files)
    _, pad = files.pair("pad_token")
    _shape(files, spec.context_length, pad, kind)
    blanked = files.pair("sep_token")[1] if spec.strip_sep_token else None
    return Tokenizer(files.pieces, Settings(spec.context_length, spec.clean, pad=pad, blanked=blanked))


def _json(path: Path) -> dict[str, Any]:
    """A file that holds a mapping, an empty one if there is none."""
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    _require(isinstance(found, dict))
    return dict(found)


def _class_name(config: Mapping[str, Any], model: Mapping[str, Any]) -> str:
    """The class that transformers takes; "" where that is none that is known here."""
    _require("auto_map" not in config and "auto_map" not in model)
    kind = model.get("model_type")
    _require(kind is None or kind in _MODELS)
    declared = config.get("tokenizer_class") or model.get("tokenizer_class") or _MODELS.get(kind or "", "")
    return str(declared).removesuffix("Fast")


def _tokens(config: Mapping[str, Any], kind: _Class, folder: Path) -> dict[str, str]:
    """The special tokens by name, in the order in which they are added."""
    given = dict(config)
    if "added_tokens_decoder" not in config:
        _require(not (folder / "added_tokens.json").exists())
        given |= _json(folder / "special_tokens_map.json")
        _require(given.keys() <= config.keys() | {*_NAMED, "additional_special_tokens"})
        _require(given.get("additional_special_tokens") == config.get("additional_special_tokens"))
    named = {}
    for name in _NAMED:
        value = given.get(name, kind.tokens.get(name))
        text = value.get("content") if isinstance(value, dict) else value
        _require(isinstance(text, str) or (text is None and name not in kind.tokens))
        if text is not None:
            named[name] = text
    return named


def _add_tokens(files: _Files, kind: _Class) -> None:
    """What the file does not know as a special token yet. Those that it knows must be as the configuration has them."""
    from tokenizers import AddedToken

    inside = files.pieces.get_added_tokens_decoder()
    listed = files.config.get("added_tokens_decoder")
    if listed is not None:
        expected = {int(number): _plain(AddedToken(**token)) for number, token in dict(listed).items()}
        found = {number: _plain(token) for number, token in inside.items()}
        _require(expected == found)
    known = {token.content: token for token in inside.values()}
    if kind.make is not None:  # then they get the numbers that they have in the vocabulary
        _require(all(files.pieces.model.token_to_id(one.content) == number for number, one in inside.items()))
    _require(all(known[text].special for text in files.tokens.values() if text in known))
    wanted = dict.fromkeys((*files.tokens.values(), *_extra(files.config, kind)))
    files.pieces.add_tokens([AddedToken(text, special=True) for text in wanted if text not in known])


def _plain(token: Any) -> tuple[Any, ...]:
    return token.content, token.single_word, token.lstrip, token.rstrip, token.normalized, token.special


def _extra(config: Mapping[str, Any], kind: _Class) -> list[str]:
    """Special tokens without a name."""
    keys = ("extra_special_tokens", "additional_special_tokens")
    lists = [config[key] for key in keys if key in config and config[key] != {}]
    _require(all(isinstance(one, list) and all(isinstance(text, str) for text in one) for one in lists))
    if lists:
        _require(len([one for one in lists if one]) < 2)
        return [text for one in lists for text in one]
    count = config.get("extra_ids", kind.extra) if kind.extra else 0
    return [f"<extra_id_{number}>" for number in range(count)]


def _shape(files: _Files, length: int, pad: int, kind: _Class) -> None:
    """Cut texts at the model's length and fill them up to it, as open_clip asks transformers to."""
    pieces = files.pieces
    cut, fill = pieces.truncation or {}, pieces.padding or {}
    _require(cut.get("direction", "right") == "right")
    side = files.config.get("padding_side", fill.get("direction", kind.side))
    pieces.enable_truncation(length)
    pieces.enable_padding(direction=side, pad_id=pad, pad_token=files.tokens["pad_token"], length=length)


def _t5(files: _Files) -> None:
    """T5's: SigLIP's tokenizer."""
    _unigram(files, unknown=2)
    end = files.pair("eos_token")[1]
    _template(files, "$A </s>", [("</s>", end)])


def _xlm_roberta(files: _Files) -> None:
    """XLM-RoBERTa's: that of the worldwide models."""
    _require(files.config.get("add_prefix_space", True) is True)
    _unigram(files, unknown=3)
    begin, end = files.pair("bos_token"), files.pair("eos_token")
    _template(files, f"{begin[0]} $A {end[0]}", [begin, end])


def _unigram(files: _Files, unknown: int) -> None:
    """A vocabulary of SentencePiece's with probabilities, and its table for normalising characters, of which no library tells
    what is inside."""
    import base64

    from tokenizers import decoders, normalizers, pre_tokenizers

    document = _json(files.path)
    model, normalizer = document["model"], document.get("normalizer") or {}
    _require(model.get("type") == "Unigram" and model.get("unk_id") == unknown and not model.get("byte_fallback"))
    tables = [one for one in normalizer.get("normalizers", [normalizer]) if one.get("type") == "Precompiled"]
    table = base64.b64decode(tables[0]["precompiled_charsmap"]) if tables else None
    files.pieces.normalizer = normalizers.Precompiled(table) if table else normalizers.Sequence([])
    space = ("▁", "always")
    files.pieces.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(*space)]
    )
    files.pieces.decoder = decoders.Metaspace(*space)


def _gemma(files: _Files) -> None:
    """Gemma's: SigLIP 2's tokenizer. What surrounds a text stays as in the file."""
    from tokenizers import decoders, normalizers, pre_tokenizers

    _byte_pairs(files, fuse_unk=True, byte_fallback=True, suffix="")
    files.pieces.normalizer = normalizers.Replace(" ", "▁")
    files.pieces.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    files.pieces.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])


def _clip_of_transformers(files: _Files) -> None:
    from tokenizers import Regex, decoders, normalizers, pre_tokenizers, processors

    _byte_pairs(files, fuse_unk=False, byte_fallback=False, suffix="</w>")
    files.pieces.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    words = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
    split = pre_tokenizers.Split(Regex(words), "removed", invert=True)
    files.pieces.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    files.pieces.decoder = decoders.ByteLevel()
    files.pieces.post_processor = processors.RobertaProcessing(
        files.pair("eos_token"), files.pair("bos_token"), trim_offsets=False, add_prefix_space=False
    )


def _byte_pairs(files: _Files, *, fuse_unk: bool, byte_fallback: bool, suffix: str) -> None:
    from tokenizers.models import BPE

    model = files.pieces.model
    _require(isinstance(model, BPE))
    _require(not model.continuing_subword_prefix and (model.end_of_word_suffix or "") == suffix)
    model.unk_token, model.fuse_unk, model.byte_fallback = files.tokens["unk_token"], fuse_unk, byte_fallback
    model.dropout, model.ignore_merges = None, False


def _bert(files: _Files) -> None:
    """BERT's: CLIPA's tokenizer."""
    from tokenizers import decoders, normalizers, pre_tokenizers
    from tokenizers.models import WordPiece

    pieces, config = files.pieces, files.config
    _require(isinstance(pieces.model, WordPiece) and pieces.model.unk_token == files.tokens["unk_token"])
    _require(pieces.model.continuing_subword_prefix == "##" and pieces.model.max_input_chars_per_word == 100)
    pieces.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=config.get("tokenize_chinese_chars", True),
        strip_accents=config.get("strip_accents"),
        lowercase=config.get("do_lower_case", True),
    )
    pieces.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    pieces.decoder = decoders.WordPiece(prefix="##")
    begin, end = files.pair("cls_token"), files.pair("sep_token")
    _template(files, f"{begin[0]} $A {end[0]}", [begin, end])


def _template(files: _Files, single: str, tokens: list[tuple[str, int]]) -> None:
    """What surrounds a text."""
    from tokenizers.processors import TemplateProcessing

    files.pieces.post_processor = TemplateProcessing(single=single, special_tokens=tokens)


_ROUND = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>", "mask_token": "<mask>"}
_CLASSES: Mapping[str, _Class] = {
    "PreTrainedTokenizer": _Class(),
    "TokenizersBackend": _Class(),
    "T5Tokenizer": _Class({"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}, _t5, extra=100),
    "XLMRobertaTokenizer": _Class({**_ROUND, "sep_token": "</s>", "cls_token": "<s>"}, _xlm_roberta),
    "GemmaTokenizer": _Class({**_ROUND, "bos_token": "<bos>", "eos_token": "<eos>"}, _gemma, side="left"),
    "BertTokenizer": _Class(
        {"unk_token": "[UNK]", "sep_token": "[SEP]", "pad_token": "[PAD]", "cls_token": "[CLS]", "mask_token": "[MASK]"}, _bert
    ),
    "CLIPTokenizer": _Class(
        {"bos_token": "<|startoftext|>", **dict.fromkeys(("unk_token", "eos_token", "pad_token"), "<|endoftext|>")},
        _clip_of_transformers,
    ),
}  # fmt: skip
