"""Recordings: read with the right weights, played in a loop in step with their sound; the portrait's recording."""

from __future__ import annotations

import asyncio
import hashlib
import io
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from model.codec.encoder import MotionEncoder
from model.codec.rate import Rate
from model.codec.statistics import MotionStatistics
from model.codec.vav import AudioPacket, VavHeader, VavWriter, read_vav
from model.errors import BitstreamError, InputError, VisavisError, WeightsError
from model.landmarks.weights import LANDMARKS
from model.motion import Motion
from model.talking_head import WEIGHTS as WEIGHTS_FILE
from server.benchmark.portrait import portrait_picture
from server.benchmark.record_portrait import close_loop
from server.sender.media.inputs import PORTRAIT
from server.sender.media.recording import RecordingFeed, read_recording
from server.sender.media.samples import MotionSample, MouthUpload, SourceImage, StageTimes
from tests.server.fakes import FakeClock

STATISTICS = MotionStatistics.default(4)
WEIGHTS = "ab" * 32
FRAMES = 10
FPS = 25


def write_recording(path: Path, *, frames: int = FRAMES, packet: int = 960) -> Path:
    header = VavHeader("small", 4, 256, bytes.fromhex(WEIGHTS), Fraction(FPS), 512, 512, 256.0, 256.0, 200.0, 1, 312)
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(buffer, "WEBP")
    with VavWriter(path, header) as writer:
        writer.source(3, buffer.getvalue())
        writer.window(3, b"a window")
        encoder = MotionEncoder(STATISTICS, Rate(frames_per_message=4, header_bytes=0), chain=True)
        messages = [encoder.encode(vector(i), 40 * i, 3) for i in range(frames)]
        for message in (*messages, encoder.flush()):
            if message is not None:
                writer.motion(message)
        writer.audio([AudioPacket(i * packet - 312, packet, bytes([i, 1])) for i in range(30)])
        writer.end(frames, 40 * frames)
    return path


def vector(yaw: float) -> np.ndarray:
    values = np.zeros(STATISTICS.size, np.float32)
    values[0], values[3] = yaw, 1.0
    return values


class Listener:
    def __init__(self) -> None:
        self.sources: list[SourceImage] = []
        self.windows: list[MouthUpload] = []
        self.samples: list[MotionSample] = []
        self.ends: list[BaseException | None] = []

    def on_source(self, source: SourceImage) -> None:
        self.sources.append(source)

    def on_window(self, window: MouthUpload) -> None:
        self.windows.append(window)

    def on_motion(self, sample: MotionSample, stages: StageTimes) -> None:
        self.samples.append(sample)

    def on_presence(self, problem: str | None) -> None:
        raise AssertionError("a recording always has its face")

    def on_end(self, error: BaseException | None) -> None:
        self.ends.append(error)

    def on_notice(self, text: str) -> None:
        raise AssertionError(text)


class Time(FakeClock):
    """Everybody who sleeps wakes in the order of time."""

    def __init__(self) -> None:
        super().__init__(1.0)
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    async def sleep(self, seconds: float) -> None:
        future = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.now + seconds, future))
        await future

    async def run(self, seconds: float) -> None:
        end = self.now + seconds
        while True:
            for _ in range(5):
                await asyncio.sleep(0)
            self._sleepers.sort(key=lambda sleeper: sleeper[0])
            if not self._sleepers or self._sleepers[0][0] > end:
                self.now = end
                return
            due, future = self._sleepers.pop(0)
            self.now = max(self.now, due)
            if not future.done():
                future.set_result(None)


def test_a_recording_is_read_back(tmp_path: Path) -> None:
    recording = read_recording(write_recording(tmp_path / "a.vav"), STATISTICS, WEIGHTS)
    assert np.allclose(recording.vectors[:, 0], range(FRAMES), atol=0.5)
    assert recording.times.tolist() == pytest.approx([0.04 * i for i in range(FRAMES)])
    assert (recording.source.index, recording.source.content_type) == (3, "image/webp")
    assert (len(recording.sound), recording.sound_start, recording.duration) == (30, -0.0065, 0.4)


def test_what_cannot_be_played_gives_one_clear_error(tmp_path: Path) -> None:
    good = write_recording(tmp_path / "a.vav")
    with pytest.raises(WeightsError, match=r"other weights .*make portrait"):
        read_recording(good, STATISTICS, "cd" * 32)
    with pytest.raises(InputError, match="1 frames"):
        read_recording(write_recording(tmp_path / "short.vav", frames=1), STATISTICS, WEIGHTS)
    damaged = tmp_path / "damaged.vav"
    damaged.write_bytes(good.read_bytes()[:30] + b"?" + good.read_bytes()[31:])
    with pytest.raises(BitstreamError):
        read_recording(damaged, STATISTICS, WEIGHTS)
    with pytest.raises(InputError):
        read_recording(tmp_path / "none.vav", STATISTICS, WEIGHTS)


