"""Frames of videos: which, turned how, kept by what, and what becomes of odd and hostile ones."""

from __future__ import annotations

import io
import os
import signal
import socket
import threading
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("av")
from support.videos import COLOURS, ODD, SIZE, frame, odd, video

from zsclip import Classifier
from zsclip.embedding.records import ImageEmbedding
from zsclip.errors import ImageError, InputError
from zsclip.images import video_worker, videos
from zsclip.images.opening import Opening
from zsclip.images.places import LocalFile
from zsclip.images.sources import Finder
from zsclip.images.video_frames import Frame, Sampling, frames
from zsclip.images.video_worker import isolated_frames
from zsclip.images.videos import Video, VideoOpening
from zsclip.images.worker_process import Worker

KEYS = Sampling(1.0)


def taken(
    data: bytes, sampling: Sampling = KEYS, max_pixels: int = 10**9, seconds: float = 0
) -> tuple[list[Frame], str]:
    """The frames, and the error at their end; in a worker process if it is given `seconds`."""
    found: list[Frame] = []
    file = io.BytesIO(data)
    source = isolated_frames(file, sampling, max_pixels, seconds) if seconds else frames(file, sampling, max_pixels)
    try:
        for one in source:
            found.append(one)
    except ImageError as error:
        return found, str(error)
    return found, ""


def times(data: bytes, sampling: Sampling = KEYS) -> list[float]:
    found, error = taken(data, sampling)
    assert not error
    for one in found:
        assert one.image is not None
        colour = one.image.getpixel((one.image.width - 9, one.image.height - 5))
        expected = COLOURS[int(one.time / 1e6 + 1e-4) % len(COLOURS)]
        assert np.abs(np.subtract(colour, expected)).max() < 12, "each frame is that of its time"
    return [round(one.time / 1e6, 3) for one in found]


@pytest.mark.parametrize(
    ("format", "codec"),
    [("mp4", "libx264"), ("matroska", "libx264"), ("mpegts", "libx264"), ("avi", "mpeg4"), ("mov", "mjpeg")],
)
def test_key_frames_and_exact_times_of_every_container(format: str, codec: str) -> None:
    data = video(6, format=format, codec=codec)
    assert times(data) == [0, 1, 2, 3, 4, 5]
    assert times(data, Sampling(2.5))[:2] in ([0, 2], [0, 2.5], [0, 3]), "the nearest key frame"
    assert times(data, Sampling(0.75, exact=True)) == [0, 0.7, 1.5, 2.2, 3, 3.7, 4.5, 5.2]
    assert times(data, Sampling(times=(1_500_000, 4_200_000))) == [1.5, 4.2]
    assert taken(data, KEYS, seconds=30) == taken(data, KEYS)


def test_key_frames_are_the_nearest_ones_each_once() -> None:
    data = video(30, gop=50)  # one every 5 seconds
    assert times(data, Sampling(0.5)) == [0, 5, 10, 15, 20, 25]
    assert times(data, Sampling(9)) == [0, 10, 20, 25]
    assert times(data, Sampling(12)) == [0, 10, 25]
    assert times(data, Sampling(12, exact=True)) == [0, 12, 24], "by seeking, for these are far apart"
    assert times(data, Sampling(1000)) == [0]
    assert times(video(4, gop=1000)) == [0]


def test_a_variable_rate_has_the_frame_that_is_shown() -> None:
    data = video(times=[0, 0.04, 0.08, 1.5, 1.53, 4, 5.7, 5.75], gop=1)
    assert times(data, Sampling(1.0, exact=True)) == [0, 0.08, 1.53, 4, 5.75]
    assert times(data, Sampling(2.0)) == [0, 1.53, 4, 5.75]
    assert times(data, Sampling(times=(3_000_000,))) == [1.53]


