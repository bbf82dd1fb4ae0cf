"""Where pictures go: names on the command line, bytes of streams, a virtual camera's package and device."""

from __future__ import annotations

import asyncio
import io
import sys
import types
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.audio.frame import AudioFrame
from numpy.typing import NDArray

import server.__main__
from model.errors import InputError
from server.viewer.delivery import Delivery
from server.viewer.film import Film
from server.viewer.pipe import Nut, Yuv4Mpeg
from server.viewer.sink import open_sink, parse_output
from tests.server.fakes import until

GREY = np.full((64, 96, 3), 128, np.uint8)


class Kept(io.BytesIO):
    """A file whose bytes stay after it was closed."""

    bytes = b""

    def close(self) -> None:
        self.bytes = self.getvalue()
        super().close()


def tone(count: int, samples: int = 960, layout: str = "stereo") -> AudioFrame:
    wave = (9000 * np.sin(np.arange(samples) * 2 * np.pi * 440 / 48_000)).astype(np.int16)
    frame = AudioFrame.from_ndarray(np.repeat(wave, 2)[None], "s16", layout)
    frame.sample_rate, frame.pts, frame.time_base = 48_000, count * samples, Fraction(1, 48_000)
    return frame


def test_names_of_the_command_line(tmp_path: Path) -> None:
    assert parse_output("-", "640x360", 25.0).kind == "y4m"
    assert parse_output("-", "256", 25.0, "nut").size == (256, 256)
    assert parse_output("camera", "256", 25.0).path is None
    assert parse_output("camera:/dev/video9", "256", 25.0).path == Path("/dev/video9")
    assert parse_output(str(tmp_path / "a.mp4"), "256", 25.0).kind == "film"
    assert parse_output(str(tmp_path / "a.y4m"), "256", 25.0).kind == "y4m"


@pytest.mark.parametrize(
    ("out", "size", "fps"),
    [
        ("-", "257", 25.0),
        ("-", "0", 25.0),
        ("-", "9000", 25.0),
        ("-", "big", 25.0),
        ("-", "256", 0.1),
        ("a.txt", "256", 25.0),
    ],
)
def test_what_cannot_be_written_is_said_before_anything_begins(out: str, size: str, fps: float) -> None:
    with pytest.raises(InputError):
        parse_output(out, size, fps)


def test_yuv4mpeg_has_a_header_and_planes() -> None:
    file = Kept()
    sink = Yuv4Mpeg(file, (96, 64), 25.0)
    for number in range(3):
        sink.picture(GREY, number / 25)
    sink.close()
    header, _, rest = file.bytes.partition(b"\n")
    assert header == b"YUV4MPEG2 W96 H64 F25:1 Ip A1:1 C420mpeg2"
    assert len(rest) == 3 * (6 + 96 * 64 * 3 // 2)
    with av.open(io.BytesIO(file.bytes), "r") as container:
        frames = list(container.decode(video=0))
    assert [(frame.width, frame.height) for frame in frames] == [(96, 64)] * 3
    assert abs(float(frames[0].to_ndarray(format="rgb24").mean()) - 128) < 2


def test_nut_has_pictures_and_sound() -> None:
    file = Kept()
    sink = Nut(file, (96, 64), 25.0)
    for number in range(25):
        sink.picture(GREY, number / 25)
        for half in range(2):
            sink.sound(tone(2 * number + half), (2 * number + half) / 50)
    sink.close()
    sink.close()
    with av.open(io.BytesIO(file.bytes), "r") as container:
        assert sum(1 for _ in container.decode(video=0)) == 25
    with av.open(io.BytesIO(file.bytes), "r") as container:
        sound = np.concatenate([frame.to_ndarray().reshape(-1) for frame in container.decode(audio=0)])
    assert abs(len(sound) - 48_000) < 2000
    assert np.abs(sound).max() > 5000


def test_a_film_is_there_with_its_sound_and_pauses(tmp_path: Path) -> None:
    film = Film(tmp_path / "film.mp4", (96, 64))
    for number in range(25):
        film.picture(GREY, number / 25)
    for number in [*range(10), *range(30, 50)]:
        film.sound(tone(number), number / 50)
    assert not (tmp_path / "film.mp4").exists()
    film.close()
    with av.open(str(tmp_path / "film.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 25
    with av.open(str(tmp_path / "film.mp4")) as container:
        sound = np.concatenate([frame.to_ndarray().reshape(-1) for frame in container.decode(audio=0)])
    assert abs(len(sound) - 48_000) < 3000
    assert np.abs(sound[14_000:26_000]).max() < 0.05 < np.abs(sound[:9000]).max()


class Camera:
    """What pyvirtualcam gives."""

    shown: list[NDArray[np.uint8]] = []  # noqa: RUF012
    closed = False

    def __init__(self, width: int, height: int, fps: float, *, fmt: str, device: str | None) -> None:
        if device == "/dev/none":
            raise RuntimeError("'v4l2loopback' backend: No v4l2 loopback cameras found.\nDid you load the module?")
        assert (width, height, fps, fmt) == (96, 64, 25.0, "rgb")
        self.device = device or "/dev/video9"

    def send(self, picture: NDArray[np.uint8]) -> None:
        self.shown.append(picture)

    def close(self) -> None:
        Camera.closed = True


def test_a_virtual_camera_gets_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    package: Any = types.SimpleNamespace(Camera=Camera, PixelFormat=types.SimpleNamespace(RGB="rgb"))
    monkeypatch.setitem(sys.modules, "pyvirtualcam", package)
    sink = open_sink(parse_output("camera", "96x64", 25.0))
    sink.picture(GREY, 0.0)
    sink.close()
    assert Camera.closed
    assert np.array_equal(Camera.shown[0], GREY)
    with pytest.raises(InputError, match=r"no virtual camera.*loopback") as caught:
        open_sink(parse_output("camera:/dev/none", "96x64", 25.0))
    assert "\n" not in str(caught.value)


def test_a_missing_package_is_one_clear_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "pyvirtualcam", None)
    monkeypatch.setattr("server.commands.view.set_up_logging", lambda *_: None)
    assert server.__main__.main(["view", "--participant", "Ada", "--out", "camera"]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line]
    assert len(lines) == 1
    assert "requirements-camera.txt" in lines[0]


class Reader:
    """A sink whose reader goes away after some pictures."""

    fps: float | None = 50.0
    hears = True

    def __init__(self, limit: int, error: Exception) -> None:
        self.limit, self.error = limit, error
        self.times: list[float] = []
        self.closed = False

    def picture(self, picture: NDArray[np.uint8], at: float) -> None:
        assert picture.shape == (64, 96, 3)
        if len(self.times) >= self.limit:
            raise self.error
        self.times.append(at)

    def sound(self, frame: AudioFrame, at: float) -> None:
        del frame, at

    def close(self) -> None:
        self.closed = True


@pytest.mark.asyncio
@pytest.mark.parametrize("error", [BrokenPipeError(), OSError(28, "No space left on device")])
async def test_whoever_reads_no_more_ends_it(error: Exception) -> None:
    sink = Reader(5, error)
    delivery = Delivery(sink, (96, 64))
    delivery.start()
    delivery.picture(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), "rgb24"))
    await until(delivery.over.done)
    failed = delivery.over.exception()
    assert failed is (None if isinstance(error, BrokenPipeError) else error)
    await delivery.close()
    assert sink.closed
    assert len(sink.times) == 5, "the one picture, again and again at the stream's rate"
    assert sink.times == sorted(sink.times)
    await asyncio.sleep(0)
