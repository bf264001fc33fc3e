"""Whatever ran before, in whatever precision, over copies and other names: `exact` gives what it gives with nothing kept."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from support import small_models as small

from zsclip import Classifier

pytestmark = pytest.mark.slow

LABELS, PROMPTS = ["a cat", "red star", "x"], "plain"
# Batches of one: in larger ones the last bit of a vector may depend on what else is in the batch.
ALWAYS: dict[str, Any] = {"engine": "torch", "batch_size": 1}
HOWS: list[dict[str, Any]] = [
    {}, {"precision": "fp32"}, {"precision": "bf16"}, {"exact": True},
    {"precision": "fp32", "rehash": True}, {"exact": True, "rehash": True},
]  # fmt: skip
FILES = ("large.jpg", "copy.jpg", "link.jpg", "small.png", "text.jpg")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A JPEG large enough to be decoded at a reduced scale, a copy and a link of it; a small picture; and a file with the bytes
    by which a prompt is known in a store."""
    folder = tmp_path_factory.mktemp("pictures")
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "large.jpg", quality=90)
    shutil.copy(folder / "large.jpg", folder / "copy.jpg")
    (folder / "link.jpg").hardlink_to(folder / "large.jpg")
    Image.fromarray(noise[:70, :80]).save(folder / "small.png")
    Image.fromarray(noise[:80, :70]).save(folder / "another.png")
    (folder / "text.jpg").write_bytes(b"text\0a cat")
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A SigLIP, whose scale and bias half precision rounded."""
    folder = tmp_path_factory.mktemp("models") / "siglip"
    small.save_transformers("siglip", folder)
    return f"local-dir:{folder}"


def run(model: str, files: list[Path], **options: Any) -> Iterator[tuple[Any, ...]]:
    """Of each file its vector's bytes, all probabilities and similarities, or its error."""
    with Classifier.load(model, **ALWAYS, **options) as classifier:
        vectors = [one for batch in classifier.embed_images(files) for one in batch]
        results = list(classifier.classify(files, LABELS, PROMPTS, top_k=None))
    for one, result in zip(vectors, results, strict=True):
        # As many digits as do not depend on how many pictures are scored at once.
        predictions = tuple(
            (found.label, f"{found.probability:.12f}", f"{found.similarity:.12f}") for found in result.predictions
        )
        yield one.embedding and one.embedding.vector.tobytes(), predictions, result.error


@pytest.fixture(scope="module")
def expected(model: str, pictures: Path) -> dict[str, tuple[Any, ...]]:
    return dict(zip(FILES, run(model, [pictures / name for name in FILES], exact=True, use_cache=False), strict=True))


runs = st.lists(
    st.tuples(st.sampled_from(HOWS), st.lists(st.sampled_from((*FILES, "another.png")), min_size=1, max_size=4)),
    max_size=3,
)


@settings(max_examples=20)
@given(runs, st.lists(st.sampled_from(FILES), min_size=1, unique=True))
# Half precision had the last word on scale and bias.
@example([({"exact": True}, ["small.png"]), ({"precision": "bf16"}, ["another.png"])], ["small.png"])
# A copy that was decoded at a reduced scale.
@example([({"precision": "fp32"}, ["large.jpg", "copy.jpg"])], ["copy.jpg", "large.jpg"])
# A text's key and a file's.
@example([({"exact": True}, ["small.png"])], ["text.jpg"])
def test_exact_does_not_depend_on_what_ran_before(
    model: str,
    pictures: Path,
    expected: dict[str, tuple[Any, ...]],
    before: list[tuple[dict[str, Any], list[str]]],
    last: list[str],
) -> None:
    assert expected["text.jpg"][2]  # it is no picture, whatever is known of texts
    assert expected["large.jpg"][0] != expected["small.png"][0]
    with tempfile.TemporaryDirectory() as cache:
        for how, names in before:
            assert len(list(run(model, [pictures / name for name in names], cache_dir=cache, **how))) == len(names)
        found = run(model, [pictures / name for name in last], cache_dir=cache, exact=True)
        assert dict(zip(last, found, strict=True)) == {name: expected[name] for name in last}
