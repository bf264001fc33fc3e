"""Frames of a video by key frames, at exact times, and of all frames decoded: seconds of the processor, as ratios.

python benchmarks/video.py
"""

from __future__ import annotations

import io
import statistics
import time
from collections.abc import Callable
from fractions import Fraction

import av
import numpy as np
from PIL import Image, ImageFilter

from zsclip.images.video_frames import Sampling, frames

SECONDS, RATE, GOP, SIZE, TIMES = 60, 30, 60, (1280, 720), 3


def made() -> bytes:
    """A minute of H.264 in 720p, with a key frame every two seconds; what is seen moves."""
    file = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (SIZE[1] * 2, SIZE[0] * 2, 3), np.uint8)
    wide = np.asarray(Image.fromarray(noise).filter(ImageFilter.GaussianBlur(6)))
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        stream.codec_context.options = {"preset": "veryfast"}
        stream.gop_size, stream.time_base = GOP, Fraction(1, RATE)
        for number in range(SECONDS * RATE):
            x, y = (3 * number) % SIZE[0], (2 * number) % SIZE[1]
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(wide[y : y + SIZE[1], x : x + SIZE[0]]), "rgb24")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


def by_decoding_all(data: bytes, every: int) -> int:
    """What a loop over all frames does, that keeps one in so many."""
    kept = 0
    with av.open(io.BytesIO(data)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number % (every * RATE) == 0:
                frame.to_image()
                kept += 1
    return kept


def main() -> None:
    """Print a table."""
    data = made()
    ways: dict[str, Callable[[], int]] = {}
    for every in (2, 10):
        ways[f"all frames decoded, one kept every {every} s"] = lambda every=every: by_decoding_all(data, every)
        for name, exact in (("key frames", False), ("exact times", True)):
            sampling = Sampling(every, exact)
            ways[f"{name}, every {every} s"] = lambda sampling=sampling: len(
                list(frames(io.BytesIO(data), sampling, 10**8))
            )
    spent: dict[str, list[float]] = {name: [] for name in ways}
    counts = {}
    for _ in range(TIMES):
        for name, way in ways.items():
            start = time.process_time()
            counts[name] = way()
            spent[name].append(time.process_time() - start)
    print(
        f"{SECONDS} s of {SIZE[0]} x {SIZE[1]}, {RATE} frames a second, a key frame every {GOP / RATE:g} s, {len(data) / 1e6:.1f} MB\n"
    )
    print("| way | frames | CPU s | times as fast as decoding all |\n|---|---|---|---|")
    whole = ""
    for name, seconds in spent.items():
        whole = name if name.startswith("all") else whole
        ratio = statistics.median(one / own for one, own in zip(spent[whole], seconds, strict=True))
        print(f"| {name} | {counts[name]} | {statistics.median(seconds):.2f} | {ratio:.1f} |")


if __name__ == "__main__":
    main()
