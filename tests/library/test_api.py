"""The Python interface, as in a notebook."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from zsclip import (
    Calibration,
    CalibrationError,
    Classifier,
    ImageResult,
    InputError,
    Label,
    LabelError,
    LabelSet,
    ModelError,
    PromptSet,
    PromptSetError,
    Rules,
)
from zsclip.scoring.calibration import Binding, Quality

LABELS = ["red star", "blue star", "green ring"]


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier.load("demo", use_cache=False)


def rounded(result: ImageResult) -> tuple[tuple[str, float], ...]:
    """Predictions without their last bits, which depend on how many images are computed at once."""
    return tuple((one.label, round(one.probability, 6)) for one in result.predictions)


def test_paths_and_pillow_images_give_the_same(classifier: Classifier, red_star: Path) -> None:
    with Image.open(red_star) as opened:
        sources = [str(red_star), red_star, opened, opened.copy()]
        results = list(classifier.classify(sources, LABELS))
        assert len({rounded(result) for result in results}) == 1
        assert [result.path for result in results] == [str(red_star)] * 3 + ["image 3"]
        assert opened.size  # the caller's image is as it was


def test_a_single_source_needs_no_list(classifier: Classifier, red_star: Path) -> None:
    for source in (str(red_star), red_star, Image.open(red_star)):
        (result,) = classifier.classify(source, LABELS)
        assert result.label == "red star"


def test_a_generator_is_consumed_as_results_come(classifier: Classifier, red_star: Path) -> None:
    taken = []

    def endless():
        while True:
            taken.append(1)
            yield red_star

    results = classifier.classify(endless(), LABELS)
    assert next(results).label == "red star"
    results.close()
    assert len(taken) < 300


def test_a_folder_is_an_error_row_that_says_so(classifier: Classifier, red_star: Path) -> None:
    (result,) = classifier.classify([red_star.parent], LABELS)
    assert result.error == "a folder, not an image"
    assert result.label is None


def test_top_k(classifier: Classifier, red_star: Path) -> None:
    assert [len(next(classifier.classify([red_star], LABELS, top_k=k)).predictions) for k in (1, 2, 9, None)] == [
        1,
        2,
        3,
        3,
    ]


def test_class_vectors_are_unit_vectors_in_the_order_of_the_labels(classifier: Classifier) -> None:
    classes = classifier.class_vectors(LabelSet.of(LABELS), [PromptSet.of(["a <label>"]), "photo"])
    assert classes.names == tuple(LABELS)
    vectors = np.concatenate(classes.vectors)
    assert vectors.dtype == np.float32
    assert vectors.shape == (3, 128)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_one_label_is_refused_at_once(classifier: Classifier) -> None:
    with pytest.raises(LabelError, match="softmax over one label is always 1"):
        classifier.classify([], ["cat"])


@pytest.mark.slow
@pytest.mark.parametrize("thing", [b"bytes", 7, np.zeros((8, 8, 3))])
def test_what_is_no_image_is_refused(classifier: Classifier, thing: object) -> None:
    with pytest.raises(InputError, match="Image 0 must be a path or a Pillow image, not"):
        list(Classifier.load("demo", use_cache=False).classify([thing], LABELS))


def test_damaged_and_closed_pillow_images_are_error_rows(
    classifier: Classifier, red_star: Path, tmp_path: Path
) -> None:
    (tmp_path / "half.png").write_bytes(red_star.read_bytes()[:600])
    closed = Image.open(red_star)
    closed.close()
    results = list(
        classifier.classify([Image.open(tmp_path / "half.png"), closed, Image.new("RGB", (0, 5)), red_star], LABELS)
    )
    assert [bool(result.error) for result in results] == [True, True, True, False]


@pytest.mark.slow
def test_one_lazy_image_may_be_listed_often(classifier: Classifier, tmp_path: Path) -> None:
    Image.effect_noise((1500, 1500), 50).convert("RGB").save(tmp_path / "noise.png")
    results = list(classifier.classify([Image.open(tmp_path / "noise.png")] * 8, LABELS))
    assert len({rounded(result) for result in results}) == 1
    assert not any(result.error for result in results)


@pytest.mark.parametrize(
    "options", [{"batch_size": 0}, {"batch_size": -1}, {"workers": -1}, {"device": "toaster"}, {"precision": "fp7"}]
)
def test_settings_that_make_no_sense_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ModelError):
        Classifier.load("demo", **options)


@pytest.mark.parametrize("top_k", [0, -1])
def test_top_k_must_be_positive(classifier: Classifier, red_star: Path, top_k: int) -> None:
    with pytest.raises(InputError, match="top_k must be at least 1"):
        classifier.classify([red_star], LABELS, top_k=top_k)


def test_pretrained_may_be_a_path(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="neither a file nor a tag"):
        Classifier.load("ViT-B-32", tmp_path / "none.pt")


def test_sets_made_in_code_are_checked_too() -> None:
    assert PromptSet("x", ("a {}",)).templates == ("a <label>",)
    assert PromptSet.of("a photo of a <label>.").templates == ("a photo of a <label>.",)
    for bad in (lambda: PromptSet("x", ("a photo",)), lambda: PromptSet("x", ()), lambda: PromptSet("x", "a <label>")):
        with pytest.raises(PromptSetError):
            bad()
    for wrong in (lambda: LabelSet.of("cat"), lambda: LabelSet((Label("couch", "sofa"),))):
        with pytest.raises(LabelError):
            wrong()


def test_broken_weights_give_an_error_and_no_numbers(sharp_demo: Path, tmp_path: Path, red_star: Path) -> None:
    import shutil

    import torch
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "nan"
    shutil.copytree(sharp_demo, folder)
    state = load_file(folder / "open_clip_model.safetensors")
    broken = {
        **state,
        "visual.attnpool.c_proj.weight": torch.full_like(state["visual.attnpool.c_proj.weight"], torch.nan),
    }
    save_file(broken, folder / "open_clip_model.safetensors")
    with pytest.raises(ModelError, match=r"are broken: visual.attnpool.c_proj.weight holds NaN"):
        list(Classifier.load(f"local-dir:{folder}").classify([red_star], LABELS))


def test_a_temperature_next_to_nothing_is_a_hard_choice(classifier: Classifier, red_star: Path) -> None:
    (result,) = classifier.classify([red_star], LABELS, rules=Rules(temperature=1e-308))
    assert [prediction.probability for prediction in result.predictions] == [1, 0, 0]


def test_a_calibration_brings_its_temperature_to_what_it_was_made_for(classifier: Classifier, red_star: Path) -> None:
    labels, prompts = LabelSet.of(["red star", "blue star"]), (PromptSet.of(["a photo of a <label>."]),)
    made = Calibration(
        2.5, Binding.of(classifier.model.identity, labels, prompts), "demo", "inline", 2, 10, 10, 0,
        Quality(0.1, 0.5), Quality(0.05, 0.4),
    )  # fmt: skip
    (calibrated,) = classifier.classify(red_star, labels, prompts, calibration=made)
    (warm,) = classifier.classify(red_star, labels, prompts, rules=Rules(temperature=2.5))
    assert calibrated == warm
    with pytest.raises(CalibrationError, match="made for other labels"):
        classifier.classify(red_star, ["red star", "green star"], prompts, calibration=made)
    with pytest.raises(CalibrationError, match="brings its temperature"):
        classifier.classify(red_star, labels, prompts, calibration=made, rules=Rules(temperature=2))
    with pytest.raises(CalibrationError, match="labels on their own"):
        classifier.classify(red_star, labels, prompts, calibration=made, rules=Rules(multi_label=True))


def test_an_error_has_a_kind(classifier: Classifier, red_star: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.png").write_bytes(red_star.read_bytes()[:200])
    results = classifier.classify([tmp_path / "cut.png", tmp_path / "nowhere.png"], ["red star", "blue star"])
    assert [result.error_kind for result in results] == ["damaged", "not_found"]
