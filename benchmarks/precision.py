"""What fast costs against --exact: reduced decoding of big JPEGs and bf16, as cosines of vectors and shifts of probabilities.

python benchmarks/precision.py [--photos FOLDER] [--architectures ViT-B-32 RN50]

Random weights, `logit_scale` ln 100, as trained models have it: a random model's own 14 would hide the shifts. This says
how far numbers move, and nothing about accuracy.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from pathlib import Path

import numpy as np
from PIL import ImageFilter

from benchmarks.speed.material import LABELS, LARGE, SMALL
from zsclip import Classifier
from zsclip.engines.probes import photo_like
from zsclip.images.folders import Walk


def checkpoint(architecture: str, folder: Path) -> Path:
    import open_clip
    import torch

    torch.manual_seed(0)
    model = open_clip.create_model(architecture)
    with torch.no_grad():
        model.logit_scale.fill_(math.log(100))
    path = folder / f"{architecture}.pt"
    torch.save(model.state_dict(), path)
    return path


def vectors(classifier: Classifier, paths: list[str]) -> tuple[np.ndarray, np.ndarray]:
    images = np.concatenate([batch for _, batch, _ in classifier.embed(paths)])
    classes = classifier.class_vectors(LABELS)
    return images, np.concatenate(classes.vectors)


def softmax(logits: np.ndarray) -> np.ndarray:
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def row(name: str, exact: tuple[np.ndarray, np.ndarray], fast: tuple[np.ndarray, np.ndarray]) -> str:
    cosines = (exact[0] * fast[0]).sum(axis=1)
    shifts = np.abs(softmax(100 * exact[0] @ exact[1].T) - softmax(100 * fast[0] @ fast[1].T)).max(axis=1)
    return (
        f"| {name} | {len(cosines)} | {np.median(cosines):.6f} | {cosines.min():.6f} | {np.median(shifts):.4f} | "
        f"{np.quantile(shifts, 0.99):.4f} | {shifts.max():.4f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, help="a folder of photographs of your own")
    parser.add_argument("--architectures", nargs="+", default=["ViT-B-32", "RN50"])
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        kinds = {"generated, 500 x 375": (SMALL, 100), "generated, 12 megapixels": (LARGE, 12)}
        paths = {}
        for kind, (size, count) in kinds.items():
            paths[kind] = [str(folder / f"{size[0]}-{number}.jpg") for number in range(count)]
            for number, path in enumerate(paths[kind]):
                photo_like(size, number).filter(ImageFilter.GaussianBlur(0.8)).save(path, quality=88)
        if args.photos:
            paths["photographs"] = [path for path in Walk(args.photos) if path]
        print(
            "| model, precision | images | cosine, median | least | shift of a probability, median | 99 % | largest |"
        )
        print("| --- | --- | --- | --- | --- | --- | --- |")
        for architecture in args.architectures:
            weights = checkpoint(architecture, folder)
            options = {"use_cache": False, "cache_dir": folder / "cache"}
            for precision in ("fp32", "bf16", "auto"):
                with (
                    Classifier.load(architecture, weights, exact=True, **options) as exact,
                    Classifier.load(architecture, weights, precision=precision, **options) as fast,
                ):
                    print(f"<!-- {architecture} {precision}: {fast.model.load().description} -->")
                    for kind, files in paths.items():
                        title = f"{architecture}, {precision}: {kind}"
                        print(row(title, vectors(exact, files), vectors(fast, files)), flush=True)


if __name__ == "__main__":
    main()
