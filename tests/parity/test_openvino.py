"""The OpenVINO engine against the torch engine, the export, and the tokenizer that both can do without open_clip."""

from __future__ import annotations

import json
import os
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.processes import run_and_list_modules, run_python, start_zsclip

from zsclip import Classifier
from zsclip.engines import agreement, choice, probes
from zsclip.engines.base import Computing
from zsclip.engines.openvino.export_files import EXPORT_FACTS, export_folder, is_complete
from zsclip.engines.openvino.tokenizer import CLEAN, Settings, Tokenizer
from zsclip.errors import ModelError
from zsclip.images.item import Stamp
from zsclip.models import ModelSpec, address, fetch, resolve, short_identity
from zsclip.models.weights import Fingerprint, fingerprint
from zsclip.store import maintenance as upkeep
from zsclip.store.database import Store

# Not imported for that: with its own import comes telemetry, which forks this process from a thread.
if find_spec("openvino") is None:
    pytest.skip("OpenVINO has no wheel for this platform", allow_module_level=True)

from zsclip.engines.openvino import runtime
from zsclip.engines.openvino.engine import OpenVinoEngine
from zsclip.engines.openvino.precision import ENOUGH, UnmeasuredEngine, bound_to
from zsclip.engines.openvino.tower import Tower

if TYPE_CHECKING:
    import open_clip

    from zsclip.engines.torch.engine import TorchEngine


pytestmark = pytest.mark.slow

needs_bf16 = pytest.mark.skipif(not runtime.computes_in_bf16(), reason="this processor does not compute in bf16")


def vectors(embeddings: list[Any]) -> np.ndarray:
    return np.stack([one.vector for one in embeddings])


def identity_of(spec: ModelSpec) -> str:
    return spec.identity(fingerprint(fetch(spec)).key)


def exported(spec: ModelSpec, exports: Path, **settings: Any) -> OpenVinoEngine:
    computing = Computing("cpu", "openvino", **{"precision": "fp32", **settings})
    engine = choice.load(spec, identity_of(spec), lambda: fetch(spec), computing, exports)
    assert isinstance(engine, OpenVinoEngine)
    return engine


TEXTS = [*probes.TEXTS, *(f"{'very ' * n}blue arrow {n}" for n in range(40))]


class TestAgainstTorch:
    @pytest.fixture(scope="class", params=["traced", "demo", "vit_b32", "rn50"])
    def pair(self, request: pytest.FixtureRequest, exports: Path) -> tuple[TorchEngine, OpenVinoEngine]:
        from zsclip.engines.torch.engine import TorchEngine

        if request.param == "traced":
            spec = resolve(request.getfixturevalue("traced_demo"))
        elif request.param == "demo":
            spec = resolve("demo")
        elif request.param == "vit_b32":
            spec = resolve("ViT-B-32", str(request.getfixturevalue("vit_b32")))
        else:
            spec = resolve("RN50", str(request.getfixturevalue("rn50")))
        reference = TorchEngine(spec, fetch(spec), Computing("cpu", "torch", "fp32"))
        return reference, exported(spec, exports)

    def test_images_to_1e5_of_an_element(self, pair: tuple[TorchEngine, OpenVinoEngine]) -> None:
        reference, engine = pair
        pixels = probes.pixels(reference.spec.preprocessing)
        np.testing.assert_allclose(engine.encode_images(pixels), reference.encode_images(pixels), atol=1e-5, rtol=0)

    def test_texts_of_all_lengths_to_1e5_of_an_element(self, pair: tuple[TorchEngine, OpenVinoEngine]) -> None:
        reference, engine = pair
        found, expected = engine.encode_texts(TEXTS), reference.encode_texts(TEXTS)
        np.testing.assert_allclose(vectors(found), vectors(expected), atol=1e-5, rtol=0)
        assert [one.cut for one in found] == [one.cut for one in expected]

    def test_scale_bias_and_size_are_the_models(self, pair: tuple[TorchEngine, OpenVinoEngine]) -> None:
        reference, engine = pair
        assert engine.facts == reference.facts
        assert engine.parameters == reference.parameters

    @pytest.mark.parametrize("pair", ["traced", "vit_b32"], indirect=True)
    def test_one_thread_runs_one_batch_at_a_time_and_gives_the_same(
        self, pair: tuple[TorchEngine, OpenVinoEngine], exports: Path
    ) -> None:
        reference, engine = pair
        single = exported(reference.spec, exports, threads=1)
        assert single.streams == 1
        pixels = probes.pixels(reference.spec.preprocessing)
        np.testing.assert_allclose(single.encode_images(pixels), engine.encode_images(pixels), atol=1e-6)

    @pytest.mark.parametrize("pair", ["traced", "vit_b32"], indirect=True)
    def test_a_batch_of_one_and_of_many(self, pair: tuple[TorchEngine, OpenVinoEngine]) -> None:
        _, engine = pair
        pixels = probes.pixels(pair[0].spec.preprocessing)
        one_by_one = np.concatenate([engine.encode_images(pixels[n : n + 1]) for n in range(5)])
        np.testing.assert_allclose(one_by_one, engine.encode_images(pixels)[:5], atol=1e-6)


