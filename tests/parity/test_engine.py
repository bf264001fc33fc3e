"""The torch engine against open_clip itself: same weights, same numbers."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image
from support.cli import Cli, rows_of
from support.processes import run_python

from zsclip import Classifier, ModelError
from zsclip.demo.scenes import PAIRS, draw, random_scene
from zsclip.engines.base import Computing
from zsclip.models import fetch, resolve

if TYPE_CHECKING:
    import torch

pytestmark = pytest.mark.slow


LABELS = ["cat", "a very long label of more than only a few words", "AC/DC", "école", "dog's bed"]
TEMPLATES = ["a photo of a <label>.", "<label>", "a low resolution picture of the large <label> on a table."]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Scenes of odd sizes with noise on them, as PNG and JPEG; one is over two megapixels."""
    folder, rng, noise = tmp_path_factory.mktemp("pictures"), random.Random(3), np.random.default_rng(3)
    paths = []
    for n, size in enumerate([(301, 233), (224, 224), (180, 421), (1700, 1300), (65, 64)]):
        scene = np.asarray(draw(random_scene(rng, PAIRS[n * 9]), rng, size)).astype(int)
        image = Image.fromarray(np.clip(scene + noise.integers(-40, 40, scene.shape), 0, 255).astype(np.uint8))
        paths.append(folder / f"{n}.{'jpg' if n % 2 else 'png'}")
        image.save(paths[-1])
    return paths


@pytest.fixture(scope="module", params=["ViT-B-32", "RN50", "demo"])
def model(request: pytest.FixtureRequest) -> tuple[list[str], object, object, object]:
    """The command line's options for a model, and open_clip's model, transform and tokenizer of the same."""
    import open_clip

    if request.param == "demo":
        name = f"local-dir:{request.getfixturevalue('sharp_demo')}"
        options = ["--model", name]
        model, _, transform = open_clip.create_model_and_transforms(name)
    else:
        name = request.param
        checkpoint = request.getfixturevalue("vit_b32" if name == "ViT-B-32" else "rn50")
        options = ["--model", name, "--pretrained", str(checkpoint)]
        model, _, transform = open_clip.create_model_and_transforms(name, pretrained=str(checkpoint))
    return options, model.eval(), transform, open_clip.get_tokenizer(name)


def test_class_vectors_and_probabilities_are_open_clips(model, pictures: list[Path], cli: Cli) -> None:
    import open_clip
    import torch

    options, theirs, transform, tokenizer = model
    templates = [template.replace("<label>", "{}") for template in TEMPLATES]
    expected = open_clip.build_zero_shot_classifier(theirs, tokenizer, LABELS, templates).T
    named = dict(zip(options[::2], options[1::2], strict=True))
    with Classifier.load(named["--model"], named.get("--pretrained"), exact=True) as classifier:
        from zsclip import PromptSet

        ours = classifier.class_vectors(LABELS, PromptSet.of(TEMPLATES))
        assert ours.logit_scale == pytest.approx(theirs.logit_scale.exp().item(), rel=1e-6)
    assert np.abs(np.concatenate(ours.vectors) - expected.numpy()).max() < 1e-5

    assert ours.logit_scale == pytest.approx(100, rel=1e-6)
    with torch.no_grad():
        images = torch.stack([transform(Image.open(path)) for path in pictures])
        features = theirs.encode_image(images, normalize=True)
        logits = theirs.logit_scale.exp() * features @ expected.T
    probabilities = logits.softmax(-1).numpy()
    arguments = [f"--template={template}" for template in TEMPLATES]
    run = cli(
        "classify", *pictures, *options, "--labels", ",".join(LABELS), *arguments, "--exact", "-k", "all", "-f", "csv"
    )
    assert run.code == 0
    rows = rows_of(run.out)
    assert [row["path"] for row in rows] == [str(path) for path in pictures]
    for row, expected_row in zip(rows, probabilities, strict=True):
        said = {row[f"label{rank}"]: float(row[f"probability{rank}"]) for rank in ["", "_2", "_3", "_4", "_5"]}
        for label, probability in zip(LABELS, expected_row, strict=True):
            assert said[label] == pytest.approx(probability, abs=1e-4)


