"""The sides of the comparison. Each runs in a process of its own that loads and warms up once, then waits to be asked for
rounds, so that the sides take turns on the same machine within one run without sharing threads.

python -m benchmarks.speed.sides NAME FOLDER    reads a task a line, prints seconds a line
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.speed.material import ARCHITECTURE, LABELS

Paths = Sequence[str]
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
TEMPLATE = "a photo of a {}."


@dataclass(frozen=True)
class Side:
    """What a side does with images and with a number of labels, and what it does before the clock starts."""

    images: Callable[[Paths], Any]
    texts: Callable[[int], Any] | None = None
    prepare: Callable[[], Any] = lambda: None


def zsclip_side(folder: Path, *, exact: bool) -> Side:
    """As it is by default, with its store; what the store knows of images is forgotten before each round."""
    from zsclip import Classifier, LabelSet, PromptSet
    from zsclip.models import open_clip_data
    from zsclip.store import maintenance as upkeep

    cache = folder / ("cache-exact" if exact else "cache-fast")
    share_exports(folder, cache)
    classifier = Classifier.load(ARCHITECTURE, folder / "vit.pt", exact=exact, cache_dir=cache)
    prompt = PromptSet.of([TEMPLATE])
    templates = PromptSet.of(open_clip_data.templates("openai-imagenet"))

    def prepare() -> None:
        upkeep.clear(classifier._store)
        classifier.class_vectors(LABELS, prompt)

    return Side(
        lambda paths: list(classifier.classify(paths, LABELS, prompt)),
        lambda count: classifier.class_vectors(LabelSet.of(_names(count)), templates),
        prepare,
    )


def share_exports(folder: Path, cache: Path) -> None:
    """A store of its own beside the model that was converted before."""
    cache.mkdir(exist_ok=True)
    if not (cache / "exports").exists():
        (cache / "exports").symlink_to((folder / "cache" / "exports").absolute())


def open_clip_side(folder: Path) -> Side:
    """The loop of open_clip's README, over batches of 32."""
    import open_clip
    import torch
    from PIL import Image

    model, _, preprocess = open_clip.create_model_and_transforms(ARCHITECTURE, pretrained=str(folder / "vit.pt"))
    model.eval()
    tokenizer = open_clip.get_tokenizer(ARCHITECTURE)
    with torch.no_grad():
        classes = model.encode_text(tokenizer([TEMPLATE.format(label) for label in LABELS]), normalize=True)

    def images(paths: Paths) -> Any:
        results = []
        with torch.no_grad():
            for start in range(0, len(paths), 32):
                batch = torch.stack([preprocess(Image.open(path)) for path in paths[start : start + 32]])
                features = model.encode_image(batch)
                features /= features.norm(dim=-1, keepdim=True)
                results.append((100.0 * features @ classes.T).softmax(dim=-1))
        return results

    def texts(count: int) -> Any:
        return open_clip.build_zero_shot_classifier(
            model, tokenizer, _names(count), open_clip.OPENAI_IMAGENET_TEMPLATES, num_classes_per_batch=10
        )

    return Side(images, texts)


def pipeline_side(folder: Path, batch: int) -> Side:
    """The Hugging Face pipeline: a call an image, or all at once in batches."""
    import transformers

    transformers.logging.set_verbosity_error()
    pipe = transformers.pipeline("zero-shot-image-classification", model=str(folder / "hf"), device="cpu")

    def images(paths: Paths) -> Any:
        wanted = {"candidate_labels": list(LABELS), "hypothesis_template": TEMPLATE}
        if batch == 1:
            return [pipe(path, **wanted) for path in paths]
        return pipe(list(paths), batch_size=batch, **wanted)

    return Side(images)


