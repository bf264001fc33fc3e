"""Videos as containers of frames."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, BinaryIO

from zsclip.errors import ImageError
from zsclip.images.container import Container
from zsclip.images.decoding import DEFAULT_MAX_PIXELS
from zsclip.images.formats import VIDEO, VIDEO_HINT, video_supported
from zsclip.images.item import Contents, Member, Stamp
from zsclip.images.place import Place
from zsclip.images.places import place
from zsclip.images.remote.addresses import extension
from zsclip.images.video_frames import Frame, Sampling, frames
from zsclip.images.video_opening import VideoOpening
from zsclip.images.video_worker import isolated_frames

if TYPE_CHECKING:
    from PIL.Image import Image

    from zsclip.images.reading import Reading

# Counted into what frames are known by: raise it when other pixels come of the same frame.
_VERSION = b"zsclip frame 1"
# Up to here all bytes of a video are hashed, of a longer one so many at each end and as many pieces in between.
_HASHED_WHOLE = 16 << 20
_HASHED_END, _HASHED_PIECE, _PIECES = 1 << 20, 1 << 16, 16
_AT_TIME = re.compile(r"(?P<file>.+)#t=(?P<time>\d{1,9}(\.\d{1,6})?)", re.DOTALL)


def is_video(name: str) -> bool:
    """Whether a name is that of a video."""
    return extension(name) in VIDEO


def file_of(name: str) -> str:
    """The video of a name such as `clip.mp4#t=12.500`; any other name as it is."""
    found = _AT_TIME.fullmatch(name) if "#t=" in name else None
    return found["file"] if found and is_video(found["file"]) and not os.path.lexists(name) else name


def is_frame(name: str) -> bool:
    """Whether a name is that of one frame of a video."""
    return file_of(name) != name


def frame_image(name: str) -> Image:
    """The frame of that name (`clip.mp4#t=12.500`); raises `ImageError`."""
    for member in Video(name).members():
        if image := member.read(DEFAULT_MAX_PIXELS).image:
            return image
    raise ImageError("no frame is shown at that time", kind="not_found")


class Video(Container):
    """A video, or one frame of it where the name says which (`clip.mp4#t=12.500`): its frames, by their times in microseconds."""

    def __init__(self, name: str, opening: VideoOpening | None = None, at: Place | None = None) -> None:
        file = file_of(name)
        self._place = at or place(file)
        self._is_frame = file != name
        super().__init__(self._place.name + name[len(file) :])
        opening = opening or VideoOpening()
        self._limits: Reading | None = None
        self._sampling = opening.sampling
        self.pool = None if self._is_frame else opening.pool
        if self._is_frame:
            found = _AT_TIME.fullmatch(name)
            assert found
            self._sampling = Sampling(times=(round(float(found["time"]) * 1_000_000),))
        self.reading = self._sampling.text

    def stamp(self) -> Stamp | None:
        """See `Container`."""
        return self._place.stamp()

    def prepare(self, reading: Reading) -> None:
        """See `Container`."""
        self._limits = reading

    def row_name(self, position: int, inner: str) -> str:  # noqa: ARG002
        """See `Container`."""
        return self.name if self._is_frame else f"{self.name}#t={position / 1_000_000:.3f}"

    def members(self, wanted: Collection[int] | None = None) -> Iterator[Member]:
        """See `Container`."""
        if not video_supported():
            raise ImageError(VIDEO_HINT, kind="other")
        with self._place.open_seekable() as file:
            digest = _digest(file)
            sampling = self._sampling if wanted is None else Sampling(times=tuple(sorted(wanted)))
            frames = self._frames(file, sampling)
            for frame in frames if wanted is None else _paired(frames, sorted(wanted)):
                yield _FrameOf(self, frame, digest)

    def _frames(self, file: BinaryIO, sampling: Sampling) -> Iterator[Frame]:
        from zsclip.images.reading import Reading

        limits = self._limits or Reading()
        if limits.isolate:
            return isolated_frames(file, sampling, limits.max_pixels, limits.decode_timeout)
        return frames(file, sampling, limits.max_pixels)


def _paired(frames: Iterator[Frame], times: Sequence[int]) -> Iterator[Frame]:
    """The frames at these times, in order; where one is damaged, decoders go on with another."""
    frame = next(frames, None)
    for time in times:
        while frame is not None and frame.time < time:
            frame = next(frames, None)
        if frame is not None and frame.time == time:
            yield frame
        else:
            yield Frame(time, None, "damaged frame: nothing can be decoded there")


class _FrameOf(Member):
    def __init__(self, video: Video, frame: Frame, digest: bytes) -> None:
        super().__init__(video.row_name(frame.time, ""), frame.time, "")
        self._frame: Frame | None = frame
        self._digest = hashlib.sha256(b"%s\0%s\0%d" % (_VERSION, digest, frame.time)).digest()
        self.held = 0 if frame.image is None else 3 * frame.image.width * frame.image.height

    def read(self, max_pixels: int) -> Contents:  # noqa: ARG002
        frame, self._frame = self._frame, None
        assert frame is not None
        if frame.image is None:
            raise ImageError(frame.error)
        return Contents(image=frame.image, digest=self._digest)


def _digest(file: BinaryIO) -> bytes:
    """What a video is known by: SHA-256 of its length and its bytes, of a long one of some of them.

    Hashing gigabytes takes longer than decoding the key frames that are wanted of them, and from a bucket all of them would have to come.
    Whatever makes another video writes its index and its sizes anew, which are at its ends.
    """
    length = file.seek(0, os.SEEK_END)
    digest = hashlib.sha256(b"%d\0" % length)
    if length <= _HASHED_WHOLE:
        parts = [(0, length)]
    else:
        step = (length - 2 * _HASHED_END) // _PIECES
        parts = [(0, _HASHED_END), (length - _HASHED_END, _HASHED_END)]
        parts += [(_HASHED_END + number * step, _HASHED_PIECE) for number in range(_PIECES)]
    for start, size in parts:
        file.seek(start)
        while size > 0 and (data := file.read(min(size, 1 << 20))):
            digest.update(data)
            size -= len(data)
    file.seek(0)
    return digest.digest()
