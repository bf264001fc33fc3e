"""Videos made with PyAV: sound ones of known colours, odd ones and hostile ones."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

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
    picture: Image.Image | None = None,
    preset: str = "ultrafast",
) -> bytes:
    """A video of ten frames a second, or of frames at these times, with a key frame every `gop` frames; all of one `picture` if
    there is one."""
    size = picture.size if picture else size
    with (
        tempfile.NamedTemporaryFile() as file,
        av.open(file.name, "w", format=format, options=options or {}) as container,
    ):
        stream = container.add_stream(codec, rate=RATE)
        stream.width, stream.height = size
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000 if codec != "mpeg4" else RATE)
        if codec == "libx264":
            stream.codec_context.options = {"preset": preset, "sc_threshold": "0"}
        stream.gop_size = gop
        if rotation or flipped:
            stream.set_display_rotation(rotation, hflip=flipped)
        voice = container.add_stream("aac", rate=48000) if sound else None
        for number, time in enumerate(times if times is not None else np.arange(int(seconds * RATE)) / RATE):
            made = av.VideoFrame.from_image(picture) if picture else frame(time, size, 3 * number)
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


# Of each odd video: the times of its frames (None: one that could not be decoded), and what the row at the end says.
ODD: dict[str, tuple[list[float | None], str]] = {
    "rotated": ([0, 1], ""),
    "variable rate": ([0, 1.5, 1.53, 4, 9.7, 9.75], ""),
    "one key frame": ([0], ""),
    "cut": ([0, 1, 2], "the video is cut off: nothing comes after 3.000 s"),
    "cut Matroska": ([0, 1, 2, 3], "the video is cut off: nothing comes after 3.000 s"),
    "no index": ([], "cut off, and what is needed to read it is gone"),
    "sound only": ([], "no video in it, only sound"),
    "no frames": ([], "cut off, and what is needed to read it is gone"),
    "lying duration": ([0, 1, 2], ""),
    "declares 30,000 x 30,000": ([0, 1], ""),
    "frames of 30,000 x 30,000": ([0, None], ""),
    "grows in its middle": ([0, 1], ""),
    "noise within": ([0, 1], "damaged video: nothing can be decoded after 1.000 s"),
    "noise": ([], "Invalid data"),
    "empty": ([], "the file is empty"),
    "a playlist": ([], "Invalid data"),
    "a list of files": ([], "not a video in a format that is known here"),
    "a picture": ([], "not a video in a format that is known here"),
}


def odd(folder: Path) -> dict[str, Path]:
    """Odd and hostile videos by what they are."""
    start = {"movflags": "faststart"}
    plain, indexed = video(6), video(6, options=start)
    made = {
        "rotated": video(2, rotation=-90),
        "variable rate": video(times=[0, 0.04, 0.08, 1.5, 1.53, 4, 9.7, 9.75], gop=1),
        "one key frame": video(4, gop=1000),
        "cut": indexed[: len(indexed) * 2 // 3],
        "cut Matroska": video(6, format="matroska")[:3500],
        "no index": plain[: len(plain) // 2],
        "sound only": sound_only(),
        "no frames": video(0.1, format="matroska")[:-1000],
        "lying duration": _lying(video(3), b"mvhd", 0xFFFFFFF0),
        "declares 30,000 x 30,000": _declared_in_avi(video(2, codec="mpeg4", format="avi"), 30_000),
        "frames of 30,000 x 30,000": _declared_in_jpeg(video(2, codec="mjpeg", format="mov"), 30_000),
        "grows in its middle": video(2, format="mpegts") + video(2, format="mpegts", size=(1280, 960)),
        "noise within": _noisy(indexed),
        "noise": bytes(np.random.default_rng(1).integers(0, 256, 20_000, np.uint8)),
        "empty": b"",
        "a playlist": b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:PORT/a.ts\n#EXT-X-ENDLIST\n",
        "a list of files": b"ffconcat version 1.0\nfile 'other.mp4'\n",
        "a picture": b"\x89PNG\r\n\x1a\n" + b"\0" * 100,
    }
    paths = {}
    for name, data in made.items():
        paths[name] = folder / f"{name}.mp4"
        paths[name].write_bytes(data)
    return paths


def _lying(data: bytes, box: bytes, duration: int) -> bytes:
    """With another duration in an MP4's head."""
    at = data.index(box) + 4
    return data[: at + 16] + duration.to_bytes(4, "big") + data[at + 20 :]


def _declared_in_avi(data: bytes, side: int) -> bytes:
    """With another size in the head of an AVI's stream."""
    at = data.index(b"strf") + 12
    return data[:at] + 2 * side.to_bytes(4, "little") + data[at + 8 :]


def _declared_in_jpeg(data: bytes, side: int) -> bytes:
    """With another size in the head of each picture of an MJPEG, from the second on."""
    first = data.index(b"\xff\xc0") + 2
    head = data[first - 2 : first + 3]
    parts = data[first:].split(head)
    return data[:first] + parts[0] + b"".join(head + 2 * side.to_bytes(2, "big") + part[4:] for part in parts[1:])


def _noisy(data: bytes) -> bytes:
    """With noise in the middle of what is coded."""
    start = data.index(b"mdat") + (len(data) - data.index(b"mdat")) // 3
    noise = bytes(np.random.default_rng(0).integers(0, 256, 3000, np.uint8))
    return data[:start] + noise + data[start + len(noise) :]
