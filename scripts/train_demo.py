"""Train the demo model on the scenes of `zsclip.demo.scenes`, and save it in open_clip's `local-dir` format.

    python scripts/train_demo.py [--steps 3000] [--out zsclip/demo/model]

Seeded, two cores, no data but what it draws. `benchmarks/demo_accuracy.py` measures the result. How it is done, and why:

- Texts name only some of what a scene shows ("something red", "two striped stars"), so colour and shape are learnt apart.
  Every text that is true of a picture is a right answer for it, its own or another's: the loss is a cross-entropy
  against all of them, not against the diagonal (as in UniCL, Yang et al., 2022).
- The 12 unseen pairs occur neither in a picture nor in a text.
- The query and key weights of the attention pool stay zero (a fixed point of gradient descent): every place counts the same. With
  the rows of the token table that no text here uses, they compress to nothing in the wheel.
- Weights are kept as float16 rounded to 6 bits of mantissa; the figures are those of the rounded weights.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import re
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import open_clip
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from zsclip.demo.scenes import PAIRS, SEEN_PAIRS, Scene, draw, random_scene

SEED = 2026
SIZE = 64
MODEL_CFG = {
    "embed_dim": 128,
    "vision_cfg": {"image_size": SIZE, "layers": [1, 1, 1, 1], "width": 24, "patch_size": None},
    "text_cfg": {"context_length": 32, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2},
}
PREPROCESS_CFG = {
    "mean": [0.5, 0.5, 0.5],
    "std": [0.5, 0.5, 0.5],
    "interpolation": "bicubic",
    "resize_mode": "shortest",
}

FRAMES = [
    "a <label>", "a <label>.", "<label>", "the <label>", "this is a <label>.", "there is a <label> in the scene.",
    "a photo of a <label>", "a photo of a <label>.", "a photo of the <label>.", "a close-up photo of a <label>.",
    "a picture of a <label>.", "an image of a <label>.", "a drawing of a <label>.", "a drawing of the <label>.",
    "an illustration of a <label>.", "art of a <label>.", "a painting of a <label>.", "a cartoon of a <label>.",
    "a simple shape: a <label>.", "a screenshot showing a <label>.", "a scan of a <label>.",
    "a pattern of a <label>.", "a texture of a <label>.", "a satellite photo of a <label>.",
    "a product photo of a <label>.", "a <label> on a plain background.", "a digital image of a <label>.",
    "a geometric <label>.", "a clip art <label>.", "an icon of a <label>.",
]  # fmt: skip
NUMBERS = {1: "one", 2: "two", 3: "three", 4: "four"}


@dataclass(frozen=True)
class Caption:
    """A text and what it claims; `None` where it claims nothing."""

    text: str
    colour: str | None
    shape: str | None
    size: str | None
    count: int | None
    pattern: str | None
    background: str | None

    def claims(self) -> list[int]:
        """One number per property: the index of the claimed value, or -1."""
        return [-1 if (value := getattr(self, name)) is None else VALUES[name].index(value) for name in PROPERTIES]


PROPERTIES = [field.name for field in fields(Scene)]
VALUES = {
    name: sorted(
        {getattr(scene, name) for scene in [random_scene(random.Random(n), PAIRS[n % 64]) for n in range(4096)]}
    )
    for name in PROPERTIES
}


def caption(scene: Scene, rng: random.Random, frames: list[str]) -> Caption:
    """A random true text about `scene`."""
    named = rng.choices(["both", "colour", "shape"], [0.6, 0.2, 0.2])[0]
    colour = scene.colour if named != "shape" else None
    shape = scene.shape if named != "colour" else None
    size = scene.size if rng.random() < 0.15 and scene.size != "medium" else None
    count = scene.count if rng.random() < 0.2 else None
    pattern = scene.pattern if rng.random() < 0.2 and scene.pattern != "plain" else None
    background = scene.background if rng.random() < 0.1 and scene.background != "shaded" else None
    noun = shape or rng.choice(["shape", "object", "thing"])
    if count and count > 1:
        noun += "es" if noun.endswith("s") else "s"
    words = " ".join(word for word in (size, pattern, colour, noun) if word)
    frame = rng.choice(frames)
    if count:
        # "a photo of two red stars": the number takes the article's place.
        frame = re.sub(r"\b(an|a|the) <label>", "<label>", frame)
        words = f"{NUMBERS[count]} {words}"
    if background:
        words += f" on a {background} background"
    return Caption(frame.replace("<label>", words), colour, shape, size, count, pattern, background)


def drawn(arguments: tuple[int, int, list[tuple[str, str]]]) -> tuple[np.ndarray, list[Scene]]:
    """Scenes of those pairs as uint8 (n, 64, 64, 3), resized as the product's preprocessing does."""
    from PIL import Image

    seed, count, pairs = arguments
    rng = random.Random(seed)
    pixels = np.empty((count, SIZE, SIZE, 3), np.uint8)
    scenes = []
    for n in range(count):
        scene = random_scene(rng, rng.choice(pairs))
        side = rng.choice([96, 128, 160, 224])
        pixels[n] = np.asarray(draw(scene, rng, (side, side)).resize((SIZE, SIZE), Image.Resampling.BICUBIC))
        scenes.append(scene)
    return pixels, scenes