def test_sound_in_other_packets_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert read_recording(write_recording(tmp_path / "a.vav", packet=2880), STATISTICS, WEIGHTS).sound == ()
    assert "without sound" in caplog.text


@pytest.mark.asyncio
async def test_it_plays_round_and_round_with_its_sound_in_step(tmp_path: Path) -> None:
    recording = read_recording(write_recording(tmp_path / "a.vav"), STATISTICS, WEIGHTS)
    time, listener = Time(), Listener()
    feed = RecordingFeed(recording, listener, fps=25.0, clock=time, sound=True, sleep=time.sleep)
    heard: list[tuple[float, int]] = []
    assert feed.sound is not None
    feed.sound.put = lambda data: heard.append((time.now, data[0]))  # type: ignore[method-assign]
    feed.start()
    await time.run(0.5)
    assert listener.samples == [], "it waits for the receiver to have its source"
    begin = time.now
    feed.source_taken(3)
    feed.source_taken(3)
    await time.run(1.0)
    times = [sample.captured - begin for sample in listener.samples]
    assert times == pytest.approx([0.04 * i for i in range(26)])
    yaws = [round(float(sample.vector[0])) for sample in listener.samples]
    assert yaws == [i % FRAMES for i in range(26)]
    assert {sample.source for sample in listener.samples} == {3}
    assert listener.windows == [MouthUpload(0, b"a window")]
    assert heard[0][0] == pytest.approx(begin + 0.02 - 0.0065)
    assert heard[0][1] == 0
    per_round = 21  # those that begin within 400 ms of -6.5 ms
    assert [number for _, number in heard[: 2 * per_round]] == 2 * list(range(per_round))
    assert heard[per_round][0] == pytest.approx(begin + 0.4 + 0.0135)
    await feed.close()
    await feed.close()


@pytest.mark.asyncio
async def test_a_lower_rate_plays_fewer_frames_and_a_sleeping_machine_catches_up(tmp_path: Path) -> None:
    recording = read_recording(write_recording(tmp_path / "a.vav"), STATISTICS, WEIGHTS)
    time, listener = Time(), Listener()
    feed = RecordingFeed(recording, listener, fps=12.5, clock=time, sound=False, sleep=time.sleep)
    assert feed.sound is None
    feed.start()
    feed.source_taken(3)
    await time.run(0.79)
    assert len(listener.samples) == 10
    time.now += 60.0
    await time.run(1.0)
    assert feed.dropped > 700
    assert time.now - listener.samples[-1].captured < 0.1
    await feed.close()


@pytest.mark.asyncio
async def test_a_refused_source_ends_it(tmp_path: Path) -> None:
    recording = read_recording(write_recording(tmp_path / "a.vav"), STATISTICS, WEIGHTS)
    listener = Listener()
    feed = RecordingFeed(recording, listener, fps=25.0, clock=FakeClock(), sound=False)
    error = VisavisError("no face")
    feed.source_refused(3, error)
    assert listener.ends == [error]
    await feed.close()


@settings(deadline=None)
@given(st.integers(2, 30), st.data())
def test_a_closed_loop_ends_where_it_begins(frames: int, data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**31)))
    glide = data.draw(st.integers(1, frames - 1))
    vectors = np.cumsum(rng.normal(0, 0.5, (frames, STATISTICS.size)), 0).astype(np.float32)
    closed = close_loop(vectors, glide)
    assert np.array_equal(closed[: frames - glide], vectors[: frames - glide])
    before, after = Motion.from_vector(vectors[-1]), Motion.from_vector(vectors[0])
    jump_before = abs(float(before.yaw - after.yaw))
    jump_after = abs(float(closed[-1, 0] - vectors[0, 0]))
    assert jump_after <= jump_before / 2 + 1e-4


def test_a_glide_longer_than_the_recording_is_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        close_loop(np.zeros((3, STATISTICS.size), np.float32), 3)


@pytest.mark.skipif(not WEIGHTS_FILE.exists(), reason="no trained weights yet")
def test_the_built_in_talker_fits_the_weights_that_ship() -> None:
    vav = read_vav(PORTRAIT)
    assert vav.header.weights.hex() == hashlib.sha256(WEIGHTS_FILE.read_bytes() + LANDMARKS.read_bytes()).hexdigest(), (
        "run make portrait"
    )
    assert vav.complete
    assert vav.seconds >= 8.0
    assert vav.file_bytes < 100_000
    assert sum(packet.duration for packet in vav.audio) / 48_000 >= vav.seconds - 0.1


def test_the_portrait_is_there_without_a_download() -> None:
    assert portrait_picture().shape == (512, 512, 3)
