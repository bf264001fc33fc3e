"""What a GPU gives: the same numbers as the CPU, how fast beside open_clip's loop, how much memory, and what happens where it is short.

    python -m benchmarks.gpu [--device cuda] [--images 2048] [--rounds 5]          prints a report in Markdown, to paste
    python -m benchmarks.gpu --device cpu --small --images 16 --rounds 1           tries the program itself where there is no GPU

Three families with random weights at their real sizes, `logit_scale` ln 100: ViT-B-32, ViT-B-16-SigLIP, RN50. Nothing is downloaded.
"""

from __future__ import annotations

import argparse
import logging
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support import small_models as small

from zsclip import Classifier
from zsclip.engines import hardware, probes
from zsclip.engines.agreement import Agreement
from zsclip.engines.base import Computing
from zsclip.engines.torch.engine import TorchEngine
from zsclip.models import fetch, resolve

FEW = {"layers": 2, "width": 128}
# The architecture, what makes it small, its tokenizer and preprocessing where they are not CLIP's.
FAMILIES: dict[str, tuple[str, dict[str, Any], Any, Any]] = {
    "ViT": ("ViT-B-32", {"vision_cfg": FEW, "text_cfg": FEW}, None, None),
    "SigLIP": (
        "ViT-B-16-SigLIP",
        {
            "embed_dim": 64,
            "vision_cfg": small.timm_tower("vit_base_patch16_siglip_224", **small.TINY),
            "text_cfg": {"layers": 2},
        },
        small.save_unigram,
        small.INCEPTION,
    ),
    "RN": ("RN50", {"vision_cfg": {"layers": [1, 1, 1, 1], "width": 32}, "text_cfg": FEW}, None, None),
}
LABELS = ["cat", "dog", "red star", "a photo of a very large table by the window", "beach"]
BATCH = 256


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto", help="auto, cuda, cuda:N, mps, or cpu to try the program")
    parser.add_argument("--images", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--small", action="store_true", help="models of two layers")
    parser.add_argument("--families", nargs="+", choices=list(FAMILIES), default=list(FAMILIES))
    args = parser.parse_args()
    device = hardware.gpu() if args.device == "auto" else args.device
    if device is None or (device.startswith("cuda") and not torch.cuda.is_available()):
        print(
            f"PyTorch {torch.__version__} finds no GPU on this machine. To try the program: --device cpu --small",
            file=sys.stderr,
        )
        return 1
    logging.disable(logging.WARNING)  # open_clip's, that the weights are random
    print(machine(device), flush=True)
    with tempfile.TemporaryDirectory(prefix="zsclip-gpu-") as name:
        folder = Path(name)
        paths = pictures(folder / "pictures", args.images)
        for family in args.families:
            architecture, changes, tokenizer, preprocess = FAMILIES[family]
            config = small.family(architecture, **(changes if args.small else {}))
            small.save_family(folder / family, config, tokenizer, preprocess)
            title = f"{architecture}, {'two layers' if args.small else 'real size'}, random weights"
            print(f"\n## {title}\n", flush=True)
            for section in (parity, throughput, memory, halving):
                print(section(f"local-dir:{folder / family}", device, paths, args.rounds), flush=True)
    return 0


def machine(device: str) -> str:
    is_cuda = device.startswith("cuda")
    rows = {
        "device": f"{torch.cuda.get_device_name(device)}, {torch.cuda.get_device_properties(device).total_memory / 2**30:.0f} GiB"
        if is_cuda
        else f"{device} ({platform.processor() or platform.machine()})",
        "cores": str(hardware.available_cores()),
        "zsclip": version("zsclip"),
        "torch": f"{torch.__version__} (CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()})"
        if is_cuda
        else torch.__version__,
        "open_clip": version("open_clip_torch"),
        "Python, system": f"{platform.python_version()}, {platform.system()}",
    }
    return "# zsclip on a GPU (`python -m benchmarks.gpu`)\n\n| | |\n| --- | --- |\n" + "\n".join(
        f"| {key} | {value} |" for key, value in rows.items()
    )


def pictures(folder: Path, count: int) -> list[str]:
    """JPEGs of 500 x 375 like photographs; a few different ones under many names, for their content does not matter here."""
    folder.mkdir()
    different = [probes.photo_like((500, 375), number) for number in range(min(count, 16))]
    for number in range(count):
        # Not one is a copy of another: copies would be computed once.
        image = different[number % len(different)].copy()
        image.putpixel((0, 0), (number % 256, number // 256 % 256, 0))
        image.save(folder / f"{number:06}.jpg", quality=88)
    return [str(path) for path in sorted(folder.iterdir())]


def engine(name: str, device: str, precision: str, **settings: Any) -> TorchEngine:
    spec = resolve(name)
    return TorchEngine(spec, fetch(spec), replace(Computing(device, "torch", precision), **settings))


def parity(name: str, device: str, paths: list[str], rounds: int) -> str:
    reference = engine(name, "cpu", "fp32")
    lines = ["| against fp32 on the CPU | cosine, images | cosine, texts | a logit | a probability | `auto` takes it |"]
    lines.append("| --- | --- | --- | --- | --- | --- |")
    for precision in ("fp32", "fp16" if device != "cpu" else "bf16"):
        found = Agreement.measure(reference, engine(name, device, precision), resolve(name).preprocessing)
        lines.append(
            f"| {precision} | {found.images:.7f} | {found.texts:.7f} | {found.logit:.4f} | {found.probability:.5f} | "
            f"{'yes' if found.holds else 'no'} |"
        )
    return "\n".join(lines) + "\n"


def throughput(name: str, device: str, paths: list[str], rounds: int) -> str:
    """All sides in turn; each reads, decodes and computes the same files, but for the engine by itself."""
    model, _, transform = open_clip.create_model_and_transforms(name)
    model = model.eval().to(device)
    autocast = torch.autocast(torch.device(device).type, dtype=torch.float16, enabled=device != "cpu")
    alone = engine(name, device, "fp16" if device != "cpu" else "fp32")
    pixels = np.zeros((BATCH if device != "cpu" else 8, *resolve(name).preprocessing.size, 3), np.uint8)

    def ours() -> float:
        with Classifier.load(name, device=device, engine="torch", use_cache=False) as classifier:
            classifier.model.load()  # not timed for open_clip either
            return timed(lambda: sum(len(names) for names, _, _ in classifier.embed(paths)))

    def loop() -> float:
        def run() -> int:
            for start in range(0, len(paths), BATCH):
                images = [transform(Image.open(path).convert("RGB")) for path in paths[start : start + BATCH]]
                with torch.inference_mode(), autocast:
                    model.encode_image(torch.stack(images).to(device), normalize=True).cpu()
            return len(paths)

        return timed(run)

    def bare() -> float:
        batches = max(1, len(paths) // len(pixels))
        return timed(lambda: sum(len(alone.encode_images(pixels)) for _ in range(batches)))

    sides: dict[str, Callable[[], float]] = {"zsclip": ours, "open_clip's loop": loop, "the engine by itself": bare}
    bare()  # what is set up once does not count
    figures = {side: [] for side in sides}
    for _ in range(rounds):
        for side, run in sides.items():
            figures[side].append(run())
    lines = ["| images/s | median | least and most | beside open_clip's loop |", "| --- | --- | --- | --- |"]
    for side, found in figures.items():
        ratio = statistics.median(a / b for a, b in zip(found, figures["open_clip's loop"], strict=True))
        lines.append(
            f"| {side} | {statistics.median(found):.0f} | {min(found):.0f} to {max(found):.0f} | {ratio:.2f} |"
        )
    return "\n".join(lines) + "\n"


def timed(run: Callable[[], int]) -> float:
    """Things a second."""
    started = time.perf_counter()
    count = run()
    return count / (time.perf_counter() - started)


def memory(name: str, device: str, paths: list[str], rounds: int) -> str:
    """A long-lived classifier must not reserve more with every call."""
    if not device.startswith("cuda"):
        return "Memory: only CUDA tells it.\n"
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    reserved = []
    with Classifier.load(name, device=device, use_cache=False) as classifier:
        for _ in range(6):
            list(classifier.classify(paths[: 2 * BATCH], LABELS))
            reserved.append(torch.cuda.memory_reserved(device) / 2**20)
    peak = torch.cuda.max_memory_allocated(device) / 2**20
    return (
        f"Memory: at most {peak:,.0f} MiB used; {', '.join(f'{one:,.0f}' for one in reserved)} MiB reserved after each of six calls"
        f" ({'does not grow' if reserved[-1] <= reserved[1] else 'GROWS'}).\n"
    )


def halving(name: str, device: str, paths: list[str], rounds: int) -> str:
    """Four times the batch in the memory that a quarter of it takes."""
    if not device.startswith("cuda"):
        return "Halving of the batch: only CUDA's memory can be limited from here.\n"
    whole = engine(name, device, "fp16", batch_size=4 * BATCH)
    pixels = np.random.default_rng(0).integers(
        0, 256, (4 * BATCH, *resolve(name).preprocessing.size, 3), dtype=np.uint8
    )
    expected = np.concatenate([whole.encode_images(pixels[start : start + 64]) for start in range(0, len(pixels), 64)])
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    whole.encode_images(pixels[: BATCH // 4])
    room = 2 * (torch.cuda.max_memory_allocated(device) - before)
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(device).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved(device) + room) / total, device)
    try:
        difference = float(np.abs(whole.encode_images(pixels) - expected).max())
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)
    became = f"a batch of {4 * BATCH} in {room / 2**20:,.0f} MiB became {whole.batch_size}"
    return f"Halving: {became}; vectors differ by {difference:.1e} at most.\n"


if __name__ == "__main__":
    raise SystemExit(main())
