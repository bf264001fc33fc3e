"""What the demo model gets right: top-1 on seen and unseen pairs, all 64 pairs as labels, by prompt set.

    python benchmarks/demo_accuracy.py [--scenes 100]

Scenes are drawn anew (another seed than training's) and go through the product: preprocessing, prompts, scoring.
Intervals are Wilson's at 95 %; the ensemble is compared with one template by an exact McNemar test on the same scenes.
"""

from __future__ import annotations

import argparse
import random

import numpy as np
from scipy.stats import binomtest

from zsclip import Classifier, PromptSet
from zsclip.demo.scenes import PAIRS, UNSEEN_PAIRS, draw, random_scene

SIZES = ((320, 240), (240, 320), (256, 256), (400, 300))
SETS = {
    "one template": PromptSet.of(["a photo of a <label>."]),
    "openai-simple (7)": "openai-simple",
    "openai-imagenet (80)": "openai-imagenet",
    "photo (10)": "photo",
    "plain (2)": "plain",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=100, help="per pair of colour and shape")
    parser.add_argument("--seed", type=int, default=90_001)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    pairs = [pair for pair in PAIRS for _ in range(args.scenes)]
    pictures = [draw(random_scene(rng, pair), rng, rng.choice(SIZES)) for pair in pairs]
    labels = [" ".join(pair) for pair in PAIRS]
    unseen = [pair in UNSEEN_PAIRS for pair in pairs]
    print(f"{len(pairs)} scenes, {sum(unseen)} of them of the {len(UNSEEN_PAIRS)} unseen pairs; {len(labels)} labels")
    right: dict[str, list[bool]] = {}
    with Classifier.load("demo", use_cache=False) as classifier:
        print(f"logit scale {classifier.model.facts.logit_scale:.2f}")
        vectors = np.stack([one.embedding.vector for batch in classifier.embed_images(pictures) for one in batch])
        for name, prompts in SETS.items():
            classes = classifier.class_vectors(labels, prompts)
            best = [scored.predictions[0].label for scored in classes.score(vectors, 1)]
            right[name] = [label == " ".join(pair) for label, pair in zip(best, pairs, strict=True)]
            seen = [ok for ok, new in zip(right[name], unseen, strict=True) if not new]
            new = [ok for ok, new in zip(right[name], unseen, strict=True) if new]
            print(f"{name:<21} unseen {share(new)}   seen {share(seen)}")
    single = right["one template"]
    for name in list(SETS)[1:]:
        gained = sum(b and not a for a, b in zip(single, right[name], strict=True))
        lost = sum(a and not b for a, b in zip(single, right[name], strict=True))
        p = binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
        print(f"{name} against one template, all scenes: {gained} gained, {lost} lost, McNemar p = {p:.3g}")


def share(right: list[bool]) -> str:
    interval = binomtest(sum(right), len(right)).proportion_ci(method="wilson")
    return f"{100 * sum(right) / len(right):5.2f} % [{100 * interval.low:.2f}, {100 * interval.high:.2f}]"


if __name__ == "__main__":
    main()
