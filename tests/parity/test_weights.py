"""Published numbers with published weights, where those can be had."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from zsclip import Classifier, LabelSet, PromptSet

pytestmark = pytest.mark.weights


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier.load("ViT-B-32", "openai", exact=True)


def test_the_picture_of_openais_readme(classifier: Classifier, tmp_path: Path) -> None:
    try:
        with urllib.request.urlopen(
            "https://raw.githubusercontent.com/openai/CLIP/main/CLIP.png", timeout=20
        ) as source:
            (tmp_path / "CLIP.png").write_bytes(source.read())
    except urllib.error.URLError as error:
        pytest.skip(f"the picture cannot be fetched: {error}")
    labels = ["a diagram", "a dog", "a cat"]
    (result,) = classifier.classify([tmp_path / "CLIP.png"], labels, PromptSet.of(["<label>"]))
    said = {one.label: one.probability for one in result.predictions}
    assert [said[label] for label in labels] == pytest.approx([0.9928, 0.0042, 0.0030], abs=2e-4)


def test_image_embeddings_of_clip_retrieval(classifier: Classifier, shared: Path) -> None:
    known = np.load(shared / "clip_vit_b32" / "images.npz")
    paths = [shared / "clip_vit_b32" / "images" / name for name in known["names"]]
    found = np.stack([one.embedding.vector for batch in classifier.embed_images(paths) for one in batch])  # type: ignore[union-attr]
    assert ((found * known["embeddings"].astype(np.float32)).sum(1)).min() > 0.999


def test_text_embeddings_of_detic(classifier: Classifier, shared: Path) -> None:
    known = np.load(shared / "clip_vit_b32" / "texts_coco80.npz")
    theirs = known["embeddings"].astype(np.float32)
    found = classifier.embed_texts([f"a {label}" for label in known["labels"]])
    assert ((found * theirs).sum(1) / np.linalg.norm(theirs, axis=1)).min() > 0.999


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("123_456.jpg", {"cat": 0.6146, "tennis racket": 0.0588}),
        ("456_123.jpg", {"cat": 0.4744, "mouse": 0.1199}),
        ("208_495.jpg", {"surfboard": 0.5448, "bench": 0.2147}),
    ],
)
def test_probabilities_over_the_names_of_coco(
    name: str, expected: dict[str, float], classifier: Classifier, shared: Path
) -> None:
    labels = np.load(shared / "clip_vit_b32" / "texts_coco80.npz")["labels"].tolist()
    picture = shared / "clip_vit_b32" / "images" / name
    (result,) = classifier.classify([picture], labels, PromptSet.of(["a <label>"]), top_k=None)
    said = {one.label: one.probability for one in result.predictions}
    for label, probability in expected.items():
        assert said[label] == pytest.approx(probability, abs=0.01)  # theirs went through float16 twice


@pytest.mark.parametrize(
    ("architecture", "tag", "accuracy"),
    [
        ("RN50", "openai", 59.82),
        ("ViT-B-32", "openai", 63.32),
        ("ViT-B-16", "openai", 68.34),
        ("ViT-L-14", "openai", 75.54),
        ("ViT-B-32", "laion2b_s34b_b79k", 66.56),
        ("ViT-B-32-256", "datacomp_s34b_b86k", 72.81),
    ],
)
def test_zero_shot_accuracy_on_imagenet(architecture: str, tag: str, accuracy: float) -> None:
    """`ZSCLIP_TEST_IMAGENET` is the validation set: a folder for each of the 1,000 classes, named by WordNet number."""
    root = os.environ.get("ZSCLIP_TEST_IMAGENET")
    if not root:
        pytest.skip("set ZSCLIP_TEST_IMAGENET to ImageNet's validation folder")
    folders = sorted(path for path in Path(root).iterdir() if path.is_dir())
    assert len(folders) == 1000
    labels = LabelSet.load("builtin:imagenet")
    paths = [(path, number) for number, folder in enumerate(folders) for path in sorted(folder.iterdir())]
    with Classifier.load(architecture, tag, exact=True) as classifier:
        results = classifier.classify((path for path, _ in paths), labels, "openai-imagenet", top_k=1)
        right = sum(result.label == labels.names[number] for result, (_, number) in zip(results, paths, strict=True))
    assert 100 * right / len(paths) == pytest.approx(accuracy, abs=0.2)
