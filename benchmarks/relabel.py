"""Other labels over many images already seen: whole process, time and peak memory; beside rclip's own query code.

    python benchmarks/relabel.py [--images 100000] [--runs 3]

Vectors (512 numbers, as of a ViT-B/32) are put into the store through its own interface, with small files for the paths.
rclip is measured if it can be imported (`pip install rclip`): its search over as many vectors in its own database.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from zsclip import PromptSet, models, scoring
from zsclip.embedding.model import Model
from zsclip.images.item import Stamp
from zsclip.models import resolve
from zsclip.models.spec import ModelFacts
from zsclip.store.database import Store
from zsclip.store.records import Kind, text_digest
from zsclip.unit_vectors import Embedding, Quality

DIMENSION = 512
LABELS = [f"label {n}" for n in range(10)]
RUN = """
import atexit, resource, sys
from zsclip.__main__ import main

def say():
    assert "torch" not in sys.modules
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, file=sys.stderr)

atexit.register(say)
sys.argv = ["zsclip", *sys.argv[1:]]
main()
"""


def checkpoint_folder(folder: Path) -> Path:
    """A model's folder whose vectors have 512 numbers; its weights are never read but for their digest."""
    demo = Path(str(resolve(models.DEMO).checkpoint)).parent
    document = json.loads((demo / "open_clip_config.json").read_text())
    document["model_cfg"]["embed_dim"] = DIMENSION
    folder.mkdir()
    (folder / "open_clip_config.json").write_text(json.dumps(document))
    (folder / "open_clip_model.safetensors").write_bytes(b"only its digest is asked for")
    return folder


def fill(store: Store, model: Model, root: Path, count: int, labels: Sequence[str] = LABELS) -> None:
    rng = np.random.default_rng(0)
    for start in range(0, count, 1000):
        folder = root / f"{start // 1000:05}"
        folder.mkdir(parents=True)
        vectors = scoring.normalise(rng.standard_normal((1000, DIMENSION)).astype(np.float32))
        kept, files = {}, []
        for number, vector in enumerate(vectors, start):
            path = folder / f"image-{number:07}.jpg"
            path.touch()  # nobody reads it
            digest = hashlib.sha256(b"%d" % number).digest()
            kept[digest] = Embedding(vector, Quality.HALF)
            files.append((Stamp.of_file(path, path.stat()), digest))
        store.put(model.identity, kept, files)
    texts = [text for label in labels for text in PromptSet.load("openai-simple").expand(label)]
    rows = scoring.normalise(rng.standard_normal((len(texts), DIMENSION)).astype(np.float32))
    made = {text_digest(text): Embedding(row) for text, row in zip(texts, rows, strict=True)}
    store.put(model.identity, made, kind=Kind.TEXT)
    store.pack(DIMENSION)  # as a run does at its end


def rclip_seconds(folder: Path, count: int) -> float | None:
    """One search of rclip's own code over `count` vectors in its own database, without its start-up."""
    try:
        from rclip.db import DB
        from rclip.main import RClip
        from rclip.model import Model
    except Exception as error:  # it may be missing, or anything that it imports may be broken
        print(f"rclip is not measured: {type(error).__name__}: {error}")
        return None
    rng = np.random.default_rng(0)
    database = DB(folder / "rclip.sqlite3")
    rows = scoring.normalise(rng.standard_normal((count, DIMENSION)).astype(np.float32))
    for number, row in enumerate(rows):
        path = f"{folder}/image-{number:07}.jpg"
        image = {"filepath": path, "modified_at": 0.0, "size": 1, "vector": row.tobytes(), "hash": str(number)}
        database.upsert_image(image, commit=False)  # type: ignore[arg-type]
    database.commit()
    vector = rows[0]

    class KnownText(Model):
        """rclip's model with the text's vector given, as zsclip has it from its store."""

        def __init__(self) -> None:
            pass

        def compute_text_features(self, text: list[str]) -> np.ndarray:
            return np.stack([vector for _ in text])

    search = RClip(KnownText(), database, 64, None)  # type: ignore[call-arg]
    started = time.perf_counter()
    search.search("a query", str(folder), 10)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        name = f"local-dir:{checkpoint_folder(folder / 'model')}"
        with Store(folder / "cache") as store:
            model = Model(resolve(name), store)
            store.put_facts(model.identity, ModelFacts(100.0, 0.0, DIMENSION, "benchmark"))
            fill(store, model, folder / "images", args.images)
        size = sum(path.stat().st_size for path in (folder / "cache").iterdir()) / 1e6
        command = [sys.executable, "-c", RUN, "classify", str(folder / "images"), "--model", name]
        command += ["--cache-dir", str(folder / "cache"), "-l", ",".join(LABELS), "-q", "-o", str(folder / "out.csv")]
        seconds, peaks = [], []
        for _ in range(args.runs):
            started = time.perf_counter()
            run = subprocess.run(command, check=True, capture_output=True, text=True)
            seconds.append(time.perf_counter() - started)
            peaks.append(float(run.stderr.split()[-1]))
        lines = sum(1 for _ in (folder / "out.csv").open())
        assert lines == args.images + 1, lines
        print(f"{args.images:,} images, {len(LABELS)} labels, store of {size:,.0f} MB: whole process")
        print(
            f"median {statistics.median(seconds):.2f} s (of {args.runs}: {', '.join(f'{s:.2f}' for s in seconds)})",
            end=", ",
        )
        print(f"peak memory {max(peaks):.0f} MB")
        if theirs := rclip_seconds(folder, args.images):
            print(f"rclip's search over as many vectors, without its start-up: {theirs:.2f} s, ", end="")
            print(
                f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB (with this benchmark's own)"
            )


if __name__ == "__main__":
    main()