class TestPrecision:
    @pytest.fixture
    def in_bf16(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where a processor has no bf16, OpenVINO computes in fp32 what is asked for in bf16; all else is the same."""
        monkeypatch.setattr(runtime, "computes_in_bf16", lambda: True)

    @pytest.fixture
    def facts(self, isolated: Path) -> Path:
        """The file that the measurement of the demo model is kept in, in a folder of the test's own."""
        exports = isolated / "cache" / "exports"
        exports.unlink()
        exports.mkdir()
        return exports / f"{short_identity(identity_of(resolve('demo')))}.bf16.json"

    @pytest.mark.parametrize(
        ("bound", "name"),
        [
            (agreement.LEAST_COSINE, "images"),
            (agreement.LEAST_COSINE, "texts"),
            (-agreement.LARGEST_LOGIT_SHIFT, "logit"),
            (-agreement.LARGEST_PROBABILITY_SHIFT, "probability"),
        ],
    )
    def test_auto_takes_what_was_measured(self, facts: Path, in_bf16: None, bound: float, name: str) -> None:
        for worst, expected in ((bound, "bf16"), (bound - 1e-6, "fp32")):
            measured = {"images": 1.0, "texts": 1.0, "logit": 0.0, "probability": 0.0, name: abs(worst)}
            facts.write_text(json.dumps({"agreement": measured, "bound_to": bound_to()}))
            with Classifier.load("demo") as classifier:
                assert classifier.model.load().precision == expected
                assert f"openvino on the CPU, {expected}: bf16 gives" in classifier.model.load().description

    def test_it_is_measured_once_there_is_enough_to_compute(self, facts: Path, in_bf16: None) -> None:
        """Counted over runs; never before the first images of a small job."""
        pixels = np.zeros((ENOUGH // 2, *resolve("demo").preprocessing.size, 3), np.uint8)
        for settled in (False, False, True):
            with Classifier.load("demo", use_cache=False) as classifier:
                classifier.model.encode_images(pixels, [False] * len(pixels))
                engine = classifier.model.engine
                assert engine
                assert isinstance(engine, UnmeasuredEngine) is not settled
                assert ("bf16 gives cosines" in engine.description) is settled
                assert ("agreement" in json.loads(facts.read_text())) is settled

    def test_many_texts_are_enough(self, facts: Path, in_bf16: None) -> None:
        with Classifier.load("demo", use_cache=False) as classifier:
            classifier.model.encode_texts([f"star {number}" for number in range(16 * ENOUGH)])
            assert not facts.exists() or "agreement" not in json.loads(facts.read_text())
            classifier.model.encode_texts(["a star"])
            assert "agreement" in json.loads(facts.read_text())

    @pytest.mark.parametrize("changed", ["processor", "openvino", "probes"])
    def test_what_was_measured_elsewhere_or_otherwise_counts_for_nothing(
        self, facts: Path, in_bf16: None, changed: str
    ) -> None:
        """Another processor, another OpenVINO, other probes."""
        no = {"images": 0.1, "texts": 0.1, "logit": 9.0, "probability": 0.9}
        for other, counts in ((bound_to(), True), ({**bound_to(), changed: "another"}, False)):
            facts.write_text(json.dumps({"agreement": no, "bound_to": other}))
            with Classifier.load("demo") as classifier:
                assert isinstance(classifier.model.load(), UnmeasuredEngine) is not counts

    @needs_bf16
    def test_the_measurement_is_of_this_model(self, facts: Path) -> None:
        pixels = probes.pixels(resolve("demo").preprocessing, few=True)
        with Classifier.load("demo", use_cache=False) as classifier:
            for _ in range(2):
                classifier.model.encode_images(np.repeat(pixels, ENOUGH, axis=0), [False] * len(pixels) * ENOUGH)
            kept = json.loads(facts.read_text())["agreement"]
            fast, exact = (
                OpenVinoEngine(classifier.model.engine.source, precision, Computing()).encode_images(pixels)  # type: ignore[union-attr]
                for precision in ("bf16", "fp32")
            )
        assert kept["images"] == pytest.approx(float((fast * exact).sum(axis=1).min()), abs=1e-6)
        assert kept["images"] < 1  # it did compute in bf16

    def test_without_bf16_instructions_it_is_fp32(self, own_exports: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(runtime, "computes_in_bf16", lambda: False)
        with Classifier.load("demo") as classifier:
            assert classifier.model.load().precision == "fp32"
            assert "does not compute in bf16" in classifier.model.load().description
        with pytest.raises(ModelError, match="does not compute in bf16"):
            _ = Classifier.load("demo", engine="openvino", precision="bf16").model.load()

    def test_exact_is_fp32(self) -> None:
        with Classifier.load("demo", exact=True) as classifier:
            assert classifier.model.load().description == "openvino on the CPU, fp32"

    def test_what_it_cannot_do_is_said(self) -> None:
        with pytest.raises(ModelError, match="fp32, bf16 or int8, not fp16"):
            _ = Classifier.load("demo", engine="openvino", precision="fp16").model.load()
        with pytest.raises(ModelError, match="runs on the CPU, not on cuda"):
            _ = Classifier.load("demo", engine="openvino", device="cuda").model.load()


class TestExport:
    def test_later_runs_import_neither_torch_nor_open_clip(
        self, traced_demo: str, demo_folder: Path, own_exports: Path
    ) -> None:
        scenes = demo_folder / "scenes" / "red star"
        run, modules = run_and_list_modules("classify", scenes, "-l", "red star,blue ring", "-m", traced_demo)
        assert "red star" in run.stdout.splitlines()[1]
        assert "openvino" in modules
        assert not modules & {"torch", "open_clip", "torchvision", "transformers", "huggingface_hub"}

    def test_a_tag_that_was_exported_needs_no_weights_any_more(self, own_exports: Path, traced_export: Path) -> None:
        """Not even one that is built from its weights' file since."""
        tag = resolve("ViT-B-32", "laion2b_s34b_b79k")
        with Store(own_exports.parent) as store:  # they were here once
            store.put_weights(Stamp(str(address(tag)).encode(), 0, 0), Fingerprint(whole=b"w" * 32))
        with Classifier.load("ViT-B-32", "laion2b_s34b_b79k", precision="fp32") as classifier:
            folder = export_folder(own_exports, classifier.model.spec, classifier.model.identity)
            folder.symlink_to(traced_export)
            assert isinstance(classifier.model.load(), OpenVinoEngine)  # the weights cannot be had here

    @pytest.mark.parametrize("damage", ["missing", "short", "no facts", "older version"])
    def test_damage_is_seen(self, own_exports: Path, damage: str) -> None:
        (export,) = own_exports.iterdir()
        facts = json.loads((export / EXPORT_FACTS).read_text())
        assert is_complete(export)
        # The files are shared with other tests: none is written in place.
        (export / ("image.bin" if damage in ("missing", "short") else EXPORT_FACTS)).unlink()
        if damage == "short":
            (export / "image.bin").write_bytes(b"short")
        if damage == "older version":
            (export / EXPORT_FACTS).write_text(json.dumps({**facts, "version": 0}))
        assert not is_complete(export)

    def test_what_is_not_whole_is_made_again(self, traced_demo: str, own_exports: Path) -> None:
        (export,) = own_exports.iterdir()
        (export / "image.bin").unlink()
        (own_exports / f".{export.name}-interrupted").mkdir()
        with Classifier.load(traced_demo) as classifier:
            assert isinstance(classifier.model.load(), OpenVinoEngine)
        assert is_complete(export)
        assert [path.name for path in own_exports.iterdir() if path.is_dir()] == [export.name]

    def test_nothing_is_told_to_its_makers(self) -> None:
        code = "import zsclip.engines.openvino.export, sys; print(*sys.modules)"
        run = run_python(code)
        assert "openvino.tools.ovc.convert" in run.stdout
        assert "openvino_telemetry" not in run.stdout

    def test_several_processes_at_once_make_it_once(self, traced_demo: str, isolated: Path, red_star: Path) -> None:
        (isolated / "cache" / "exports").unlink()
        command = ["classify", red_star, "-l", "red star,ring", "-m", traced_demo, "-f", "csv"]
        runs = [start_zsclip(*command, text=True) for _ in range(3)]
        results = [run.communicate(timeout=300) for run in runs]
        assert [run.returncode for run in runs] == [0, 0, 0], results
        assert len({out for out, _ in results}) == 1
        assert sum(f"Converting {traced_demo}" in err for _, err in results) == 1
        assert not any("warning" in err for _, err in results)
        assert len([path for path in (isolated / "cache" / "exports").iterdir() if path.is_dir()]) == 1

    def test_a_model_that_does_not_convert_runs_on_torch_and_is_not_tried_again(
        self,
        traced_demo: str,
        own_exports: Path,
        red_star: Path,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        import torch

        from zsclip.engines.torch.engine import TorchEngine

        tried = []

        def refuse(tower: Any, *arguments: Any, **options: Any) -> None:
            tried.append(tower)
            raise RuntimeError("no such operation")

        monkeypatch.setattr(torch.jit, "trace", refuse)
        shutil.rmtree(next(own_exports.iterdir()))
        for _ in range(2):
            caplog.clear()
            with Classifier.load(traced_demo) as classifier:
                assert isinstance(classifier.model.load(), TorchEngine)
            (said,) = [one.getMessage() for one in caplog.records if one.levelname == "WARNING"]
            assert said.startswith(f"{traced_demo} runs on PyTorch, not on OpenVINO")
            assert "no such operation" in said
        assert len(tried) == 1
        with pytest.raises(ModelError, match=r"cannot run on OpenVINO.*no such operation.*Leave out `engine=openvino`"):
            _ = Classifier.load(traced_demo, engine="openvino").model.load()

    @pytest.mark.parametrize("trouble", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")])
    def test_want_of_memory_is_not_held_against_a_model(
        self,
        traced_demo: str,
        own_exports: Path,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
        trouble: Exception,
    ) -> None:
        import torch

        from zsclip.engines.torch.engine import TorchEngine

        def refuse(tower: Any, *arguments: Any, **options: Any) -> None:
            raise trouble

        monkeypatch.setattr(torch.jit, "trace", refuse)
        shutil.rmtree(next(own_exports.iterdir()))
        with Classifier.load(traced_demo) as classifier:
            assert isinstance(classifier.model.load(), TorchEngine)
        assert "for want of memory" in caplog.text
        assert not list(own_exports.glob("*.failed-*"))

    def test_a_converted_model_that_does_not_run_falls_back_to_torch(
        self, traced_demo: str, own_exports: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        from zsclip.engines.torch.engine import TorchEngine

        def refuse(self: Any, batch: Any) -> None:
            raise ModelError("OpenVINO failed: shapes do not match")

        monkeypatch.setattr(Tower, "__call__", refuse)
        shutil.rmtree(next(own_exports.iterdir()))
        with Classifier.load(traced_demo) as classifier:
            assert isinstance(classifier.model.load(), TorchEngine)
        assert "it cannot be run after conversion: OpenVINO failed" in caplog.text
        (note,) = own_exports.glob("*.failed-*")
        with Store(own_exports.parent) as store:
            upkeep.prune(store)
        assert not note.exists()  # and the next run may try again

    def test_an_openvino_that_does_not_work_is_done_without(
        self, traced_demo: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        from zsclip.engines.torch.engine import TorchEngine

        def broken() -> bool:
            raise RuntimeError("no CPU plugin")

        monkeypatch.setattr(runtime, "computes_in_bf16", broken)
        with Classifier.load(traced_demo) as classifier:
            assert isinstance(classifier.model.load(), TorchEngine)
        assert "OpenVINO does not work here (no CPU plugin)" in caplog.text
        with pytest.raises(ModelError, match="cannot run on OpenVINO"):
            _ = Classifier.load(traced_demo, engine="openvino").model.load()

    def test_a_token_that_the_tower_does_not_know_is_no_vector_of_nothing(
        self, traced_demo: str, own_exports: Path
    ) -> None:
        (export,) = own_exports.iterdir()
        facts = json.loads((export / EXPORT_FACTS).read_text())
        assert facts["vocabulary"] == 49408
        (export / EXPORT_FACTS).unlink()
        (export / EXPORT_FACTS).write_text(json.dumps({**facts, "vocabulary": 40000}))
        with pytest.raises(ModelError, match=r"more words than its text tower \(40000\)"):
            Classifier.load(traced_demo).class_vectors(["cat", "dog"], "plain")

    def test_one_that_is_being_made_is_no_export_yet(self, own_exports: Path) -> None:
        (own_exports / ".demo-being-made").mkdir()
        (own_exports / ".demo-being-made" / "image.bin").write_bytes(b"half")
        with Store(own_exports.parent) as store:
            assert len(upkeep.exports(store)) == 1
            upkeep.prune(store, max_size=0)
        assert (own_exports / ".demo-being-made" / "image.bin").exists()

    def test_a_conversion_that_gives_other_vectors_is_refused(
        self, traced_demo: str, own_exports: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        import torch

        from zsclip.engines.torch.engine import Normalisation, TorchEngine

        original = Normalisation.__call__
        monkeypatch.setattr(
            Normalisation, "__call__",
            lambda self, pixels: original(self, pixels) * (1.001 if torch.jit.is_tracing() else 1),
        )  # fmt: skip
        shutil.rmtree(next(own_exports.iterdir()))
        with Classifier.load(traced_demo) as classifier:
            assert isinstance(classifier.model.load(), TorchEngine)
        assert "vectors of images differ from PyTorch's by" in caplog.text

    def test_without_a_place_to_keep_it_torch_runs(
        self, traced_demo: str, isolated: Path, red_star: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        from zsclip.engines.torch.engine import TorchEngine

        (isolated / "file").write_text("no folder")
        with Classifier.load(traced_demo, cache_dir=isolated / "file" / "cache") as classifier:
            assert isinstance(classifier.model.load(), TorchEngine)
        assert "cannot be kept" in caplog.text

    def test_shortening_that_changes_vectors_is_given_up(
        self, traced_demo: str, own_exports: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import torch

        from zsclip.engines.openvino import export
        from zsclip.engines.torch.engine import TorchEngine

        original = export._SharedPrefixes.forward
        monkeypatch.setattr(  # as in a tower that is not causal: every token sees all others
            export._SharedPrefixes, "forward",
            lambda self, tokens, depths, sees, ends: original(self, tokens, depths, sees | torch.ones_like(sees), ends),
        )  # fmt: skip
        shutil.rmtree(next(own_exports.iterdir()))
        with Classifier.load(traced_demo, exact=True) as classifier:
            engine = classifier.model.load()
            assert isinstance(engine, OpenVinoEngine)
            assert json.loads((next(own_exports.glob("*traced-demo-*/export.json"))).read_text())["pooled_at"] == "all"
            monkeypatch.undo()
            spec = resolve(traced_demo)
            reference = TorchEngine(spec, fetch(spec), Computing("cpu", "torch", "fp32"))
            np.testing.assert_allclose(
                vectors(engine.encode_texts(TEXTS)), vectors(reference.encode_texts(TEXTS)), atol=1e-5, rtol=0
            )


class TestTokenizer:
    @pytest.fixture(scope="class")
    def reference(self) -> open_clip.SimpleTokenizer:
        import open_clip

        return open_clip.SimpleTokenizer()

    @pytest.fixture(scope="class")
    def tokenizer(self, reference: open_clip.SimpleTokenizer, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
        folder = tmp_path_factory.mktemp("tokenizer")
        wanted = Settings(77, "lower", True, reference.sot_token_id, reference.eot_token_id)
        Tokenizer.clip(reference.encoder, list(reference.bpe_ranks), wanted).save(folder)
        return Tokenizer.load(folder)

    def assert_equal(self, tokenizer: Tokenizer, reference: open_clip.SimpleTokenizer, texts: list[str]) -> None:
        expected, found = reference(texts).numpy(), tokenizer(texts)
        different = [text for text, a, b in zip(texts, expected, found, strict=True) if not np.array_equal(a, b)]
        assert not different

    def test_thousands_of_texts_of_all_scripts(
        self, tokenizer: Tokenizer, reference: open_clip.SimpleTokenizer
    ) -> None:
        rng = np.random.default_rng(0)
        ranges = [(32, 127), (32, 127), (160, 600), (0x370, 0x530), (0x590, 0x700), (0x900, 0xE80), (0x1E00, 0x2200),
                  (0x2600, 0x27C0), (0x3040, 0x3100), (0x4E00, 0x5000), (0xAC00, 0xAD00), (0xFB00, 0xFB50), (0xFF00, 0xFFF0),
                  (0x1F300, 0x1F700), (0, 32)]  # fmt: skip
        letters = [chr(code) for first, last in ranges for code in range(first, last)]
        ascii_only = letters[:95]
        texts = ["".join(rng.choice(letters if n % 2 else ascii_only, rng.integers(0, 150))) for n in range(4000)]
        self.assert_equal(tokenizer, reference, texts)

    def test_prompts_of_imagenet(self, tokenizer: Tokenizer, reference: open_clip.SimpleTokenizer) -> None:
        from zsclip.models import open_clip_data

        templates = open_clip_data.templates("openai-imagenet")
        names = open_clip_data.imagenet_classes()
        texts = [templates[n % 80].replace("<label>", name) for n, name in enumerate(names * 5)]
        self.assert_equal(tokenizer, reference, texts)

    @pytest.mark.parametrize("text", [
        "", " ", "\n\t", "A PHOTO OF A CAT", "&amp;", "&amp;lt;b&amp;gt;", "it's we'LL I'D 'Tis", "<start_of_text> a <END_OF_TEXT>",
        "word " * 200, "x" * 500, "sÃ©rie", "ﬁsh", "don’t “quote”", "ＦＵＬＬ width", "İstanbul ẞ", "\x1b[31mred\x1b[0m", "e\u0301",
        "👨‍👩‍👧", "\ud800", "a\u2028b", "1234 5th", "a_b-c.d", "</w>", "x</w>y", "\u200bzero", "naïve café",
    ])  # fmt: skip
    def test_awkward_texts(self, tokenizer: Tokenizer, reference: open_clip.SimpleTokenizer, text: str) -> None:
        try:
            expected = reference([text]).numpy()
        except UnicodeEncodeError:
            with pytest.raises(UnicodeEncodeError):
                tokenizer([text])
            return
        np.testing.assert_array_equal(tokenizer([text]), expected)

    @given(text=st.text(st.characters(max_codepoint=127), max_size=60))
    @settings(max_examples=300, deadline=None)
    def test_plain_ascii_needs_no_mending(
        self, tokenizer: Tokenizer, reference: open_clip.SimpleTokenizer, text: str
    ) -> None:
        np.testing.assert_array_equal(tokenizer([text]), reference([text]).numpy())

    @pytest.mark.parametrize("clean", ["lower", "whitespace", "canonicalize"])
    def test_cleaning_is_open_clips(self, clean: str) -> None:
        import open_clip

        function = open_clip.tokenizer.get_clean_fn(clean)
        for text in (*probes.TEXTS, " A_b &amp; (C)!  d\n", "ﬁsh_&lt;", "ÀÉ"):
            assert CLEAN[clean](text) == function(text)

    @pytest.mark.parametrize("end", ["unseen", "café “dog” 日本 end", "</w>"])
    def test_the_cut_end_is_told_as_open_clip_reads_it(
        self, tokenizer: Tokenizer, reference: open_clip.SimpleTokenizer, end: str
    ) -> None:
        text = "word " * 74 + "x " + end
        expected = reference.decode(reference.encode(text)[75:]).strip()
        assert tokenizer.cuts([text, "short"], tokenizer([text, "short"])) == [expected, ""]


def test_probes_are_the_same_everywhere() -> None:
    pixels = probes.pixels(resolve("demo").preprocessing)
    assert pixels.dtype == np.uint8
    assert len({row.tobytes() for row in pixels}) == len(pixels)
    assert os.linesep not in probes.TEXTS


def test_threads_that_use_openvino_for_the_first_time_at_once_do_not_hang() -> None:
    """They did: two texts' first batches waited for each other while each made OpenVINO's table of data types."""
    code = """
import sys, threading
import numpy as np
from zsclip.engines.openvino.runtime import openvino
sys.setswitchinterval(1e-6)
together = threading.Barrier(4)
def use():
    together.wait()
    openvino.Type.f32.to_dtype()
    openvino.Tensor(np.zeros(3, np.float32), shared_memory=True).data
threads = [threading.Thread(target=use) for _ in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
"""
    for _ in range(3):
        run_python(code, timeout=60)
