"""Frames of a video, decoded with PyAV (FFmpeg): the key frames nearest to regular times, or the frames shown at such times.

Whatever a file holds, what comes out is frames and, where it cannot be read any further, an `ImageError`; how many pixels a frame may
have is known to the decoder before it allocates any.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, count
from typing import TYPE_CHECKING, Any, BinaryIO

from PIL import Image

from zsclip.errors import ImageError
from zsclip.images.video_cut import is_cut

if TYPE_CHECKING:
    import av
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

# As many come of one video; films have 10,000 seconds.
MOST_FRAMES = 50_000
# A decoder holds some twenty frames; 8K has 33 million pixels.
MOST_PIXELS = 40_000_000
_SECOND = 1_000_000  # times are in microseconds
_HALF = 500  # of the milliseconds that names of frames have
# Where there is no index: further ahead than this it is quicker to begin anew at a key frame.
_FAR = 10 * _SECOND
_READ_BYTES = 1 << 18
_MOST_BROKEN = 1_000  # packets in a row that give nothing
# What is not on the list is never tried: among the others are formats that open further files or addresses (HLS, DASH, concat, SDP).
_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts,mpegvideo,asf,ogg,h264,hevc,m4v,flv"
_TURNS = {
    (-1, 0, 0, 1): Image.Transpose.FLIP_LEFT_RIGHT,
    (-1, 0, 0, -1): Image.Transpose.ROTATE_180,
    (1, 0, 0, -1): Image.Transpose.FLIP_TOP_BOTTOM,
    (0, 1, -1, 0): Image.Transpose.ROTATE_270,
    (0, -1, 1, 0): Image.Transpose.ROTATE_90,
    (0, 1, 1, 0): Image.Transpose.TRANSPOSE,
    (0, -1, -1, 0): Image.Transpose.TRANSVERSE,
}
_UNSPECIFIED = 2  # of colour spaces


@dataclass(frozen=True)
class Sampling:
    """Which frames: those at multiples of `every` seconds, or those at `times`, in microseconds.

    Unless `exact`, the former are the key frames nearest to these times, which are as quick as it gets; `times` always mean
    the frame that is shown then.
    """

    every: float = 1.0
    exact: bool = False
    times: tuple[int, ...] | None = None

    @property
    def text(self) -> str:
        """The same as a word, by which lists of frames are told apart."""
        if self.times is not None:
            return f"at={','.join(map(str, self.times))}"
        return f"every={self.every!r}{' exact' if self.exact else ''}"


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame by its time in microseconds from the beginning: an upright RGB image, or why there is none."""

    time: int
    image: Image.Image | None
    error: str = ""


def frames(file: BinaryIO, sampling: Sampling, max_pixels: int) -> Iterator[Frame]:
    """The frames of a video, by ascending time; raises `ImageError` where it cannot be read, or not any further."""
    import av

    limit = min(max_pixels, MOST_PIXELS)
    if not file.read(1):
        raise ImageError("the file is empty")
    file.seek(0)
    try:
        container = av.open(
            file,
            mode="r",
            metadata_errors="replace",
            buffer_size=_READ_BYTES,
            options={"format_whitelist": _FORMATS, "protocol_whitelist": "none", "max_pixels": str(limit)},
        )
    except (av.FFmpegError, ValueError, OSError) as error:
        if is_cut(file):
            raise ImageError("a video that is cut off, and what is needed to read it is gone") from None
        if isinstance(error, av.ArgumentError):
            raise ImageError("not a video in a format that is known here", kind="other") from None
        raise ImageError(f"damaged or unsupported video: {_said(error)}") from None
    with container:
        taken = 0
        try:
            reader = _Reader(container, limit)
            for frame in reader.sampled(sampling):
                if taken == MOST_FRAMES:
                    raise ImageError(
                        f"more than {MOST_FRAMES:,} frames are not taken of one video; a larger `every` takes fewer",
                        kind="too_large",
                    )
                taken += 1
                yield frame
        except (av.FFmpegError, OSError) as error:
            raise ImageError(f"the video breaks off after {reader.last / _SECOND:.3f} s: {_said(error)}") from None
        if sampling.times is None and is_cut(file):
            raise ImageError(f"the video is cut off: nothing comes after {reader.last / _SECOND:.3f} s")
        if sampling.times is None and taken:
            reader.require_end()
    if not taken and sampling.times is not None and reader.packets:
        raise ImageError("no frame is shown at that time", kind="not_found")
    if not taken:
        raise ImageError("a video of which no frame could be decoded" if reader.packets else "a video without frames")


def _said(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error or type(error).__name__)