def draw_all(total: int, pairs: list[tuple[str, str]], seed: int) -> tuple[np.ndarray, list[Scene]]:
    jobs = [(seed * 1_000_003 + n, 1000, pairs) for n in range(total // 1000)]
    with ProcessPoolExecutor(2) as pool:
        parts = list(pool.map(drawn, jobs))
    return np.concatenate([pixels for pixels, _ in parts]), [scene for _, scenes in parts for scene in scenes]


def augment(pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """uint8 (n, 64, 64, 3) to normalised float (n, 3, 64, 64): shifted by up to 4 pixels, brighter or darker, noisy."""
    images = pixels.permute(0, 3, 1, 2).float() / 255
    dx, dy = (int(v) for v in torch.randint(-4, 5, (2,), generator=generator))
    images = F.pad(images, (4, 4, 4, 4), mode="replicate")[:, :, 4 + dy : 4 + dy + SIZE, 4 + dx : 4 + dx + SIZE]
    n = len(images)
    gain = 1 + 0.1 * (2 * torch.rand(n, 1, 1, 1, generator=generator) - 1)
    noise = 0.03 * torch.rand(n, 1, 1, 1, generator=generator) * torch.randn(images.shape, generator=generator)
    return ((images * gain + noise).clamp(0, 1) - 0.5) / 0.5


def loss_of(logits: torch.Tensor, true: torch.Tensor) -> torch.Tensor:
    targets = true / true.sum(-1, keepdim=True)
    reverse = true.T / true.T.sum(-1, keepdim=True)
    return (F.cross_entropy(logits, targets) + F.cross_entropy(logits.T, reverse)) / 2


@torch.no_grad()
def accuracy(model: torch.nn.Module, tokenize, pixels: np.ndarray, scenes: list[Scene]) -> float:
    model.eval()
    texts = model.encode_text(tokenize([f"a photo of a {c} {s}." for c, s in PAIRS]), normalize=True)
    right = 0
    for start in range(0, len(pixels), 500):
        images = (torch.from_numpy(pixels[start : start + 500]).permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5
        best = (model.encode_image(images, normalize=True) @ texts.T).argmax(1).tolist()
        right += sum(PAIRS[b] == (s.colour, s.shape) for b, s in zip(best, scenes[start : start + 500], strict=True))
    model.train()
    return right / len(pixels)


def compact(state: dict[str, torch.Tensor], used: set[int]) -> dict[str, torch.Tensor]:
    """float16 with 6 bits of mantissa; rows of the token table that no text used are zero."""
    out = {}
    for name, value in state.items():
        if name == "token_embedding.weight":
            value = value.clone()
            value[[row for row in range(len(value)) if row not in used]] = 0
        if value.is_floating_point() and value.ndim > 1:
            mantissa, exponent = torch.frexp(value.float())
            value = torch.ldexp((mantissa * 128).round() / 128, exponent).half()
        out[name] = value.contiguous()
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--scenes", type=int, default=60_000)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--out", type=Path, default=Path("zsclip/demo/model"))
    parser.add_argument(
        "--dev", action="store_true", help="for choosing settings: hold out 8 of the seen pairs, and measure on those"
    )
    args = parser.parse_args()

    torch.manual_seed(SEED)
    rng = random.Random(SEED)
    generator = torch.Generator().manual_seed(SEED)
    held = {SEEN_PAIRS[n] for n in range(0, 52, 7)} if args.dev else set()
    pairs = [pair for pair in SEEN_PAIRS if pair not in held]

    pixels, scenes = draw_all(args.scenes, pairs, seed=1)
    check_pixels, check_scenes = draw_all(2000, sorted(held) if held else pairs, seed=2)
    truth = torch.tensor([[VALUES[name].index(getattr(scene, name)) for name in PROPERTIES] for scene in scenes])
    stock = [template("<label>") for template in open_clip.OPENAI_IMAGENET_TEMPLATES]
    # "large" and "small" are claims here.
    frames = FRAMES * 3 + [frame for frame in stock if "large" not in frame and "small" not in frame]

    tokenize = open_clip.SimpleTokenizer(context_length=MODEL_CFG["text_cfg"]["context_length"])
    model = open_clip.CLIP(**MODEL_CFG)
    pool = model.visual.attnpool
    for projection in (pool.q_proj, pool.k_proj):
        torch.nn.init.zeros_(projection.weight)
        torch.nn.init.zeros_(projection.bias)
        projection.requires_grad_(False)
    decay = [p for p in model.parameters() if p.requires_grad and p.ndim > 1]
    plain = [p for p in model.parameters() if p.requires_grad and p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decay, "weight_decay": 0.02}, {"params": plain, "weight_decay": 0.0}], lr=2e-3, betas=(0.9, 0.98)
    )
    model.train()

    used: set[int] = set()
    started = time.monotonic()
    for step in range(args.steps):
        warm = min(1.0, (step + 1) / 200)
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * warm * (0.5 + 0.5 * math.cos(math.pi * step / args.steps)) + 1e-6
        rows = rng.sample(range(len(scenes)), args.batch)
        captions = [caption(scenes[row], rng, frames) for row in rows]
        claims = torch.tensor([c.claims() for c in captions])
        facts = truth[rows]
        true = ((claims[None] == -1) | (claims[None] == facts[:, None])).all(-1).float()
        tokens = tokenize([c.text for c in captions])
        used.update(tokens.unique().tolist())
        images = augment(torch.from_numpy(pixels[rows]), generator).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            image = model.encode_image(images)
        image = F.normalize(image.float(), dim=-1)
        text = model.encode_text(tokens, normalize=True)
        loss = loss_of(model.logit_scale.exp() * image @ text.T, true)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, math.log(100))
        if (step + 1) % 250 == 0:
            top1 = accuracy(model, tokenize, check_pixels, check_scenes)
            scale = model.logit_scale.exp().item()
            print(f"step {step + 1}/{args.steps} loss {loss.item():.3f} scale {scale:.1f} top-1 {top1:.4f}", flush=True)

    args.out.mkdir(parents=True, exist_ok=True)
    save_file(compact(model.state_dict(), used), args.out / "open_clip_model.safetensors")
    config = {"model_cfg": MODEL_CFG, "preprocess_cfg": PREPROCESS_CFG}
    (args.out / "open_clip_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    print(f"{args.steps} steps in {time.monotonic() - started:.0f} s; saved to {args.out}")


if __name__ == "__main__":
    main()
