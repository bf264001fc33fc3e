"""Every family of models against open_clip itself (or transformers, for its own format): same weights, same numbers."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image
from support import small_models as small

from zsclip import Classifier, PromptSet
from zsclip.engines.base import Computing
from zsclip.models import resolve

if TYPE_CHECKING:
    import torch

pytestmark = pytest.mark.slow


LABELS = ["cat", "a very long label of more than only a few words", "AC/DC", "école", "dog's bed"]
HALVES = {"mean": [0.5] * 3, "std": [0.5] * 3}
ZERO = {"mean": [0.0] * 3, "std": [1.0] * 3, "interpolation": "bilinear"}
ENGINES = ["torch", pytest.param("openvino", marks=pytest.mark.skipif(not find_spec("openvino"), reason="no OpenVINO"))]
# Two narrow layers show what thirty wide ones would, and convert in a third of the time.
FEW, ONE, WIDE = {"layers": 2, "width": 128}, {"layers": 1, "width": 160}, {"layers": 2}


@dataclass(frozen=True)
class Family:
    """An architecture, what of it is made smaller, its tokenizer, and how it wants its images."""

    architecture: str
    changes: dict[str, Any]
    tokenizer: Callable[[Path], int] | None = None
    preprocess: dict[str, Any] | None = None
    text_tower: dict[str, Any] | None = None  # config.json of one of transformers
    shortens: bool = False


MT5 = {"model_type": "mt5", "d_model": 64, "d_kv": 32, "d_ff": 96, "num_layers": 2, "num_heads": 2, "vocab_size": 128,
       "feed_forward_proj": "gated-gelu", "is_encoder_decoder": True, "pad_token_id": 0}  # fmt: skip
NLLB = {"model_type": "m2m_100", "d_model": 64, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 96,
        "decoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 96, "vocab_size": 320,
        "is_encoder_decoder": True, "pad_token_id": 1}  # fmt: skip
FAMILIES = {
    "QuickGELU": Family("ViT-B-32-quickgelu", {"vision_cfg": FEW, "text_cfg": FEW}, shortens=True),
    "ConvNeXt": Family(
        "convnext_base",
        {"vision_cfg": small.timm_tower("convnext_atto", depths=(1, 1, 1, 1)), "text_cfg": FEW},
        shortens=True,
    ),
    "Swin": Family(
        "swin_base_patch4_window7_224",
        {
            "vision_cfg": small.timm_tower(
                "swin_tiny_patch4_window7_224", embed_dim=32, depths=(2, 2), num_heads=(2, 2)
            ),
            "text_cfg": {**FEW, "heads": 2},
        },
        shortens=True,
    ),
    "EVA": Family(
        "EVA02-B-16",
        {"vision_cfg": small.timm_tower("eva02_base_patch16_clip_224", **small.TINY), "text_cfg": FEW},
        shortens=True,
    ),
    "SigLIP": Family(
        "ViT-B-16-SigLIP",
        {
            "embed_dim": 64,
            "vision_cfg": small.timm_tower("vit_base_patch16_siglip_224", **small.TINY),
            "text_cfg": WIDE,
        },
        small.save_unigram,
        small.INCEPTION,
    ),
    "SigLIP 2": Family(
        "ViT-B-32-SigLIP2-256",
        {
            "embed_dim": 64,
            "vision_cfg": small.timm_tower("vit_base_patch32_siglip_256", **small.TINY),
            "text_cfg": WIDE,
        },
        small.save_gemma,
        small.INCEPTION,
    ),
    "CoCa": Family("coca_ViT-B-32", {"vision_cfg": FEW, "text_cfg": FEW, "multimodal_cfg": {"layers": 1}}),
    "MobileCLIP": Family(
        "MobileCLIP-S1",
        {"vision_cfg": small.timm_tower("fastvit_mci1", layers=(1, 1, 2, 1)), "text_cfg": FEW},
        None,
        ZERO,
    ),
    "MobileCLIP-B": Family(
        "MobileCLIP-B",
        {"vision_cfg": small.timm_tower("vit_base_mci_224", depth=2), "text_cfg": FEW},
        None,
        ZERO,
        shortens=True,
    ),
    "MobileCLIP 2": Family(
        "MobileCLIP2-S0",
        {"vision_cfg": small.timm_tower("fastvit_mci0", layers=(1, 1, 2, 1)), "text_cfg": FEW},
        None,
        ZERO,
    ),
    "CLIPA": Family(
        "ViT-L-14-CLIPA", {"vision_cfg": FEW, "text_cfg": {**FEW, "heads": 2}}, small.save_word_pieces, HALVES
    ),
    "worldwide": Family(
        "ViT-H-14-worldwide", {"vision_cfg": ONE, "text_cfg": {**FEW, "eos_id": 2}}, small.save_bytes, shortens=True
    ),
    "PE-Core": Family(
        "PE-Core-T-16-384",
        {"vision_cfg": small.timm_tower("vit_pe_core_tiny_patch16_384", depth=2), "text_cfg": FEW},
        None,
        HALVES | {"resize_mode": "squash"},
        shortens=True,
    ),
    "RoBERTa": Family("roberta-ViT-B-32", {"vision_cfg": FEW}, small.save_bytes, text_tower=small.ROBERTA),
    "mT5": Family("mt5-base-ViT-B-32", {"vision_cfg": FEW}, small.save_unigram, text_tower=MT5),
    "NLLB": Family("nllb-clip-base", {"vision_cfg": WIDE}, small.save_bytes, text_tower=NLLB),
}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Noise of several shapes."""
    folder, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(3)
    paths = []
    for n, size in enumerate([(233, 301), (256, 256), (421, 180), (64, 65)]):
        paths.append(folder / f"{n}.png")
        coarse = Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8)).resize(
            size[::-1], Image.Resampling.BICUBIC
        )
        noise = rng.integers(-30, 30, (*size, 3))
        Image.fromarray(np.clip(np.asarray(coarse).astype(int) + noise, 0, 255).astype(np.uint8)).save(paths[-1])
    return paths


