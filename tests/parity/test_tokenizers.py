"""Tokenizers that are made of a model's own files without transformers, against open_clip's classes over the same files."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import small_models as small
from support.processes import run_python

from zsclip.engines import probes
from zsclip.engines.openvino import tokenizer_files
from zsclip.models import ModelSpec, TokenizerSpec, open_clip_data, resolve

pytestmark = pytest.mark.slow


def edit(path: Path, **changes: Any) -> None:
    """Change keys of a JSON file; None removes one."""
    document = json.loads(path.read_text()) if path.exists() else {}
    document = {key: value for key, value in (document | changes).items() if value is not None}
    path.write_text(json.dumps(document))


def save_t5(folder: Path) -> None:
    """SigLIP's: trained by SentencePiece, converted by transformers, and the file as version 4 of it wrote it."""
    import sentencepiece
    import transformers

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(small.TEXTS * 3), model_writer=model, vocab_size=80, pad_id=0, eos_id=1, unk_id=2, bos_id=-1,
        hard_vocab_limit=False, minloglevel=9,
    )  # fmt: skip
    (folder / "spiece.model").write_bytes(model.getvalue())
    made = transformers.T5Tokenizer.from_pretrained(folder, extra_ids=0, legacy=False, pad_token="</s>")
    made.save_pretrained(folder)
    (folder / "spiece.model").unlink(missing_ok=True)
    spaces = [
        {"type": "Strip", "strip_left": False, "strip_right": True},
        {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "▁"},
    ]
    normalizer = json.loads((folder / "tokenizer.json").read_text())["normalizer"]
    assert normalizer["type"] == "Precompiled"
    edit(
        folder / "tokenizer.json",
        normalizer={"type": "Sequence", "normalizers": [normalizer, *spaces]},
        pre_tokenizer={"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": True},
    )
    added = {str(n): {"content": text, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}
             for n, text in enumerate(["<pad>", "</s>", "<unk>"])}  # fmt: skip
    inside = json.loads((folder / "tokenizer.json").read_text())["added_tokens"]
    added = {number: token for number, token in added.items() if int(number) in {one["id"] for one in inside}}
    edit(
        folder / "tokenizer_config.json", tokenizer_class="T5Tokenizer", additional_special_tokens=[], extra_ids=0,
        added_tokens_decoder=added, clean_up_tokenization_spaces=False, legacy=False, do_lower_case=True, extra_special_tokens=None,
    )  # fmt: skip


def save_xlm_roberta(folder: Path) -> None:
    """That of the worldwide models, in the file as version 4 wrote it, with its table of special tokens."""
    save_t5(folder)
    document = json.loads((folder / "tokenizer.json").read_text())
    first = [["<s>", 0.0], ["<pad>", 0.0], ["</s>", 0.0], ["<unk>", 0.0]]
    vocab = [*first, *document["model"]["vocab"][3:], ["<mask>", 0.0]]
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    added = [{"id": n, "content": text, **plain} for n, (text, _) in enumerate(first)]
    added.append({"id": len(vocab) - 1, "content": "<mask>", **plain, "lstrip": True})
    post = {
        "type": "RobertaProcessing", "sep": ["</s>", 2], "cls": ["<s>", 0], "trim_offsets": True, "add_prefix_space": True,
    }  # fmt: skip
    model = {"type": "Unigram", "unk_id": 3, "vocab": vocab}
    edit(folder / "tokenizer.json", model=model, added_tokens=added, post_processor=post)
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "XLMRobertaTokenizer", "model_max_length": 512})
    )
    mask = {"content": "<mask>", "lstrip": True, "normalized": False, "rstrip": False, "single_word": False}
    special = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>", "mask_token": mask}
    (folder / "special_tokens_map.json").write_text(json.dumps(special))
    (folder / "config.json").write_text(json.dumps({"model_type": "xlm-roberta"}))


def save_gemma(folder: Path) -> None:
    """SigLIP 2's, whose mask token is in no vocabulary here."""
    small.save_gemma(folder)
    edit(folder / "tokenizer_config.json", tokenizer_class="GemmaTokenizer", add_bos_token=False, add_eos_token=True)


def save_gemma_of_a_model(folder: Path) -> None:
    """Without a side to fill up at, which is then the left."""
    save_gemma(folder)
    edit(folder / "tokenizer_config.json", tokenizer_class="GemmaTokenizerFast", padding_side=None)
    (folder / "config.json").write_text(json.dumps({"model_type": "siglip"}))


def save_bert(folder: Path) -> None:
    """BERT's as it is published: no class is named, and case counts although the file says that it does not."""
    small.save_word_pieces(folder)
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": False, "model_max_length": 512}))
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))


def save_filled_up(folder: Path) -> None:
    """A file that was saved after a call that cut and filled up."""
    small.save_unigram(folder)
    padding = {
        "strategy": {"Fixed": 9}, "direction": "Left", "pad_to_multiple_of": None, "pad_id": 1, "pad_type_id": 0, "pad_token": "</s>",
    }  # fmt: skip
    truncation = {"direction": "Right", "max_length": 9, "strategy": "LongestFirst", "stride": 0}
    edit(folder / "tokenizer.json", padding=padding, truncation=truncation)