@pytest.mark.parametrize("format", ["mp4", "matroska", "mpegts"])
def test_frames_that_are_coded_in_another_order_are_those_of_their_times(format: str) -> None:
    data = video(12, format=format, gop=25, preset="fast")
    import av

    with av.open(io.BytesIO(data)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.has_b_frames
        start = stream.start_time or 0
        known = [round((one.pts - start) * stream.time_base * 1_000_000) for one in container.decode(stream)]
    assert [one.time for one in taken(data, Sampling(0.1, exact=True))[0]] == known
    for every in (1.7, 2.6):
        wanted = [
            max(time for time in known if time <= target + 500) for target in range(0, 12_000_000, int(every * 1e6))
        ]
        assert [one.time for one in taken(data, Sampling(every, exact=True))[0]] == wanted
    for time in known[3::7]:
        assert [one.time for one in taken(data, Sampling(times=(time,)))[0]] == [time]
    keys = [one.time / 1e6 for one in taken(data, Sampling(1.0))[0]]
    assert keys == [0, 2.5, 5, 7.5, 10]


@pytest.mark.parametrize("rotation", [0, 90, 180, -90])
@pytest.mark.parametrize("flipped", [False, True])
def test_frames_are_turned_and_mirrored_as_the_file_says(rotation: int, flipped: bool) -> None:
    expected = np.rot90(frame(0).to_ndarray(format="rgb24"), rotation // 90)
    expected = expected[:, ::-1] if flipped else expected
    data = video(1, codec="mjpeg", format="mov", rotation=rotation, flipped=flipped)
    found = np.asarray(taken(data)[0][0].image).astype(int)
    assert found.shape == expected.shape
    assert np.abs(expected - found).mean() < 6


def test_odd_and_hostile_videos_give_their_frames_and_a_row_that_says_what_is_wrong(tmp_path: Path) -> None:
    made = odd(tmp_path)
    assert made.keys() == ODD.keys()
    connected = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=lambda: (listener.accept(), connected.set()), daemon=True).start()
        playlist = made["a playlist"]
        playlist.write_bytes(playlist.read_bytes().replace(b"PORT", str(listener.getsockname()[1]).encode()))
        for name, (expected, message) in ODD.items():
            found, error = taken(made[name].read_bytes())
            assert [one.time / 1e6 if one.image else None for one in found] == expected[: len(found)], name
            assert len(found) == len(expected) or name == "frames of 30,000 x 30,000", name
            assert message in error, (name, error)
            assert bool(message) == bool(error) or name == "frames of 30,000 x 30,000", (name, error)
            exact, _ = taken(made[name].read_bytes(), Sampling(1.0, exact=True))
            assert bool(exact) == bool(expected), name
        assert not connected.is_set(), "a video leads nowhere"


def test_limits_hold_before_anything_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert taken(video(1), max_pixels=6000) == ([], "frames of 96 x 64 pixels, more than 6,000")
    grown = video(2, format="mpegts") + video(2, format="mpegts", size=(1280, 960))
    for found in (taken(grown, max_pixels=10_000)[0], taken(grown, max_pixels=10_000, seconds=30)[0]):
        assert all(one.image is None or one.image.size == SIZE for one in found)
    from zsclip.images import video_frames

    monkeypatch.setattr(video_frames, "MOST_FRAMES", 3)
    found, error = taken(video(6))
    assert (len(found), error[:28]) == (3, "more than 3 frames are not t")


def test_a_file_that_comes_too_slowly_costs_its_video_only() -> None:
    class Slow(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            threading.Event().wait(0.3)
            return super().read(size)

    with pytest.raises(ImageError, match=r"took longer than 0.25 s") as found:
        list(isolated_frames(Slow(video(1)), KEYS, 10**9, 0.25))
    assert found.value.kind == "timeout"


def test_a_decoder_that_crashes_costs_its_video_only(monkeypatch: pytest.MonkeyPatch) -> None:
    real = video_worker.Worker.exchange

    def killed(self: Worker, seconds: float, *questions: bytes) -> tuple[bytes, bytes]:
        if questions == (b"g",):
            os.kill(self._process.pid, signal.SIGSEGV)
        return real(self, seconds, *questions)

    monkeypatch.setattr(video_worker.Worker, "exchange", killed)
    found, error = taken(video(3), seconds=30)
    assert ([one.time for one in found], error) == ([0], "its decoder crashed (SIGSEGV)")


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    folder = tmp_path / "clips"
    folder.mkdir()
    (folder / "a.mp4").write_bytes(video(3))
    (folder / "b.png").write_bytes(b"no picture")
    (folder / "c.MKV").write_bytes(video(2, format="matroska"))
    return folder


def names(folder: Path, opening: VideoOpening) -> list[str]:
    return [item.name.removeprefix(f"{folder}/") for item in Finder([str(folder)], opening=Opening(video=opening))]


def embed(
    paths: list[str], store: Path, opening: VideoOpening, **settings: object
) -> tuple[list[ImageEmbedding], Classifier]:
    with Classifier.load("demo", cache_dir=store, device="cpu", **settings) as classifier:
        found = Finder(paths, opening=Opening(video=opening))
        return [one for part in classifier.embed_images(found) for one in part], classifier


def test_a_second_run_decodes_nothing_and_other_times_only_what_is_new(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    real = LocalFile.open_seekable
    monkeypatch.setattr(LocalFile, "open_seekable", lambda self: (opened.append(self.name), real(self))[1])
    path, store = str(clips / "a.mp4"), tmp_path / "store"
    first, ran = embed([path], store, VideoOpening(1.0))
    assert [one.path for one in first] == [f"{path}#t={second}.000" for second in range(3)]
    assert (ran.counts.computed, opened) == (3, [path])
    second, ran = embed([path], store, VideoOpening(1.0))
    assert (ran.counts.found, ran.counts.computed, opened) == (3, 0, [path])
    assert [one.embedding.vector.tobytes() for one in first if one.embedding] == [
        one.embedding.vector.tobytes() for one in second if one.embedding
    ]
    _, ran = embed([path], store, VideoOpening(0.5, exact_times=True))
    assert (ran.counts.found, ran.counts.computed) == (3, 3), "frames are known by the video's bytes and their time"
    copy = clips / "copy.mp4"
    copy.write_bytes((clips / "a.mp4").read_bytes())
    _, ran = embed([str(copy)], store, VideoOpening(1.0))
    assert (ran.counts.found, ran.counts.computed) == (3, 0)
    frame_name = f"{path}#t=2.500"
    single, ran = embed([frame_name], store, VideoOpening())
    assert ([one.path for one in single], ran.counts.found, ran.counts.computed) == ([frame_name], 1, 0)
    _, ran = embed([frame_name], store, VideoOpening())
    assert opened.count(path) == 3, "the list of a single frame is kept, too"


def test_frames_have_the_vectors_of_the_same_pictures_in_a_folder(clips: Path, tmp_path: Path) -> None:
    path = clips / "a.mp4"
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for one in taken(path.read_bytes())[0]:
        assert one.image is not None
        one.image.save(pictures / f"{one.time}.png")
    of_frames, _ = embed([str(path)], tmp_path / "one", VideoOpening(1.0))
    of_files, _ = embed([str(pictures)], tmp_path / "other", VideoOpening())
    # The last bits depend on how many are computed together.
    vectors = [[one.embedding.vector for one in found if one.embedding] for found in (of_frames, of_files)]
    assert np.allclose(*vectors, rtol=0, atol=1e-6)
    assert len(vectors[0]) == 3


def test_a_frame_that_lost_its_vector_is_decoded_alone(clips: Path, tmp_path: Path) -> None:
    from zsclip.store.database import Store

    path, store = str(clips / "a.mp4"), tmp_path / "store"
    first, _ = embed([path], store, VideoOpening(1.0))
    with Store(store) as opened, opened.writing() as connection:
        assert connection
        connection.execute("DELETE FROM vectors WHERE content = (SELECT content FROM members WHERE position = 1000000)")
    second, ran = embed([path], store, VideoOpening(1.0))
    assert (ran.counts.found, ran.counts.computed, [one.path for one in second]) == (2, 1, [one.path for one in first])


def test_worker_processes_give_the_same_rows(clips: Path, tmp_path: Path) -> None:
    (clips / "cut.mp4").write_bytes(video(6, options={"movflags": "faststart"})[:3500])
    rows = []
    for name, settings in (("one", {}), ("other", {"isolate": True})):
        found, _ = embed([str(clips)], tmp_path / name, VideoOpening(1.0), **settings)
        rows.append([(one.path, one.error, one.embedding and one.embedding.vector.tobytes()) for one in found])
    assert rows[0] == rows[1]
    assert [row[1] for row in rows[0] if row[1]] == [
        "not an image in a format that is known here", "the video is cut off: nothing comes after 2.000 s",
    ]  # fmt: skip


def test_folders_give_their_videos_only_where_frames_are_asked_for(
    clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert names(clips, VideoOpening()) == ["b.png"]
    assert names(clips, VideoOpening(2)) == ["a.mp4", "b.png", "c.MKV"]
    found = Finder([str(clips), str(clips / "a.mp4")])
    assert [type(item).__name__ for item in found] == ["File", "Video"]
    assert str(found.passed_over) == "passed over 2 videos; add `every` to take frames of videos"
    monkeypatch.setattr("zsclip.images.folders.video_supported", lambda: False)
    monkeypatch.setattr(videos, "video_supported", lambda: False)
    without = Finder([str(clips)], opening=Opening(video=VideoOpening(2)))
    assert [item.name for item in without] == [str(clips / "b.png")]
    assert str(without.passed_over).endswith("(1 .mp4, 1 .mkv); videos are read with: pip install 'zsclip[video]'")
    with pytest.raises(ImageError, match=r"zsclip\[video\]"):
        list(Video(str(clips / "a.mp4")).members())


def test_times_that_are_none_are_refused(clips: Path, tmp_path: Path) -> None:
    for every in (0, -1, float("nan"), float("inf")):
        with pytest.raises(InputError, match="`every`"):
            VideoOpening(every)
    path = str(clips / "a.mp4")
    found, _ = embed([f"{path}#t=99", f"{path}#t=0.25", f"{clips}/gone.mp4"], tmp_path / "store", VideoOpening())
    assert [(one.path, one.error) for one in found] == [
        (f"{path}#t=99", "no frame is shown at that time"), (f"{path}#t=0.25", None), (f"{clips}/gone.mp4", "No such file or directory"),
    ]  # fmt: skip


def test_reading_and_limits_are_those_of_the_run(clips: Path, tmp_path: Path) -> None:
    found, _ = embed([str(clips / "a.mp4")], tmp_path / "store", VideoOpening(1), max_pixels=100)
    assert [(one.path, one.error, one.error_kind) for one in found] == [
        (str(clips / "a.mp4"), "frames of 96 x 64 pixels, more than 100", "too_large")
    ]
