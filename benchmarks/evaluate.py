"""Six prompt sets of 80 templates judged on images already seen: whole process, time and peak memory.

    python benchmarks/evaluate.py [--images 10000] [--labels 100] [--sets 6] [--templates 80] [--runs 3]

Vectors (512 numbers, as of a ViT-B/32) are put into the store through its own interface, with small files for the paths.
Each run prints the comparison as JSON with a row for each label; no model is loaded.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from relabel import DIMENSION, RUN, checkpoint_folder

from zsclip import scoring
from zsclip.embedding.model import Model
from zsclip.images.item import Stamp
from zsclip.models import resolve
from zsclip.models.spec import ModelFacts
from zsclip.store.database import Store
from zsclip.store.records import Kind, text_digest
from zsclip.unit_vectors import Embedding, Quality


def fill(store: Store, model: Model, folder: Path, args: argparse.Namespace) -> None:
    """Labelled images near their label's vector, and prompts near it too, each template a bit off in its own way."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((args.labels, DIMENSION))
    for label, centre in enumerate(centres):
        place = folder / "images" / f"label_{label:03}"
        place.mkdir(parents=True)
        made, files = {}, []
        noise = rng.standard_normal((args.images // args.labels, DIMENSION))
        for number, vector in enumerate(scoring.normalise((centre * 0.15 + noise).astype(np.float32))):
            path = place / f"{number:05}.jpg"
            content = b"%d %d" % (label, number)
            path.write_bytes(content)
            digest = hashlib.sha256(content).digest()
            made[digest] = Embedding(vector, Quality.HALF)
            files.append((Stamp.of_file(path, path.stat()), digest))
        store.put(model.identity, made, files)
    for one in range(args.sets):
        templates = [f"set {one} template {number} of a <label>." for number in range(args.templates)]
        (folder / f"set-{one}.yaml").write_text("templates:\n" + "".join(f"  - {text}\n" for text in templates))
        for template in templates:
            noise = rng.standard_normal((args.labels, DIMENSION)) * rng.uniform(0.5, 3)
            rows = scoring.normalise((centres + noise).astype(np.float32))
            texts = [template.replace("<label>", f"label {label:03}") for label in range(args.labels)]
            kept = {text_digest(text): Embedding(row) for text, row in zip(texts, rows, strict=True)}
            store.put(model.identity, kept, kind=Kind.TEXT)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("images", 10_000), ("labels", 100), ("sets", 6), ("templates", 80), ("runs", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("more", nargs="*", help="further options of zsclip evaluate, after --")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        name = f"local-dir:{checkpoint_folder(folder / 'model')}"
        with Store(folder / "cache") as store:
            model = Model(resolve(name), store)
            store.put_facts(model.identity, ModelFacts(100.0, 0.0, DIMENSION, "benchmark"))
            fill(store, model, folder, args)
        command = [sys.executable, "-c", RUN, "evaluate", str(folder / "images"), "--model", name, "--per-class", "-q"]
        command += ["--cache-dir", str(folder / "cache"), "-f", "json", "-o", str(folder / "out.json"), *args.more]
        for one in range(args.sets):
            command += ["-p", str(folder / f"set-{one}.yaml")]
        seconds, peaks = [], []
        for _ in range(args.runs):
            started = time.perf_counter()
            run = subprocess.run(command, capture_output=True, text=True)
            assert run.returncode == 0, run.stderr
            seconds.append(time.perf_counter() - started)
            peaks.append(float(run.stderr.split()[-1]))
        document = json.loads((folder / "out.json").read_text())
        top1 = [one["top1"] for one in document["prompts"]]
        assert document["images"] + document["chosen_on"] == args.images // args.labels * args.labels
        print(f"{args.sets} sets of {args.templates} templates, {args.labels} labels, {document['images']:,} images")
        print(f"top-1 {', '.join(f'{share:.3f}' for share in top1)}")
        print(f"median {statistics.median(seconds):.2f} s (of {', '.join(f'{s:.2f}' for s in seconds)}), ", end="")
        print(f"peak memory {max(peaks):.0f} MB; PyTorch was not imported")


if __name__ == "__main__":
    main()