SAVED: dict[str, Callable[[Path], Any]] = {
    "unigram": small.save_unigram,
    "unigram, filled up": save_filled_up,
    "T5": save_t5,
    "XLM-RoBERTa": save_xlm_roberta,
    "pairs of characters": small.save_gemma,
    "Gemma": save_gemma,
    "Gemma of a model": save_gemma_of_a_model,
    "word pieces": small.save_word_pieces,
    "BERT": save_bert,
    "bytes": small.save_bytes,
    "CLIP of transformers": small.save_clip,
}
SCRIPTS = [(32, 127), (32, 127), (160, 600), (0x370, 0x530), (0x590, 0x700), (0x900, 0xE80), (0x1E00, 0x2200),
           (0x2600, 0x27C0), (0x3040, 0x3100), (0x4E00, 0x5000), (0xAC00, 0xAD00), (0xFB00, 0xFB50), (0xFF00, 0xFFF0),
           (0x1F300, 0x1F700), (0, 32)]  # fmt: skip
SPECIAL = ["</s>", "<s>", "<pad>", "<unk>", "<mask>", "<eos>", "<bos>", "[CLS]", "[SEP]", "[MASK]", "[PAD]", "<|endoftext|>",
           "<extra_id_0>", "<end_of_text>", "▁", "##a", "</w>", "  ", " ", "\u00a0", "\u200b", "don't", "a_b", "ca"]  # fmt: skip


@cache
def texts_of_all_scripts(count: int) -> list[str]:
    """Letters of every script, with words and special tokens in between."""
    rng = random.Random(0)
    letters = [chr(code) for first, last in SCRIPTS for code in range(first, last)]

    def word() -> str:
        return "".join(rng.choices(letters if rng.random() < 0.5 else letters[:95], k=rng.randrange(20)))

    return [f"{word()}{rng.choice(SPECIAL)}{word()} {word()}" for _ in range(count)]


def spec_of(folder: Path, **settings: Any) -> ModelSpec:
    tokenizer = TokenizerSpec("hf", **{"context_length": 24, "source": folder, "clean": "none", **settings})
    return replace(resolve("demo"), tokenizer=tokenizer)


@pytest.fixture(scope="module", params=list(SAVED))
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("tokenizer")
    SAVED[request.param](made)
    return made


class Pair:
    """A tokenizer, and open_clip's."""

    def __init__(self, spec: ModelSpec) -> None:
        from zsclip.engines.torch.tokenizers import load_tokenizer

        made = tokenizer_files.read(spec)
        assert made is not None
        self.made, self.reference = made, load_tokenizer(spec)

    def assert_equal(self, texts: list[str]) -> None:
        expected, found = self.reference(texts), self.made(texts)
        assert found.shape == expected.shape
        different = [
            text for text, a, b in zip(texts, expected.numpy(), found, strict=True) if not np.array_equal(a, b)
        ]
        assert not different
        some = slice(0, 60)  # transformers reads ends slowly
        assert self.made.cuts(texts[some], found[some]) == self.reference.cuts(texts[some], expected[some])


@pytest.fixture(scope="module")
def pair(folder: Path) -> Pair:
    return Pair(spec_of(folder))


def test_tokens_and_cut_ends_are_open_clips(pair: Pair) -> None:
    pair.assert_equal([*small.TEXTS, *probes.TEXTS])


@pytest.mark.parametrize("clean", ["lower", "whitespace", "canonicalize"])
def test_cleaned_texts_too(folder: Path, clean: str) -> None:
    Pair(spec_of(folder, clean=clean)).assert_equal([*small.TEXTS, *probes.TEXTS, *texts_of_all_scripts(300)])


def test_thousands_of_texts_of_all_scripts_with_special_tokens_in_them(pair: Pair) -> None:
    pair.assert_equal(texts_of_all_scripts(2000))


@given(texts=st.lists(st.text(st.characters(exclude_categories=("Cs",)), max_size=80), min_size=20, max_size=40))
def test_any_texts(pair: Pair, texts: list[str]) -> None:
    pair.assert_equal(texts)


@pytest.mark.parametrize("save", [small.save_word_pieces, small.save_bytes])
def test_separators_are_blanked_where_the_model_wants_it(save: Callable[[Path], Any], tmp_path: Path) -> None:
    save(tmp_path)
    Pair(spec_of(tmp_path, strip_sep_token=True)).assert_equal([*small.TEXTS, *probes.TEXTS])


@pytest.mark.parametrize(
    "settings",
    [
        {"mode": "clips"},
        {"language": "de"},
        {"strip_sep_token": True},
        {"options": {"add_bos_token": True}},
        {"options": {"legacy": False}},
    ],
)
def test_what_changes_tokens_in_other_ways_is_left_to_transformers(settings: dict[str, Any], tmp_path: Path) -> None:
    small.save_unigram(tmp_path)
    assert tokenizer_files.read(spec_of(tmp_path)) is not None
    assert tokenizer_files.read(spec_of(tmp_path, **settings)) is None