def onnx_side(folder: Path) -> Side:
    """ONNX Runtime in fp32 as rclip 3.3 uses it: batches of 8, pictures decoded on threads meanwhile."""
    import numpy as np
    import onnxruntime
    from PIL import Image

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = CORES
    session = onnxruntime.InferenceSession(folder / "visual.onnx", options, providers=["CPUExecutionProvider"])
    mean = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
    std = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)
    classes = np.random.default_rng(0).normal(size=(len(LABELS), 512)).astype(np.float32)

    def load(path: str) -> Any:
        with Image.open(path) as image:
            width, height = image.size
            scale = 224 / min(width, height)
            small = image.convert("RGB").resize(
                (max(224, int(width * scale)), max(224, int(height * scale))), Image.Resampling.BICUBIC
            )
        left, top = (small.width - 224) // 2, (small.height - 224) // 2
        pixels = np.asarray(small.crop((left, top, left + 224, top + 224)), np.float32) / 255
        return ((pixels - mean) / std).transpose(2, 0, 1)

    def images(paths: Paths) -> Any:
        results = []
        with ThreadPoolExecutor(CORES) as pool:
            loaded = [pool.submit(load, path) for path in paths]
            for start in range(0, len(paths), 8):
                batch = np.stack([one.result() for one in loaded[start : start + 8]])
                (features,) = session.run(None, {"input": batch})
                features /= np.linalg.norm(features, axis=1, keepdims=True)
                results.append(features @ classes.T)
        return results

    return Side(images)


def model_limit(folder: Path, *, exact: bool) -> Side:
    """The bare compiled model, in zsclip's precision, on ready arrays, as many as there are paths."""
    import numpy as np

    from zsclip import Classifier
    from zsclip.engines.openvino.runtime import core, openvino

    batch = np.random.default_rng(0).integers(0, 256, (32, 224, 224, 3), dtype=np.uint8)
    with Classifier.load(ARCHITECTURE, folder / "vit.pt", exact=exact, cache_dir=folder / "cache") as classifier:
        for _ in range(3):  # enough to measure whether it runs in bf16
            classifier.model.encode_images(batch, [False] * len(batch))
        engine: Any = classifier.model.engine
    hints = {
        "INFERENCE_PRECISION_HINT": {"fp32": "f32"}.get(engine.precision, "bf16"),
        "PERFORMANCE_HINT": "THROUGHPUT",
    }
    compiled = core().compile_model(engine.source.image, "CPU", hints)
    requests = openvino.AsyncInferQueue(compiled)

    def images(paths: Paths) -> Any:
        for _ in range(len(paths) // 32):
            requests.start_async([batch], share_inputs=True)
        requests.wait_all()

    return Side(images)


def decode_limit(folder: Path, *, reduced: bool) -> Side:
    """Pillow's bare decoding, at the scale that zsclip decodes at, on all cores."""
    from PIL import Image

    def decode(path: str) -> None:
        with Image.open(path) as image:
            if reduced:
                image.draft(None, (448, 448))
            image.load()

    def images(paths: Paths) -> Any:
        with ThreadPoolExecutor(CORES) as pool:
            list(pool.map(decode, paths))

    return Side(images)


def _names(count: int) -> list[str]:
    return [f"{LABELS[n % len(LABELS)]} {n // len(LABELS)}".removesuffix(" 0") for n in range(count)]


SIDES: dict[str, Callable[[Path], Side]] = {
    "zsclip": lambda folder: zsclip_side(folder, exact=False),
    "zsclip --exact": lambda folder: zsclip_side(folder, exact=True),
    "open_clip": open_clip_side,
    "pipeline 1": lambda folder: pipeline_side(folder, 1),
    "pipeline 32": lambda folder: pipeline_side(folder, 32),
    "ONNX Runtime": onnx_side,
    "model": lambda folder: model_limit(folder, exact=False),
    "model fp32": lambda folder: model_limit(folder, exact=True),
    "decode": lambda folder: decode_limit(folder, reduced=True),
    "decode in full": lambda folder: decode_limit(folder, reduced=False),
}


def main() -> None:
    name, folder = sys.argv[1], Path(sys.argv[2])
    side = SIDES[name](folder)
    print("ready", flush=True)
    for line in sys.stdin:
        task = json.loads(line)
        side.prepare()
        started = time.perf_counter()
        if "paths" in task:
            side.images(task["paths"])
        else:
            assert side.texts is not None
            side.texts(task["labels"])
        print(time.perf_counter() - started, flush=True)


if __name__ == "__main__":
    main()
