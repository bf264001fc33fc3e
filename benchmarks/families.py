"""How far zsclip's vectors and probabilities are from open_clip's (or transformers') own, for every family of models.

    python benchmarks/families.py [ENGINE]        (openvino; or torch, auto)

With OpenVINO it says whether a model's graph is built from its weights' file, or converted from PyTorch's.

Random weights, `logit_scale` ln 100, `--exact`, the small models of the tests: real towers of each family with fewer or
narrower layers, and tokenizers of the same kinds made for the tests.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "parity"))
from support import small_models as small
from test_families import FAMILIES, FEW, Family

from zsclip import Classifier, PromptSet

OTHERS = {  # what other tests hold to open_clip
    "ViT": Family("ViT-B-32", {"vision_cfg": FEW, "text_cfg": FEW}, shortens=True),
    "ResNet": Family(
        "RN50", {"vision_cfg": {"layers": [1, 2, 1, 1], "width": 32, "image_size": 96}, "text_cfg": FEW}, shortens=True
    ),
}
LABELS = [f"{colour} {shape}" for colour in ("red", "blue", "pink") for shape in ("star", "ring", "arrow", "heart")]


def main() -> None:
    images = [
        Image.fromarray(np.random.default_rng(n).integers(0, 256, (200 + 20 * n, 320, 3), dtype=np.uint8))
        for n in range(6)
    ]
    print(f"{'family':<14}{'texts':>9}{'images':>9}{'probabilities':>15}  texts shortened, graph, engine")
    for title, family in {**OTHERS, **FAMILIES}.items():
        with tempfile.TemporaryDirectory() as folder:
            compare(title, family, Path(folder) / "model", images)


def compare(title: str, family: Family, folder: Path, images: list[Any]) -> None:
    folder.mkdir()
    if family.text_tower:
        (folder / "config.json").write_text(json.dumps(family.text_tower))
    config = small.family(family.architecture, **family.changes)
    model, transform = small.save_family(folder, config, family.tokenizer, family.preprocess)
    name = f"local-dir:{folder}"
    tokenizer = open_clip.get_tokenizer(name)
    with torch.no_grad():
        texts = model.encode_text(tokenizer(small.TEXTS), normalize=True).numpy()
        pixels = model.encode_image(torch.stack([transform(image) for image in images]), normalize=True)
        classes = open_clip.build_zero_shot_classifier(model, tokenizer, LABELS, ["a photo of a {}."])
        bias = 0.0 if model.logit_bias is None else model.logit_bias
        expected = (model.logit_scale.exp() * pixels @ classes + bias).softmax(-1).numpy()
    engine = sys.argv[1] if len(sys.argv) > 1 else "openvino"
    with Classifier.load(name, exact=True, engine=engine, cache_dir=folder.parent / "cache") as classifier:
        found = [one.embedding.vector for batch in classifier.embed_images(images) for one in batch if one.embedding]
        results = list(classifier.classify(images, LABELS, PromptSet.of(["a photo of a <label>."]), top_k=None))
        said = [[{p.label: p.probability for p in result.predictions}[label] for label in LABELS] for result in results]
        differences = (
            np.abs(classifier.embed_texts(small.TEXTS) - texts).max(),
            np.abs(np.stack(found) - pixels.numpy()).max(),
            np.abs(np.array(said) - expected).max(),
        )
        used = classifier.model.load()
        source = type(getattr(used, "source", None)).__name__
        graph = {"BuiltModel": "built", "Export": "converted"}.get(source, "PyTorch's")
    print(
        f"{title:<14}{differences[0]:>9.1e}{differences[1]:>9.1e}{differences[2]:>15.1e}  "
        f"{'yes' if family.shortens else 'no'}, {graph}, {used.description}"
    )


if __name__ == "__main__":
    main()