@pytest.mark.parametrize("name", ["ViT-B-32", "MobileCLIP-B", "convnext_base", "EVA02-B-16"])
def test_text_at_its_own_length_gives_the_same_vectors(name: str) -> None:
    import open_clip
    import torch

    from zsclip.engines.torch.text_tower import TextTower

    torch.manual_seed(0)
    model = open_clip.create_model(name, pretrained_text=False).eval()
    tower = TextTower(model)
    assert tower.shortens
    tokens = open_clip.SimpleTokenizer()(["a cat", "a photo of a dog on a mat."])
    with torch.inference_mode():
        short = tower.encode(tokens[:, :12])
        full = model.encode_text(tokens)
    torch.testing.assert_close(
        torch.nn.functional.normalize(short, dim=-1), torch.nn.functional.normalize(full, dim=-1), atol=1e-6, rtol=0
    )


@pytest.mark.parametrize("name", ["coca_ViT-B-32", "ViT-B-16-SigLIP", "MobileCLIP-S1"])
def test_towers_that_see_their_padding_are_told_from_the_others(name: str) -> None:
    import open_clip

    from zsclip.engines.torch.text_tower import TextTower

    model = open_clip.create_model(name, pretrained_text=False)
    assert not TextTower(model).shortens


@pytest.mark.parametrize(("pretrained", "quick"), [("openai", True), ("laion2b_s34b_b79k", False)])
def test_the_built_model_has_the_activation_of_its_tag(pretrained: str, quick: bool, vit_b32: Path) -> None:

    from zsclip.engines.torch.building import build

    model = build(resolve("ViT-B-32", pretrained), vit_b32)
    for tower in (model.visual.transformer, model.transformer):
        assert {"QuickGELU" in type(block.mlp.gelu).__name__ for block in tower.resblocks} == {quick}


def test_a_text_that_is_too_long_is_warned_of_in_every_run(caplog: pytest.LogCaptureFixture) -> None:
    label = "word " * 40 + "unseen ending"
    for _ in range(2):  # the second run takes the vector from the store
        caplog.clear()
        with Classifier.load("demo") as classifier:
            classifier.class_vectors(["cat", label], "plain")
        assert "demo reads 32 tokens of a text" in caplog.text
        assert "unseen ending" in caplog.text


def test_half_precision_is_close_and_marked_as_fast(red_star: Path) -> None:
    labels = ["red star", "blue star", "red heart"]
    results = {}
    for precision in ("fp32", "bf16"):
        with Classifier.load("demo", precision=precision, use_cache=False) as classifier:
            ((image,),) = classifier.embed_images([red_star])
            assert image.embedding is not None
            assert image.embedding.exact is (precision == "fp32")
            results[precision] = image.embedding.vector
            assert next(classifier.classify([red_star], labels)).label == "red star"
    assert results["fp32"] @ results["bf16"] > 0.995


def test_an_exact_run_does_not_take_fast_text_vectors(
    monkeypatch: pytest.MonkeyPatch, default_engine: type[Any]
) -> None:
    from zsclip.engines.torch.engine import TorchEngine

    calls: list[int] = []
    # bf16 runs on PyTorch where the processor has no instructions for it.
    for engine in {default_engine, TorchEngine}:
        original = engine.encode_texts
        monkeypatch.setattr(
            engine, "encode_texts",
            lambda self, texts, original=original: calls.append(len(texts)) or original(self, texts),
        )  # fmt: skip
    for options in ({"precision": "bf16"}, {}, {"exact": True}, {"precision": "bf16"}):
        with Classifier.load("demo", **options) as classifier:
            classifier.class_vectors(["cat", "dog"], "plain")
    assert calls == [4, 4]  # the second run is content with fast vectors, the third is not, the fourth takes exact ones