TOKEN = {
    "content": "</s>",
    "lstrip": False,
    "normalized": False,
    "rstrip": False,
    "single_word": False,
    "special": True,
}


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("tokenizer_config.json", {"tokenizer_class": "LlamaTokenizer"}),
        ("tokenizer_config.json", {"tokenizer_class": None}),
        ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["a.B", None]}}),
        ("tokenizer_config.json", {"split_special_tokens": True}),
        ("tokenizer_config.json", {"truncation_side": "left"}),
        ("tokenizer_config.json", {"fix_mistral_regex": True}),
        ("tokenizer_config.json", {"image_token": "<image>"}),
        ("tokenizer_config.json", {"extra_special_tokens": {"image_token": "<image>"}}),
        ("tokenizer_config.json", {"pad_token": None}),
        ("tokenizer_config.json", {"pad_token": 3}),
        ("tokenizer_config.json", {"added_tokens_decoder": {"1": {**TOKEN, "lstrip": True}}}),
        ("tokenizer_config.json", {"added_tokens_decoder": {"1": {**TOKEN, "unheard of": 1}}}),
        ("tokenizer_config.json", {"added_tokens_decoder": []}),
        ("tokenizer_config.json", {"added_tokens_decoder": {"1": 5}}),
        ("tokenizer_config.json", {"tokenizer_class": "T5Tokenizer", "extra_ids": "many"}),
        ("tokenizer_config.json", {"padding_side": "above"}),
        ("config.json", {"model_type": "qwen2"}),
        ("config.json", {"auto_map": {"AutoConfig": "a.B"}}),
        ("added_tokens.json", {"<new>": 99}),
        ("special_tokens_map.json", {"additional_special_tokens": ["<new>"]}),
        ("tokenizer.json", {"model": {"type": "Unigram"}}),
        ("tokenizer.json", {"added_tokens": [{**TOKEN, "id": 1, "special": False}]}),
    ],
)
def test_files_that_say_more_than_is_known_are_left_to_transformers(
    name: str, changes: dict[str, Any], tmp_path: Path
) -> None:
    small.save_unigram(tmp_path)
    assert tokenizer_files.read(spec_of(tmp_path)) is not None
    edit(tmp_path / name, **changes)
    assert tokenizer_files.read(spec_of(tmp_path)) is None


@pytest.mark.parametrize("damage", ["no such file", "not JSON", "a list"])
@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
def test_damaged_files_are_left_to_transformers(name: str, damage: str, tmp_path: Path) -> None:
    small.save_unigram(tmp_path)
    (tmp_path / "spiece.model").write_bytes(b"a vocabulary in another form")
    (tmp_path / name).unlink()
    if damage != "no such file":
        (tmp_path / name).write_text("{" if damage == "not JSON" else "[]")
    assert tokenizer_files.read(spec_of(tmp_path)) is None


class TestClip:
    @pytest.fixture(scope="class")
    def pair(self) -> Pair:
        return Pair(resolve("demo"))

    def test_tokens_and_cut_ends_are_open_clips(self, pair: Pair) -> None:
        names = open_clip_data.imagenet_classes()
        templates = open_clip_data.templates("openai-imagenet")
        prompts = [templates[n % 80].replace("<label>", name) for n, name in enumerate(names * 3)]
        pair.assert_equal([*small.TEXTS, *probes.TEXTS, *prompts, *texts_of_all_scripts(2000)])

    @pytest.mark.parametrize("settings", [{"context_length": 32}, {"clean": "canonicalize"}, {"clean": "whitespace"}])
    def test_of_other_lengths_and_cleaned_otherwise(self, settings: dict[str, Any]) -> None:
        spec = replace(resolve("demo"), tokenizer=TokenizerSpec(**settings))
        Pair(spec).assert_equal([*small.TEXTS, *probes.TEXTS, *texts_of_all_scripts(300)])

    def test_with_special_tokens_of_its_own_it_is_left_to_open_clip(self) -> None:
        assert tokenizer_files.read(replace(resolve("demo"), tokenizer=TokenizerSpec(special_tokens=("<x>",)))) is None


def test_neither_torch_nor_transformers_nor_open_clip_is_imported(tmp_path: Path) -> None:
    save_gemma(tmp_path)
    code = f"""
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from zsclip.engines.openvino import tokenizer_files
from zsclip.models import TokenizerSpec, resolve
for tokenizer in (TokenizerSpec(), TokenizerSpec("hf", 24, Path({str(tmp_path)!r}))):
    assert tokenizer_files.read(replace(resolve("demo"), tokenizer=tokenizer))(["a cat"]).any()
print(*sys.modules)
"""
    modules = set(run_python(code).stdout.split())
    assert "tokenizers" in modules
    assert not modules & {"torch", "transformers", "open_clip", "sentencepiece", "huggingface_hub"}