@dataclass(frozen=True)
class Made:
    """A family's folder, and open_clip's model, transform and tokenizer of it."""

    family: Family
    name: str
    model: Any
    transform: Any
    tokenizer: Any


@pytest.fixture(scope="module", params=list(FAMILIES))
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    import open_clip

    family: Family = FAMILIES[request.param]
    folder = tmp_path_factory.mktemp("family") / "model"
    folder.mkdir()
    if family.text_tower:
        (folder / "config.json").write_text(json.dumps(family.text_tower))
    config = small.family(family.architecture, **family.changes)
    model, transform = small.save_family(folder, config, family.tokenizer, family.preprocess)
    name = f"local-dir:{folder}"
    return Made(family, name, model, transform, open_clip.get_tokenizer(name))


@pytest.mark.parametrize("engine", ENGINES)
def test_vectors_and_probabilities_are_open_clips(made: Made, pictures: list[Path], engine: str) -> None:
    import open_clip
    import torch

    templates = ["A photo of a <label>.", "<label>"]
    with torch.no_grad():
        texts = made.model.encode_text(made.tokenizer(small.TEXTS), normalize=True)
        images = torch.stack([made.transform(Image.open(path).convert("RGB")) for path in pictures])
        pixels = made.model.encode_image(images, normalize=True)
        classes = open_clip.build_zero_shot_classifier(
            made.model, made.tokenizer, LABELS, [template.replace("<label>", "{}") for template in templates]
        )
        bias = 0.0 if made.model.logit_bias is None else made.model.logit_bias.item()
        probabilities = (made.model.logit_scale.exp() * pixels @ classes + bias).softmax(-1).numpy()

    with Classifier.load(made.name, exact=True, engine=engine, use_cache=False) as classifier:
        assert np.abs(classifier.embed_texts(small.TEXTS) - texts.numpy()).max() < 1e-5
        found = [one.embedding.vector for batch in classifier.embed_images(pictures) for one in batch if one.embedding]
        assert np.abs(np.stack(found) - pixels.numpy()).max() < 1e-5
        for result, expected in zip(
            classifier.classify(pictures, LABELS, PromptSet.of(templates), top_k=None), probabilities, strict=True
        ):
            said = {prediction.label: prediction.probability for prediction in result.predictions}
            np.testing.assert_allclose([said[label] for label in LABELS], expected, atol=1e-4)
        facts = classifier.model.facts
        assert facts.logit_scale == pytest.approx(100, rel=1e-6)
        assert facts.logit_bias == pytest.approx(bias)
    assert probabilities.max() > 0.25  # five equal ones would agree with anything


