"""Broken and unusual films, each made here: damage, clocks that jump, pixels that are not square, sizes that change."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition
from av.video.stream import VideoStream
from numpy.typing import NDArray

from model.errors import InputError
from model.media.container import SteadyTime, display_size
from model.media.video import VideoWriter, audio_channels, check_video, encode_opus, read_audio, read_frames
from tests.model.clips import payloads, write_film


def grey(value: int, size: tuple[int, int] = (64, 48)) -> NDArray[np.uint8]:
    return np.full((size[1], size[0], 3), value, np.uint8)


def test_damaged_packets_are_skipped_with_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "damaged.avi"
    write_film(path, range(0, 800, 40))
    data = bytearray(path.read_bytes())
    for place, size in payloads(path)[5:9]:
        data[place + 8 : place + 8 + size] = bytes(size)
    path.write_bytes(data)
    with caplog.at_level(logging.WARNING):
        frames = list(read_frames(path))
    assert 14 <= len(frames) <= 17
    assert frames[-1].time == pytest.approx(0.76, abs=0.02)
    assert [record.message for record in caplog.records] == [f"{path}: damaged video is skipped"]


@pytest.mark.parametrize("seed", range(8))
def test_noise_in_a_film_ends_it_with_frames_or_an_input_error(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "noise.mkv"
    write_film(path, range(0, 800, 40), tone=True)
    data = bytearray(path.read_bytes())
    chance = np.random.default_rng(seed)
    for place in chance.integers(600, len(data), 30):
        data[place] = chance.integers(256)
    path.write_bytes(data)
    try:
        times = [timed.time for timed in read_frames(path)]
        list(read_audio(path, 1, Fraction(1)))
    except InputError:
        return
    assert len(times) <= 20
    assert all(before < after for before, after in pairwise(times))


@pytest.mark.parametrize(
    ("case", "stamps", "times"),
    [
        ("repeats", (0, 40, 40, 80), (0, 40, 41, 80)),
        ("stands still", (7, 7, 7, 7, 7), (7, 8, 9, 49, 89)),
        ("starts anew", (5000, 5040, 5080, 0, 40), (5000, 5040, 5080, 5120, 5160)),
        ("jumps", (0, 40, 90_000, 90_040), (0, 40, 80, 120)),
        ("jumps and comes back", (0, 40, 90_000, 80, 120), (0, 40, 80, 120, 160)),
        ("pauses", (0, 40, 4000), (0, 40, 4000)),
        ("has none", (0, None, None), (0, 40, 80)),
    ],
)
def test_times_only_grow(case: str, stamps: Sequence[int | None], times: Sequence[int]) -> None:
    steady = SteadyTime(Fraction(40, 1000))
    assert [steady.at(None if s is None else Fraction(s, 1000)) * 1000 for s in stamps] == list(times), case


def test_a_clock_that_jumps_keeps_picture_and_sound_together(tmp_path: Path) -> None:
    """The tone sounds while frames are shown: all the way, with no silence of an hour between."""
    path = tmp_path / "jump.mkv"
    write_film(path, [40 * i + (3_600_000 if i >= 10 else 0) for i in range(20)], tone=True)
    frames = list(read_frames(path))
    assert [round(timed.time * 1000) for timed in frames] == [40 * i for i in range(20)]
    samples = np.concatenate(list(read_audio(path, 1, Fraction(4, 5))))
    loud = np.abs(samples[:, 0]).reshape(40, -1).max(1)
    assert loud.min() > 0.1


def test_a_clock_that_starts_anew_goes_on(tmp_path: Path) -> None:
    """Two transport streams one after the other, as a recorder that was restarted leaves them."""
    path, part = tmp_path / "both.ts", tmp_path / "part.ts"
    write_film(part, range(0, 1000, 40))
    path.write_bytes(part.read_bytes() * 2)
    times = [timed.time for timed in read_frames(path)]
    assert len(times) >= 49
    assert times[-1] == pytest.approx(2.0, abs=0.1)
    assert all(before < after for before, after in pairwise(times))


def test_pixels_that_are_not_square(tmp_path: Path) -> None:
    path = tmp_path / "anamorphic.mkv"
    write_film(path, [0], aspect=Fraction(4, 3))
    assert next(read_frames(path)).rgb().shape == (48, 85, 3)
    assert display_size(64, 48, Fraction(3, 4)) == (64, 64)
    assert display_size(64, 48, Fraction(1000)) == (64, 48)


def test_a_size_that_changes_midway(tmp_path: Path) -> None:
    """Raw H.264 of two sizes, one after the other, as a phone's call sends when the network narrows."""
    path = tmp_path / "sizes.h264"
    data = b""
    for size in ((64, 48), (128, 64)):
        part = tmp_path / "part.h264"
        with av.open(str(part), "w") as container:
            video = container.add_stream("libx264", rate=25)
            assert isinstance(video, VideoStream)
            video.width, video.height, video.pix_fmt = *size, "yuv420p"
            video.options = {"bf": "0"}
            for _ in range(5):
                container.mux(video.encode(av.VideoFrame.from_ndarray(grey(120, size), "rgb24")))
            container.mux(video.encode(None))
        data += part.read_bytes()
    path.write_bytes(data)
    pictures = [timed.rgb() for timed in read_frames(path)]
    assert len(pictures) == 10
    assert {picture.shape for picture in pictures} == {(48, 64, 3)}
    assert pictures[-1][24].mean() > 100  # the wider picture lies between black bars
    assert pictures[-1][1].mean() < 30