def test_exact_and_half_precision_contradict_each_other() -> None:
    with pytest.raises(ModelError, match=r"`exact` computes in fp32\. Leave out `precision=bf16`"):
        Classifier.load("demo", exact=True, precision="bf16")


@pytest.mark.parametrize(
    ("device", "message"),
    [("toaster", "There is no device 'toaster'"), ("cuda:77", "no such CUDA device"), ("meta", "no device 'meta'")],
)
def test_a_device_that_is_not_there_says_so(device: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        _ = Classifier.load("demo", device=device).model.load()


def test_it_uses_as_many_threads_as_it_is_given() -> None:
    import torch

    from zsclip.engines.torch.engine import TorchEngine

    spec, before = resolve("demo"), torch.get_num_threads()
    try:
        TorchEngine(spec, fetch(spec), Computing("cpu", threads=before + 1))
        assert torch.get_num_threads() == before + 1
        TorchEngine(spec, fetch(spec), Computing("cpu"))
        assert torch.get_num_threads() == before + 1  # left as it is found
    finally:
        torch.set_num_threads(before)


def bad_weights(kind: str, folder: Path) -> Path:
    import torch

    path = folder / "weights.pt"
    if kind == "truncated":
        torch.save({"a": torch.zeros(1000)}, path)
        path.write_bytes(path.read_bytes()[:700])
    elif kind == "text":
        path.write_text("no weights at all")
    elif kind == "empty":
        path.touch()
    elif kind == "another model":
        torch.save({"visual.conv1.weight": torch.zeros(3, 3)}, path)
    elif kind == "code":
        import os

        class Evil:
            def __reduce__(self) -> tuple[object, tuple[str]]:
                return os.system, (f"touch {folder / 'it-ran'}",)

        torch.save({"state_dict": Evil()}, path)
    elif kind == "truncated safetensors":
        path = folder / "weights.safetensors"
        path.write_bytes((Path(resolve("demo").checkpoint).read_bytes())[:5000])
    return path


@pytest.mark.parametrize("kind", ["truncated", "text", "empty", "another model", "code", "truncated safetensors"])
def test_weights_that_cannot_be_used_say_so_and_run_nothing(kind: str, tmp_path: Path) -> None:
    path = bad_weights(kind, tmp_path)
    with pytest.raises(ModelError, match=r"ViT-B-32 .*(can be read safely|do not fit this architecture)"):
        _ = Classifier.load("ViT-B-32", str(path)).model.load()
    assert not (tmp_path / "it-ran").exists()


def test_batches_are_bounded_by_tokens_and_keep_the_order() -> None:
    from zsclip.engines.torch.engine import TorchEngine

    texts = [f"{'very ' * (n % 20)}red star {n}" for n in range(1500)]
    spec = resolve("demo")
    engine = TorchEngine(spec, fetch(spec), Computing())
    together = engine.encode_texts(texts)
    for n in (0, 19, 777, 1499):
        np.testing.assert_allclose(together[n].vector, engine.encode_texts([texts[n]])[0].vector, atol=1e-6)


@pytest.mark.gpu
def test_cuda_gives_what_the_cpu_gives(red_star: Path) -> None:
    vectors = [
        next(iter(Classifier.load("demo", device=device, precision="fp32").embed_images([red_star])))[0].embedding
        for device in ("cpu", "cuda")
    ]
    np.testing.assert_allclose(vectors[0].vector, vectors[1].vector, atol=1e-4)


def shortages() -> list[Exception]:
    """What the libraries raise where memory is short: on the CPU, on CUDA, from cuBLAS, on Apple's GPUs."""
    import torch

    return [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."
        ),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:121] data. DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes."
        ),
        RuntimeError("MPS backend out of memory (MPS allocated: 9.06 GB, max allowed: 9.07 GB)."),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        MemoryError(),
    ]