def test_text_is_shortened_where_it_changes_nothing_and_nowhere_else(made: Made) -> None:
    """The rule, against the numbers: text at its own length gives the full vector, or very much another one."""
    import torch

    from zsclip.engines.torch.text_tower import TextTower

    tower = TextTower(made.model)
    assert tower.shortens is made.family.shortens
    if not hasattr(tower.module, "positional_embedding"):
        return  # a tower of transformers has an attention mask of its own
    tokens = made.tokenizer(["a cat"])
    with torch.inference_mode():
        full = torch.nn.functional.normalize(made.model.encode_text(tokens), dim=-1)
        if made.family.shortens:
            length = int(tower.lengths(tokens)[0])
            assert length < tokens.shape[1] / 2
            short = torch.nn.functional.normalize(tower.encode(tokens[:, :length]), dim=-1)
            torch.testing.assert_close(short, full, atol=1e-5, rtol=0)
            return
        # What shortening would do: the same model with fewer places.
        short = torch.nn.functional.normalize(
            _run_short(made.model, tower.module, tokens[:, : tokens.shape[1] // 2]), dim=-1
        )
        assert float((short @ full.T)[0, 0]) < 0.999


def test_half_precision_runs_and_is_close(made: Made) -> None:

    from zsclip.engines.torch.engine import TorchEngine

    spec = resolve(made.name)
    pixels = np.random.default_rng(0).integers(0, 256, (2, *spec.preprocessing.size, 3), dtype=np.uint8)
    vectors = []
    for precision in ("fp32", "bf16"):
        engine = TorchEngine(spec, Path(str(spec.checkpoint)), Computing("cpu", "torch", precision))
        vectors.append(
            np.stack([one.vector for one in engine.encode_texts(small.TEXTS)] + list(engine.encode_images(pixels)))
        )
    assert (vectors[0] * vectors[1]).sum(1).min() > 0.999


def _run_short(model: Any, tower: Any, tokens: torch.Tensor) -> torch.Tensor:
    """open_clip's text tower as if its context were as long as these tokens."""
    import torch

    positions, mask = tower.positional_embedding, tower.attn_mask
    extra = 0 if getattr(tower, "cls_emb", None) is None else 1
    try:
        length = tokens.shape[1] + extra
        tower.positional_embedding = torch.nn.Parameter(positions[:length].clone())
        tower.num_pos = length
        if mask is not None:
            tower.attn_mask = mask[:length, :length]
        features: torch.Tensor = model.encode_text(tokens)
        return features
    finally:
        tower.positional_embedding, tower.attn_mask = positions, mask


@pytest.mark.parametrize("kind", ["clip", "old clip", "gelu clip", "siglip"])
def test_transformers_own_format_gives_transformers_vectors(kind: str, tmp_path: Path) -> None:
    import torch
    import transformers

    theirs = small.save_transformers(kind, tmp_path)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    processor = transformers.AutoImageProcessor.from_pretrained(tmp_path, backend="pil")
    spec = resolve(f"local-dir:{tmp_path}")
    length = spec.context_length
    rng = np.random.default_rng(1)
    images = [
        Image.fromarray(rng.integers(0, 256, size, dtype=np.uint8))
        for size in ((64, 64, 3), (128, 96, 3), (64, 67, 3), (90, 200, 3))
    ]
    with torch.no_grad():
        tokens = tokenizer(small.TEXTS, padding="max_length", truncation=True, max_length=length, return_tensors="pt")
        texts = _features(theirs.get_text_features(input_ids=tokens["input_ids"]))
        pixels = _features(theirs.get_image_features(processor(images, return_tensors="pt")["pixel_values"]))
    with Classifier.load(f"local-dir:{tmp_path}", exact=True, use_cache=False, engine="torch") as classifier:
        assert np.abs(classifier.embed_texts(small.TEXTS) - texts).max() < 1e-5
        found = [one.embedding.vector for batch in classifier.embed_images(images) for one in batch if one.embedding]
        assert np.abs(np.stack(found) - pixels).max() < 1e-5
        assert classifier.model.facts.logit_scale == pytest.approx(100, rel=1e-6)
        if kind == "siglip":
            assert classifier.model.facts.logit_bias == pytest.approx(theirs.logit_bias.item())


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_transformers_own_format_crops_as_its_own_processor(kind: str, tmp_path: Path) -> None:
    """For every remainder of the spare pixels by four: torchvision rounds half a pixel to an even number, transformers down."""
    import transformers

    from zsclip.images.preprocessing import fit
    from zsclip.models import transformers_format

    size = {"height": 224, "width": 224}
    if kind == "clip":
        made: Any = transformers.CLIPImageProcessorPil(size={"shortest_edge": 224}, crop_size=size)
    else:
        made = transformers.SiglipImageProcessorPil(size=size)
    made.save_pretrained(tmp_path)
    wanted = transformers_format.read_preprocessing(
        "a model", tmp_path / "preprocessor_config.json", {"vision_cfg": {"image_size": 224}}
    )
    rng = np.random.default_rng(2)
    sizes = [(short, short + spare) for short in (224, 100, 301) for spare in range(9)]
    for height, width in (*sizes, *(size[::-1] for size in sizes)):
        image = Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
        theirs = made(image, do_rescale=False, do_normalize=False, return_tensors="np")["pixel_values"][0]
        assert np.array_equal(fit(image, wanted), theirs.transpose(1, 2, 0)), (height, width)


def test_only_models_that_crop_as_transformers_have_another_identity(tmp_path: Path) -> None:
    """Vectors of all others that were kept before remain theirs."""
    before = {
        "size": [64, 64], "mean": [0.5] * 3, "std": [0.5] * 3, "resize_mode": "shortest", "interpolation": "bicubic",
        "fill_color": 0,
    }  # fmt: skip
    made = {}
    for kind in ("clip", "siglip"):
        small.save_transformers(kind, tmp_path / kind)
        made[kind] = json.loads(resolve(f"local-dir:{tmp_path / kind}").identity("sha256:0"))["preprocessing"]
    demo = json.loads(resolve("demo").identity("sha256:0"))["preprocessing"]
    assert demo.keys() == made["siglip"].keys() == before.keys()
    assert made["siglip"] == {**before, "resize_mode": "squash"}
    assert made["clip"].keys() - before.keys() == {"crop"}


def _features(output: Any) -> Any:
    import torch

    tensor = getattr(output, "pooler_output", output)
    return torch.nn.functional.normalize(tensor, dim=-1).numpy()


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_transformers_own_format_runs_in_half_precision(kind: str, precision: str, tmp_path: Path) -> None:
    small.save_transformers(kind, tmp_path)
    vectors = {}
    for one in ("fp32", precision):
        with Classifier.load(f"local-dir:{tmp_path}", precision=one, use_cache=False, engine="torch") as classifier:
            vectors[one] = classifier.embed_texts(small.TEXTS)
    assert (vectors["fp32"] * vectors[precision]).sum(1).min() > 0.99


def test_scale_and_bias_are_those_of_the_weights_in_every_precision(tmp_path: Path) -> None:
    """A tower of timm's in half precision rounded them first, and the store kept whichever came last."""
    theirs = small.save_transformers("siglip", tmp_path / "model")
    expected = (theirs.logit_scale.exp().item(), theirs.logit_bias.item())
    for precision in ("fp32", "bf16", "fp16"):
        options = {"precision": precision, "engine": "torch", "cache_dir": tmp_path / "cache"}
        with Classifier.load(f"local-dir:{tmp_path / 'model'}", **options) as classifier:
            facts = classifier.model.load().facts
            assert (facts.logit_scale, facts.logit_bias) == pytest.approx(expected, rel=1e-6)
            assert classifier.model.facts == facts  # which come from the store