def test_a_cover_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "song.mp4"
    with av.open(str(path), "w") as container:
        sound = container.add_stream("aac", rate=48_000, layout="mono")
        cover = container.add_stream("mjpeg", rate=1)
        assert isinstance(cover, VideoStream)
        cover.width, cover.height, cover.pix_fmt = 64, 64, "yuvj420p"
        cover.disposition = Disposition.attached_pic
        heard = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        heard.sample_rate, heard.time_base, heard.pts = 48_000, Fraction(1, 48_000), 0
        container.mux(cover.encode(av.VideoFrame.from_ndarray(grey(9, (64, 64)), "rgb24")))
        container.mux(sound.encode(heard))
        container.mux(sound.encode(None))
    with pytest.raises(InputError, match="no video"):
        check_video(path)
    with pytest.raises(InputError, match="no video"):
        list(read_frames(path))


def test_the_default_track_is_heard(tmp_path: Path) -> None:
    path = tmp_path / "tracks.mkv"
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=25)
        assert isinstance(video, VideoStream)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        tracks = [container.add_stream("pcm_s16le", rate=48_000, layout="mono") for _ in range(3)]
        for number, track in enumerate(tracks):
            track.disposition = Disposition.default if number == 1 else Disposition(0)
        for index in range(10):
            frame = av.VideoFrame.from_ndarray(grey(80), "rgb24")
            container.mux(video.encode(frame))
            for number, track in enumerate(tracks):
                piece = np.full((1, 1920), 1000 * number, np.int16)
                heard = av.AudioFrame.from_ndarray(piece, "s16", "mono")
                heard.sample_rate, heard.time_base, heard.pts = 48_000, Fraction(1, 48_000), index * 1920
                container.mux(track.encode(heard))
        container.mux(video.encode(None))
    assert audio_channels(path) == 1
    samples = np.concatenate(list(read_audio(path, 1, Fraction(2, 5))))
    assert np.median(samples) == pytest.approx(1000 / 32768, rel=0.01)


def test_a_pause_of_the_sound_is_silence(tmp_path: Path) -> None:
    path = tmp_path / "pause.mkv"
    write_film(path, [0, *range(12_000, 12_400, 40)], tone=True)
    # The picture pauses, too, so both clocks jump, and both go on at once.
    assert list(read_frames(path))[-1].time < 1
    assert np.abs(np.concatenate(list(read_audio(path, 1, Fraction(2, 5))))).max() > 0.1


@pytest.mark.parametrize("name", ["12:30 talk.mkv", "file:talk.mkv", "100% talk %03d.mkv", "ünï.mkv"])
def test_names_are_names(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    write_film(path, [0, 40, 80])
    assert len(list(read_frames(path))) == 3
    out = tmp_path / f"out {name}"
    with VideoWriter(out, (64, 48), Fraction(25)) as writer:
        writer.frame(grey(50), Fraction(0))
    assert len(list(read_frames(out))) == 1


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm"])
def test_each_suffix_that_is_named_works(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out{suffix}"
    packets = list(encode_opus(iter([np.zeros((9600, 1), np.float32)]), 1))
    with VideoWriter(path, (64, 48), None, audio_channels=1) as writer:
        for index, ms in enumerate((0, 40, 40, 80)):  # a time that repeats
            writer.frame(grey(60 * index), Fraction(ms, 1000), Fraction(1, 25))
            writer.sound(packets[index].start, packets[index].duration, packets[index].data)
    assert len(list(read_frames(path))) == 4
    assert audio_channels(path) == 1


@pytest.mark.parametrize("suffix", [".mov", ".gif", ".avi", ".txt", ""])
def test_other_suffixes_say_which_do(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(InputError, match=r"\.mp4 or \.mkv or \.webm"):
        VideoWriter(tmp_path / f"out{suffix}", (64, 48), Fraction(25))


def test_transparency_in_a_film_lies_over_white(tmp_path: Path) -> None:
    path = tmp_path / "alpha.mkv"
    with av.open(str(path), "w") as container:
        video = container.add_stream("ffv1", rate=25)
        assert isinstance(video, VideoStream)
        video.width, video.height, video.pix_fmt = 32, 32, "bgra"
        rgba = np.zeros((32, 32, 4), np.uint8)
        rgba[:16, :, 3] = 255
        container.mux(video.encode(av.VideoFrame.from_ndarray(rgba, "rgba").reformat(format="bgra")))
        container.mux(video.encode(None))
    picture = next(read_frames(path)).rgb()
    assert picture[:15].max() < 3
    assert picture[17:].min() > 252
