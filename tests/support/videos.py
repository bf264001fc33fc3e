"""Videos made with PyAV: sound ones of known colours, odd ones and hostile ones."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

# Of each second of a video one colour, so that a frame tells its time.
COLOURS = ((220, 40, 40), (40, 180, 60), (50, 80, 220), (230, 210, 60), (200, 60, 200), (60, 200, 210))
SIZE = (96, 64)
RATE = 10


def frame(second: float, size: tuple[int, int] = SIZE, moved: int = 0) -> av.VideoFrame:
    """The colour of that second, with a white corner at the top left and a spot that moves."""
    width, height = size
    pixels = np.full((height, width, 3), COLOURS[int(second) % len(COLOURS)], np.uint8)
    pixels[: height // 4, : width // 4] = 255
    pixels[height // 2 : height // 2 + 4, moved % (width - 4) : moved % (width - 4) + 4] = 0
    return av.VideoFrame.from_ndarray(pixels, "rgb24")


def video(
    seconds: float = 4.0,
    *,
    format: str = "mp4",
    codec: str = "libx264",
    size: tuple[int, int] = SIZE,
    gop: int = RATE,
    times: Sequence[float] | None = None,
    rotation: float = 0,
    flipped: bool = False,
    options: dict[str, str] | None = None,
    sound: bool = False,
) -> bytes:
    """A video of ten frames a second, or of frames at these times, with a key frame every `gop` frames."""
    with (
        tempfile.NamedTemporaryFile() as file,
        av.open(file.name, "w", format=format, options=options or {}) as container,
    ):
        stream = container.add_stream(codec, rate=RATE)
        stream.width, stream.height = size
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000 if codec != "mpeg4" else RATE)
        if codec == "libx264":
            stream.codec_context.options = {"preset": "ultrafast", "sc_threshold": "0"}
        stream.gop_size = gop
        if rotation or flipped:
            stream.set_display_rotation(rotation, hflip=flipped)
        voice = container.add_stream("aac", rate=48000) if sound else None
        for number, time in enumerate(times if times is not None else np.arange(int(seconds * RATE)) / RATE):
            made = frame(time, size, 3 * number)
            made.pts = round(time / stream.codec_context.time_base)
            made.time_base = stream.codec_context.time_base
            container.mux(stream.encode(made))
        container.mux(stream.encode(None))
        if voice:
            _add_silence(container, voice, seconds)
        container.close()
        return Path(file.name).read_bytes()


def sound_only(seconds: float = 1.0) -> bytes:
    """A file called a video that holds sound."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        _add_silence(container, container.add_stream("aac", rate=48000), seconds)
    return file.getvalue()


def _add_silence(container: av.container.OutputContainer, stream: av.AudioStream, seconds: float) -> None:
    for start in range(0, int(48000 * seconds), 1024):
        made = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        made.sample_rate, made.pts, made.time_base = 48000, start, Fraction(1, 48000)
        container.mux(stream.encode(made))
    container.mux(stream.encode(None))