@pytest.mark.parametrize("kind", range(6))
def test_a_batch_too_large_for_the_memory_is_halved_until_it_fits(kind: int, monkeypatch: pytest.MonkeyPatch) -> None:

    from zsclip.engines.torch.engine import TorchEngine

    spec = resolve("demo")
    engine = TorchEngine(spec, fetch(spec), Computing("cpu", batch_size=16))
    pixels = np.random.default_rng(0).integers(0, 256, (13, *spec.preprocessing.size, 3), dtype=np.uint8)
    expected = engine.encode_images(pixels)
    original, sizes = engine.model.encode_image, []

    def small_memory(images: torch.Tensor) -> torch.Tensor:
        sizes.append(len(images))
        if len(images) > 4:
            raise shortages()[kind]
        return original(images)

    monkeypatch.setattr(engine.model, "encode_image", small_memory)
    np.testing.assert_allclose(engine.encode_images(pixels), expected, atol=1e-6)
    assert sizes == [13, 6, 3, 3, 3, 3, 1]
    assert engine.batch_size == 3  # and the next batches are small from the start

    monkeypatch.setattr(engine.model, "encode_image", lambda images: small_memory(images.repeat(9, 1, 1, 1)))
    with pytest.raises(ModelError, match=r"not enough memory for one image\. Close other programs"):
        engine.encode_images(pixels[:1])


@pytest.mark.parametrize("kind", range(6))
def test_texts_too_many_for_the_memory_are_halved_until_they_fit(kind: int, monkeypatch: pytest.MonkeyPatch) -> None:

    from zsclip.engines.torch.engine import TorchEngine

    spec = resolve("demo")
    engine = TorchEngine(spec, fetch(spec), Computing("cpu"))
    texts = [f"{'very ' * (n % 20)}red star {n}" for n in range(100)]
    expected = np.stack([one.vector for one in engine.encode_texts(texts)])
    original = engine.text_tower.encode

    def small_memory(tokens: torch.Tensor) -> torch.Tensor:
        if tokens.numel() > 200:
            raise shortages()[kind]
        return original(tokens)

    monkeypatch.setattr(engine.text_tower, "encode", small_memory)
    np.testing.assert_allclose(np.stack([one.vector for one in engine.encode_texts(texts)]), expected, atol=1e-6)

    monkeypatch.setattr(engine.text_tower, "encode", lambda tokens: small_memory(tokens.repeat(99, 1)))
    with pytest.raises(ModelError, match="not enough memory for one text"):
        engine.encode_texts(texts[:1])


