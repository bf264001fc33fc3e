"""The gate for half precision: whether its few probes decide as many do, and what measuring costs.

    python benchmarks/gate.py                       decisions, of every family of the tests, bf16 on PyTorch
    python benchmarks/gate.py --cost ViT-B-32 ...   what `precision.py` does once, on OpenVINO, beside a run over 32 images

Small models with random weights and `logit_scale` ln 100. Where the processor does not compute in bf16, OpenVINO is asked for it all
the same; what it then takes is an upper bound. CPU seconds are user and system of this process.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "parity"))
sys.path.insert(0, str(Path(__file__).parents[1]))
from support import small_models as small
from support.made_once import save_random_checkpoint
from test_families import FAMILIES, Family

from benchmarks.families import OTHERS
from zsclip import Classifier
from zsclip.engines import probes
from zsclip.engines.agreement import Agreement


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cost", nargs="+", metavar="MODEL")
    parser.add_argument("--weights", type=Path, help="a folder that keeps the weights that are made")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if chosen.cost:
            print(f"{'model':<12}{'measuring':>12}{'CPU':>9}{'32 images in fp32':>20}{'CPU':>9}")
            for name in chosen.cost:
                cost(name, chosen.weights or Path(folder))
            return
        print(f"{'family':<14}{'images':>10}{'texts':>10}{'logit':>8}{'chance':>8}   with few, then with all: allowed?")
        for title, family in {**OTHERS, **FAMILIES}.items():
            decide(title, family, Path(folder) / title.replace(" ", "-").replace("/", "-"))


def decide(title: str, family: Family, folder: Path) -> None:
    folder.mkdir()
    if family.text_tower:
        (folder / "config.json").write_text(json.dumps(family.text_tower))
    small.save_family(folder, small.family(family.architecture, **family.changes), family.tokenizer, family.preprocess)
    images, texts = {True: [], False: []}, []
    for precision in ("fp32", "bf16"):
        with Classifier.load(
            f"local-dir:{folder}", engine="torch", precision=precision, device="cpu", use_cache=False
        ) as classifier:
            engine = classifier.model.load()
            for few in images:
                images[few].append(engine.encode_images(probes.pixels(classifier.model.spec.preprocessing, few=few)))
            texts.append(np.stack([one.vector for one in engine.encode_texts(probes.TEXTS)]))
            facts = engine.facts
    few, many = (Agreement.between(facts, images[few], texts) for few in (True, False))
    for measured in (few, many):
        print(
            f"{title:<14}{measured.images:>10.6f}{measured.texts:>10.6f}{measured.logit:>8.3f}{measured.probability:>8.4f}   "
            f"{'yes' if measured.holds else 'no'}{'' if few.holds == many.holds else '   THEY DIFFER'}",
            flush=True,
        )


def cost(name: str, folder: Path) -> None:
    from zsclip.engines.base import Computing
    from zsclip.engines.openvino.precision import UnmeasuredEngine

    path = folder / f"{name}.safetensors"
    if not path.exists():
        save_random_checkpoint(name, path)
    with Classifier.load(name, str(path), engine="openvino", precision="fp32", use_cache=False) as classifier:
        spec, source = classifier.model.spec, classifier.model.load().source
        engine = UnmeasuredEngine(source, spec.preprocessing, Computing("cpu"), None)
        pixels = np.repeat(probes.pixels(spec.preprocessing, few=True), 6, axis=0)[:32]
        engine.encode_images(pixels[:16])  # compiled before, as in a run
        engine.encode_texts(probes.TEXTS[:2])
        job = timed(lambda: [engine.encode_images(pixels[start : start + 16]) for start in (0, 16)])
        measuring = timed(engine._measured)
    print(f"{name:<12}{measuring[0]:>11.2f}s{measuring[1]:>8.2f}s{job[0]:>19.2f}s{job[1]:>8.2f}s", flush=True)


def timed(work: Callable[[], object]) -> tuple[float, float]:
    started, before = time.perf_counter(), os.times()
    work()
    after = os.times()
    return time.perf_counter() - started, after.user + after.system - before.user - before.system


if __name__ == "__main__":
    main()
