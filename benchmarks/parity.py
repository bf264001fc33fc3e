"""How far zsclip's numbers are from open_clip's own, with random weights and `logit_scale` ln 100.

    python benchmarks/parity.py [MODEL ...]     (default: ViT-B-32 RN50 demo)

Checkpoints are written to files, class vectors come from the library, probabilities from the command line with --exact.
"""

from __future__ import annotations

import csv
import io
import math
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import open_clip
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from zsclip import Classifier, PromptSet
from zsclip.demo import draw_folder
from zsclip.models import resolve

LABELS = [f"{colour} {shape}" for colour in ("red", "blue", "pink") for shape in ("star", "ring", "arrow", "heart")]


def main() -> None:
    for name in sys.argv[1:] or ["ViT-B-32", "RN50", "demo"]:
        with tempfile.TemporaryDirectory() as folder:
            compare(name, Path(folder))


def compare(name: str, folder: Path) -> None:
    torch.manual_seed(0)
    options = ["--model", name]
    if name == "demo":
        demo = shutil.copytree(Path(str(resolve(name).checkpoint)).parent, folder / "model")
        state = load_file(demo / "open_clip_model.safetensors")
        save_file({**state, "logit_scale": torch.tensor(math.log(100))}, demo / "open_clip_model.safetensors")
        source = f"local-dir:{demo}"
        options = ["--model", source]
        model, _, transform = open_clip.create_model_and_transforms(source)
    else:
        source, checkpoint = name, folder / "weights.pt"
        # A model made without its tag has OpenAI's preprocessing, whatever it was trained with.
        tags = open_clip.list_pretrained_tags_by_model(name)
        wanted = open_clip.get_pretrained_cfg(name, tags[0]) if tags else {}
        model, _, transform = open_clip.create_model_and_transforms(
            name,
            image_mean=wanted.get("mean"),
            image_std=wanted.get("std"),
            image_interpolation=wanted.get("interpolation"),
            image_resize_mode=wanted.get("resize_mode"),
        )
        with torch.no_grad():
            model.logit_scale.fill_(math.log(100))
        torch.save(model.state_dict(), checkpoint)
        options += ["--pretrained", str(checkpoint)]
    model.eval()
    templates = PromptSet.load("openai-simple").templates
    tokenizer = open_clip.get_tokenizer(source)
    plain = [template.replace("<label>", "{}") for template in templates]
    theirs = open_clip.build_zero_shot_classifier(model, tokenizer, LABELS, plain).T.numpy()
    named = dict(zip(options[::2], options[1::2], strict=True))
    with Classifier.load(named["--model"], named.get("--pretrained"), exact=True, use_cache=False) as classifier:
        ours = np.concatenate(classifier.class_vectors(LABELS, "openai-simple").vectors)

    scenes = sorted(draw_folder(folder / "demo", images=1).scenes.rglob("*.png"))[::4]
    with torch.no_grad():
        images = torch.stack([transform(Image.open(path)) for path in scenes])
        logits = model.logit_scale.exp() * model.encode_image(images, normalize=True) @ torch.from_numpy(theirs).T
    expected = logits.softmax(-1).numpy()
    command = [sys.executable, "-m", "zsclip", "classify", *map(str, scenes), *options, "--exact", "--no-cache"]
    run = subprocess.run(
        [*command, "-l", ",".join(LABELS), "-k", "all", "-f", "csv"], check=True, capture_output=True, text=True
    )
    worst = 0.0
    for row, probabilities in zip(csv.DictReader(io.StringIO(run.stdout)), expected, strict=True):
        ranks = ["", *(f"_{n}" for n in range(2, len(LABELS) + 1))]
        said = {row[f"label{rank}"]: float(row[f"probability{rank}"]) for rank in ranks}
        worst = max(worst, *(abs(said[label] - p) for label, p in zip(LABELS, probabilities, strict=True)))
    vectors = np.abs(ours - theirs).max()
    print(f"{name}: {len(LABELS)} class vectors differ by at most {vectors:.1e} an element, the", end=" ")
    print(f"probabilities of {len(scenes)} images by at most {worst:.1e} (printed with 6 decimals)")


if __name__ == "__main__":
    main()