class TestNoNumbers:
    """A picture or text whose vector is not finite, or nothing."""

    LABELS = ("red star", "blue star")

    @pytest.fixture
    def overflowing(self, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
        """Makes PyTorch's engine give no numbers for bright pictures in certain precisions."""

        from zsclip.engines.torch.engine import TorchEngine

        original = TorchEngine._encode

        def overflow(*dtypes: torch.dtype, value: float = np.nan) -> None:
            def encode(self: TorchEngine, pixels: np.ndarray) -> np.ndarray:
                vectors = original(self, pixels)
                vectors[pixels.mean((1, 2, 3)) > 250] = value if self._dtype in dtypes else vectors[-1]
                return vectors

            monkeypatch.setattr(TorchEngine, "_encode", encode)

        return overflow

    @pytest.fixture
    def folder(self, tmp_path: Path, red_star: Path) -> Path:
        for name in ("1.png", "3.png"):
            Image.open(red_star).save(tmp_path / name)
        Image.new("RGB", (80, 80), (255, 255, 255)).save(tmp_path / "2.png")
        return tmp_path

    @pytest.mark.parametrize("value", [np.nan, np.inf, 0.0])
    def test_in_half_precision_it_is_computed_again_in_fp32(
        self, overflowing: Callable[..., None], folder: Path, value: float
    ) -> None:
        import torch

        overflowing(torch.bfloat16, value=value)
        with Classifier.load("demo", engine="torch", precision="bf16") as classifier:
            found = [
                one for batch in classifier.embed_images([str(folder / f"{n}.png") for n in (1, 2, 3)]) for one in batch
            ]
        assert [one.error for one in found] == [None] * 3
        assert [one.embedding.exact for one in found if one.embedding] == [False, True, False]
        for one in found:
            assert one.embedding
            assert np.linalg.norm(one.embedding.vector) == pytest.approx(1, abs=1e-6)

    def test_in_fp32_it_is_an_error_row_and_the_run_goes_on(
        self, overflowing: Callable[..., None], folder: Path, cli: Cli
    ) -> None:
        import torch

        overflowing(torch.float32, torch.bfloat16)
        for precision in ("fp32", "bf16"):
            options = ("-m", "demo", "--engine", "torch", "--precision", precision, "-f", "jsonl")
            run = cli("classify", folder, "-l", ",".join(self.LABELS), *options)
            assert run.code == 3
            rows = [json.loads(line) for line in run.out.splitlines()]
            assert [row["label"] for row in rows] == ["red star", None, "red star"]
            assert rows[1]["error"] == "the model gives no finite embedding for it"
        with Classifier.load("demo", engine="torch") as classifier:
            (result,) = classifier.classify(str(folder / "2.png"), self.LABELS)
            assert result.error_kind == "other"

    def test_a_text_is_computed_again_in_fp32_or_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import torch

        from zsclip.engines.torch.text_tower import TextTower

        original, sound = TextTower.encode, {torch.float32}

        def overflow(self: TextTower, tokens: torch.Tensor) -> torch.Tensor:
            features = original(self, tokens)
            broken = tokens[:, 1:2] == tokens[0, 1]
            return features if features.dtype in sound else torch.where(broken, torch.nan, features)

        monkeypatch.setattr(TextTower, "encode", overflow)
        options = {"engine": "torch", "precision": "bf16", "use_cache": False}
        with Classifier.load("demo", **options) as classifier:
            assert np.isfinite(classifier.embed_texts(["red star", "blue"])).all()
        sound.clear()
        with Classifier.load("demo", **options) as classifier:
            with pytest.raises(ModelError, match=r"demo gives no finite embedding for 'red'"):
                classifier.embed_texts(["red star", "red"])


@pytest.mark.parametrize("kind", range(6))
def test_a_model_too_large_for_the_memory_says_so(kind: int, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from zsclip.engines.torch.engine import TorchEngine

    def none_left(*arguments: Any, **options: Any) -> None:
        raise shortages()[kind]

    spec = resolve("demo")
    monkeypatch.setattr(torch.nn.Module, "load_state_dict", none_left)
    with pytest.raises(ModelError, match=r"not enough memory for this model"):
        TorchEngine(spec, fetch(spec), Computing("cpu"))


def test_other_failures_are_not_taken_for_want_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    from zsclip.engines.torch.engine import TorchEngine

    def broken(*arguments: Any) -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    spec = resolve("demo")
    engine = TorchEngine(spec, fetch(spec), Computing("cpu"))
    monkeypatch.setattr(engine.model, "encode_image", broken)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        engine.encode_images(np.zeros((1, *spec.preprocessing.size, 3), np.uint8))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_process_whose_memory_is_limited_goes_on_with_smaller_batches() -> None:
    """For real: PyTorch's own error on a CPU, which was a traceback."""
    code = """
import resource, sys
import numpy as np
from zsclip.engines.base import Computing
from zsclip.engines.torch.engine import TorchEngine
from zsclip.models import fetch, resolve
spec = resolve("demo")
engine = TorchEngine(spec, fetch(spec), Computing("cpu", batch_size=4096))
pixels = np.random.default_rng(0).integers(0, 256, (4000, *spec.preprocessing.size, 3), dtype=np.uint8)
last = engine.encode_images(pixels[-8:])
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (700 << 20),) * 2)
vectors = engine.encode_images(pixels)
assert np.abs(vectors[-8:] - last).max() < 1e-6
print(len(vectors), engine.batch_size < 4000)
"""
    assert run_python(code, timeout=300).stdout == "4000 True\n"


# GPUs


NO_KERNEL = "CUDA error: no kernel image is available for execution on the device\nCUDA kernel errors might be asynchronously reported"


def test_a_gpu_that_pytorch_was_not_built_for_is_passed_by_or_refused(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import torch

    from zsclip.engines import hardware
    from zsclip.engines.torch.engine import TorchEngine

    def no_kernel(device: torch.device) -> None:
        raise RuntimeError(NO_KERNEL)

    for name, value in (
        ("is_available", lambda: True),
        ("device_count", lambda: 1),
        ("get_device_name", lambda device: "GTX 680"),
    ):
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(hardware, "_has_driver", lambda: True)
    monkeypatch.setattr(hardware, "_compute", no_kernel)
    hardware.gpu.cache_clear()
    try:
        spec = resolve("demo")
        assert TorchEngine(spec, fetch(spec), Computing("auto", "torch")).description == "torch on cpu, fp32"
        with Classifier.load("demo", use_cache=False) as classifier:
            assert "cuda" not in classifier.model.load().description
        (said,) = [one.getMessage() for one in caplog.records if one.levelname == "WARNING"]
        assert said == (
            f"The GPU (GTX 680) cannot be used: PyTorch {torch.__version__} has no code for it. Computing on the CPU instead."
        )
        with pytest.raises(
            ModelError,
            match=r"`device=cuda`: the GPU \(GTX 680\) cannot be used: PyTorch .* has no code for it\. .*`device=cpu`",
        ):
            TorchEngine(spec, fetch(spec), Computing("cuda", "torch"))
    finally:
        hardware.gpu.cache_clear()


@pytest.mark.gpu
def test_two_threads_share_a_gpu() -> None:
    from concurrent.futures import ThreadPoolExecutor

    from zsclip.engines.torch.engine import TorchEngine

    spec = resolve("demo")
    engine = TorchEngine(spec, fetch(spec), Computing("cuda", precision="fp32"))
    assert engine.streams == 2
    batches = np.random.default_rng(0).integers(0, 256, (20, 5, *spec.preprocessing.size, 3), dtype=np.uint8)
    expected = [engine.encode_images(batch) for batch in batches]
    with ThreadPoolExecutor(engine.streams) as pool:
        for found, wanted in zip(pool.map(engine.encode_images, batches), expected, strict=True):
            np.testing.assert_allclose(found, wanted, atol=1e-5)


@pytest.mark.gpu
def test_a_long_lived_classifier_reserves_no_more_memory_of_a_gpu(tmp_path: Path, pictures: list[Path]) -> None:
    """Each run has threads of its own, and each thread had a stream of its own, with memory of its own."""
    import torch

    with Classifier.load("demo", device="cuda", use_cache=False) as classifier:
        reserved = []
        for _ in range(6):
            assert len(list(classifier.classify(pictures, LABELS))) == len(pictures)
            reserved.append(torch.cuda.memory_reserved())
    assert reserved[-1] == reserved[1]


@pytest.mark.gpu
def test_a_batch_too_large_for_a_gpu_is_halved() -> None:
    import torch

    from zsclip.engines.torch.engine import TorchEngine

    spec = resolve("demo")
    engine = TorchEngine(spec, fetch(spec), Computing("cuda", batch_size=4096, precision="fp32"))
    pixels = np.random.default_rng(0).integers(0, 256, (4096, *spec.preprocessing.size, 3), dtype=np.uint8)
    expected = engine.encode_images(pixels[-8:])
    torch.cuda.empty_cache()
    free, total = torch.cuda.mem_get_info()
    torch.cuda.set_per_process_memory_fraction((total - free + (400 << 20)) / total)
    try:
        np.testing.assert_allclose(engine.encode_images(pixels)[-8:], expected, atol=1e-4)
        assert engine.batch_size < 4096
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