@dataclass(frozen=True, slots=True)
class _Key:
    time: int
    packet: av.Packet[VideoStream]


@dataclass(frozen=True, slots=True)
class _Shown:
    time: int
    frame: VideoFrame


class _Reader:
    """An open video: its packets and frames from a time on. `last` is the latest time that was seen."""

    def __init__(self, container: InputContainer, limit: int) -> None:
        self._container = container
        self._stream = _stream(container)
        context = self._stream.codec_context
        if context.width * context.height > limit:
            raise ImageError(
                f"frames of {context.width:,} x {context.height:,} pixels, more than {limit:,}", kind="too_large"
            )
        context.options = {"max_pixels": str(limit)}
        context.thread_type = "AUTO"
        self._limit = limit
        self._can_seek = True
        self.is_exact = True
        self.last = 0
        self.packets = 0
        self._decodable = 0  # the time of the last key frame, or the last frame that was decoded
        base = self._stream.time_base
        if not base:
            raise ImageError("damaged video: it has no clock")
        self._base = base
        self._start: int | None = self._stream.start_time

    def sampled(self, sampling: Sampling) -> Iterator[Frame]:
        """The frames that are meant."""
        if sampling.times is not None:
            return self._shown_at(iter(sampling.times))
        if not sampling.exact:  # a key frame is decoded by itself: with a thread a frame it would be no faster
            self._stream.codec_context.thread_type = "SLICE"
        self.is_exact = sampling.exact
        every = max(1, round(sampling.every * _SECOND))
        return self._shown_at(count(0, every)) if sampling.exact else self._keys_near(every)

    def require_end(self) -> None:
        """Raise `ImageError` if the end was reached by damage: FFmpeg passes over what it cannot decode."""
        last = self.last if self.is_exact else self._last_key()
        if last - self._decodable > _SECOND:
            raise ImageError(f"damaged video: nothing can be decoded after {self._decodable / _SECOND:.3f} s")

    def _last_key(self) -> int:
        """The time of the last key frame that the index knows: what is damaged does not look like one any more."""
        entries = self._stream.index_entries
        last = next((entries[place] for place in reversed(range(len(entries))) if entries[place].is_keyframe), None)
        return 0 if last is None else self._time(last.timestamp)

    # --- key frames

    def _keys_near(self, every: int) -> Iterator[Frame]:
        """The key frame nearest to each multiple of `every`, each once."""
        before: _Key | None = None
        after: _Key | None = None
        target, done, ended = 0, -1, False
        while not ended:
            if after is None or after.time < target:
                before, after, ended = self._keys_around(target, after or before)
            nearest = before if after is None or (before and target - before.time <= after.time - target) else after
            if nearest is None or (ended and done >= 0 and target >= self._end):
                return
            if nearest.time > done:
                done = nearest.time
                yield self._decoded(nearest)
            target += every
            if before and after:  # times that have the same nearest frame are not gone through one by one
                same = after.time if nearest is after else (before.time + after.time) // 2
                target = max(target, -(-same // every) * every)

    def _keys_around(self, target: int, known: _Key | None) -> tuple[_Key | None, _Key | None, bool]:
        """The last key frame before a time, the first from it on unless the other is nearer, and whether there are no more."""
        before = known
        if known is not None:
            self._seek(target)
        is_first = True
        for time, packet in self._read():
            if is_first and known is not None and time < known.time:
                self._can_seek = False  # it went back further than it had to, and would each time
            is_first = False
            if not packet.is_keyframe:
                if before is not None and time - target > target - before.time:
                    return before, None, False
                continue
            self._decodable = max(self._decodable, time)
            if time >= target:
                return before, _Key(time, packet), False
            if before is None or time > before.time:
                before = _Key(time, packet)
        return before, None, True

    def _decoded(self, key: _Key) -> Frame:
        import av

        context = self._stream.codec_context
        try:
            made = [*context.decode(key.packet), *context.decode(None)]
        except av.FFmpegError as error:
            return Frame(key.time, None, f"damaged frame: {_said(error)}")
        finally:
            context.flush_buffers()
        if not made:
            return Frame(key.time, None, "damaged frame: nothing could be decoded of it")
        return Frame(key.time, self._upright(made[0]))

    # --- frames shown at times

    def _shown_at(self, times: Iterator[int]) -> Iterator[Frame]:
        """The frame shown at each of the times, which ascend, each once."""
        source = self._frames()
        shown: _Shown | None = None
        following: _Shown | None = None
        done = -1
        for target in times:
            known = following or shown
            if self._is_far(target, known.time if known else 0):
                source, shown = self._frames_from(target), None
                following = next(source, None)
            while shown is None or shown.time < target - _HALF:
                following = following or next(source, None)
                if following is None or (shown is not None and following.time > target + _HALF):
                    break
                shown, following = following, None
            if shown is None or (following is None and shown.time < target - _HALF and target >= self._end):
                return  # the video is at its end
            if shown.time > done:
                done = shown.time
                yield Frame(shown.time, self._upright(shown.frame))

    def _is_far(self, target: int, time: int) -> bool:
        """Whether it is quicker to begin anew at a key frame than to decode up to a time."""
        if target - time < _SECOND:
            return False
        entries = self._stream.index_entries
        place = entries.search_timestamp((self._start or 0) + math.floor(target / (self._base * _SECOND)))
        return self._time(entries[place].timestamp) > time if place >= 0 else target - time > _FAR

    def _frames_from(self, target: int) -> Iterator[_Shown]:
        """Frames from one on that is not after a time: of some formats a seek comes out behind it."""
        back = 0
        while True:
            self._seek(max(0, target - back))
            source = self._frames()
            first = next(source, None)
            if (first is not None and first.time <= target + _HALF) or back >= target or not self._can_seek:
                return source if first is None else chain([first], source)
            back = 2 * back or _SECOND

    @property
    def _end(self) -> float:
        """Where it ends: as it says, or after its last frame."""
        rate = self._stream.average_rate
        after_last = self.last + (_SECOND / rate if rate else 0)
        return float(max(after_last, (self._stream.duration or 0) * self._base * _SECOND)) - _HALF

    def _frames(self) -> Iterator[_Shown]:
        import av

        broken = 0
        for _, packet in self._read(flushed=True):
            try:
                made = packet.decode()
            except av.FFmpegError:
                broken += 1
                if broken > _MOST_BROKEN:
                    raise
                continue
            for frame in made:
                broken = 0
                if frame.pts is not None:
                    self._decodable = max(self._decodable, self._time(frame.pts))
                    yield _Shown(self._time(frame.pts), frame)

    # --- both

    def _read(self, *, flushed: bool = False) -> Iterator[tuple[int, Any]]:
        for packet in self._container.demux(self._stream):
            stamp = packet.dts if packet.pts is None else packet.pts
            if not packet.size or stamp is None:
                if flushed:
                    yield self.last, packet
                continue
            self.packets += 1
            time = self._time(stamp)
            self.last = max(self.last, time)
            yield time, packet

    def _time(self, stamp: int) -> int:
        if self._start is None:
            self._start = stamp
        return round((stamp - self._start) * self._base * _SECOND)

    def _seek(self, time: int) -> None:
        import av

        if not self._can_seek:
            return
        offset = (self._start or 0) + math.floor(time / (self._base * _SECOND))
        try:
            self._container.seek(offset, stream=self._stream, backward=True)
        except (av.FFmpegError, OverflowError):
            self._can_seek = False

    def _upright(self, frame: VideoFrame) -> Image.Image:
        """A frame as it is to be seen: in RGB, with square pixels, turned."""
        width, height = frame.width, frame.height
        ratio = self._stream.sample_aspect_ratio
        if ratio and 1 / 4 <= ratio <= 4 and ratio != 1 and width * ratio * height <= self._limit:
            width = max(1, round(width * ratio))
        # FFmpeg takes what does not say otherwise for standard definition.
        space = "ITU709" if frame.colorspace == _UNSPECIFIED and frame.height >= 720 else None
        flat: Any = frame.reformat(width, height, "rgb24", src_colorspace=space, threads=1)
        image: Image.Image = flat.to_image()
        turn = _TURNS.get(_matrix(frame))
        return image if turn is None else image.transpose(turn)


def _stream(container: InputContainer) -> VideoStream:
    """The first that is moving pictures; a cover of an album is none."""
    for stream in container.streams.video:
        if stream.codec_context is not None and not (stream.disposition & type(stream.disposition).attached_pic):
            return stream
    if container.streams.video:
        raise ImageError("no video in it that can be decoded")
    raise ImageError("no video in it" + (", only sound" if container.streams.audio else ""))


def _matrix(frame: Any) -> tuple[int, int, int, int]:
    """Of the display matrix what turns and mirrors."""
    for data in frame.side_data:
        if data.type.name == "DISPLAYMATRIX":
            a, b, _, c, d = struct.unpack_from("=5i", bytes(data))
            largest = max(map(abs, (a, b, c, d))) or 1
            return round(a / largest), round(b / largest), round(c / largest), round(d / largest)
    return (1, 0, 0, 1)
