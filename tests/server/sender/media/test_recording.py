"""Recordings: read with the right weights, played in a loop in step with their sound; the portrait's recording."""

from __future__ import annotations

import asyncio
import hashlib
import io
from collections.abc import Sequence
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
from model.description import WEIGHTS as WEIGHTS_FILE
from model.errors import BitstreamError, InputError, VisavisError, WeightsError
from model.motion import Motion
from model.weights.manifest import LANDMARKS
from model.window import EYE_SLOTS
from server.benchmark.portrait import portrait_picture
from server.benchmark.record_portrait import close_loop
from server.sender.media.inputs import PORTRAIT, portrait_of
from server.sender.media.recorded_sources import Placed, RecordedSources
from server.sender.media.recording import RecordingFeed, read_recording, repacked
from server.sender.media.samples import MAX_SOURCES, MotionSample, SourceImage, StageTimes, WindowUpload
from server.sender.media.sound import SoundPacket
from tests.server.fakes import FakeClock

STATISTICS = MotionStatistics.default(4)
WEIGHTS = "ab" * 32
FRAMES = 10
FPS = 25


def image(number: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((16, 16, 3), 5 * number, np.uint8)).save(buffer, "WEBP")
    return buffer.getvalue()


def write_recording(path: Path, *, frames: int = FRAMES, packet: int = 960, driven: Sequence[int] = (3,)) -> Path:
    """`driven`: source image of each scene, all equally long."""
    header = VavHeader("small", 4, 256, bytes.fromhex(WEIGHTS), Fraction(FPS), 512, 512, 256.0, 256.0, 200.0, 1, 312)
    with VavWriter(path, header) as writer:
        for number in dict.fromkeys(driven):
            writer.source(number, image(number))
            for kind in (b"\1mouth", b"\2eyes", b"\3nothing known", b"\1mouth again"):
                writer.window(number, kind + b" %d" % number)
        encoder = MotionEncoder(STATISTICS, Rate(frames_per_message=4, header_bytes=0), chain=True)
        messages = [encoder.encode(vector(i), 40 * i, driven[i * len(driven) // frames]) for i in range(frames)]
        for message in (*messages, encoder.flush()):
            if message is not None:
                writer.motion(message)
        writer.audio(
            [AudioPacket(i * packet - 312, packet, bytes([72 if packet < 2880 else 88, i])) for i in range(30)]
        )
        writer.end(frames, 40 * frames)
    return path


def vector(yaw: float) -> np.ndarray:
    values = np.zeros(STATISTICS.size, np.float32)
    values[0], values[3] = yaw, 1.0
    return values


class Listener:
    def __init__(self) -> None:
        self.sources: list[SourceImage] = []
        self.windows: list[WindowUpload] = []
        self.samples: list[MotionSample] = []
        self.ends: list[BaseException | None] = []

    def on_source(self, source: SourceImage) -> None:
        self.sources.append(source)

    def on_window(self, window: WindowUpload) -> None:
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
    assert (recording.sources, set(recording.driven)) == ((image(3),), {0})
    assert [(p.start, p.samples) for p in recording.sound] == [(-312 + 2880 * i, 2880) for i in range(10)]
    assert recording.sound[1].data == bytes([75, 0x83, 1, 1, 3, 4, 5]), "three packets of 20 ms joined"
    assert recording.duration == 0.4


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


def test_sound_in_packets_of_60_ms_is_sent_as_it_is(tmp_path: Path) -> None:
    sound = read_recording(write_recording(tmp_path / "a.vav", packet=2880), STATISTICS, WEIGHTS).sound
    assert [packet.data for packet in sound] == [bytes([88, i]) for i in range(30)]


def test_packets_that_do_not_follow_or_differ_are_not_joined() -> None:
    narrow, wide = bytes([64, 1]), bytes([72, 2])
    sound = [AudioPacket(0, 960, narrow), AudioPacket(960, 960, wide), AudioPacket(4800, 960, wide)]
    assert [(p.start, p.samples, p.data) for p in repacked(sound)] == [
        (0, 960, narrow),
        (960, 960, wide),
        (4800, 960, wide),
    ]
    assert list(repacked([])) == []


@pytest.mark.asyncio
async def test_it_plays_round_and_round_with_its_sound_in_step(tmp_path: Path) -> None:
    recording = read_recording(write_recording(tmp_path / "a.vav"), STATISTICS, WEIGHTS)
    time, listener = Time(), Listener()
    feed = RecordingFeed(recording, listener, fps=25.0, clock=time, sound=True, sleep=time.sleep)
    heard: list[tuple[float, SoundPacket]] = []
    assert feed.sound is not None
    feed.sound.put = lambda packet: heard.append((time.now, packet))  # type: ignore[method-assign]
    feed.start()
    await time.run(0.5)
    assert listener.samples == [], "it waits for the receiver to have its source"
    begin = time.now
    feed.source_taken(0)
    feed.source_taken(0)
    await time.run(1.0)
    times = [sample.captured - begin for sample in listener.samples]
    assert times == pytest.approx([0.04 * i for i in range(26)])
    yaws = [round(float(sample.vector[0])) for sample in listener.samples]
    assert yaws == [i % FRAMES for i in range(26)]
    assert {sample.source for sample in listener.samples} == {0}
    assert heard[0][0] == pytest.approx(begin + 0.06 - 0.0065)
    per_round = 6 + 2  # what ends within 400 ms of -6.5 ms, and silence for the rest
    assert [packet.silent for _, packet in heard[: 2 * per_round]] == 2 * [*6 * [False], *2 * [True]]
    assert [packet.start for _, packet in heard[:9]] == [
        *(2880 * i - 312 for i in range(6)),
        *(2880 * 6 + 960 * i - 312 for i in range(2)),
        19_200 - 312,
    ]
    assert heard[per_round][0] == pytest.approx(begin + 0.4 + 0.06 - 0.0065)
    assert heard[per_round][1].data == heard[0][1].data
    assert listener.windows == [
        WindowUpload(0, b"\1mouth 3", 0),
        WindowUpload(EYE_SLOTS.start, b"\2eyes 3", 0),
        WindowUpload(1, b"\1mouth again 3", 0),
    ]
    await feed.close()
    await feed.close()


@pytest.mark.asyncio
async def test_a_lower_rate_plays_fewer_frames_and_a_sleeping_machine_catches_up(tmp_path: Path) -> None:
    recording = read_recording(write_recording(tmp_path / "a.vav"), STATISTICS, WEIGHTS)
    time, listener = Time(), Listener()
    feed = RecordingFeed(recording, listener, fps=12.5, clock=time, sound=False, sleep=time.sleep)
    assert feed.sound is None
    feed.start()
    feed.source_taken(0)
    await time.run(0.79)
    assert len(listener.samples) == 10
    time.now += 60.0
    await time.run(1.0)
    assert feed.dropped > 700
    assert time.now - listener.samples[-1].captured < 0.1
    await feed.close()


@pytest.mark.asyncio
@pytest.mark.parametrize("scenes", [2, 4, 5, 16])
async def test_each_scene_has_its_source_image_before_its_frames_are_sent(scenes: int, tmp_path: Path) -> None:
    """Images arrive 100 ms after they were offered; of none is a frame sent before, and in time none is left out."""
    path = write_recording(tmp_path / "film.vav", frames=10 * scenes, driven=range(20, 20 + scenes))
    recording = read_recording(path, STATISTICS, WEIGHTS)
    time, listener = Time(), Listener()
    feed = RecordingFeed(recording, listener, fps=25.0, clock=time, sound=False, sleep=time.sleep)
    shown: list[tuple[int, bytes]] = []
    held: dict[int, bytes] = {}
    arriving: list[asyncio.Task[None]] = []

    async def arrive(source: SourceImage) -> None:
        assert not any(place == source.index and age < 10 for place, age in recent()), "frames are still to be shown"
        await time.sleep(0.1)
        held[source.index] = source.data
        feed.source_taken(source.index)

    def recent() -> list[tuple[int, int]]:
        return [(s.source, len(listener.samples) - n) for n, s in enumerate(listener.samples)]

    def note(sample: MotionSample, stages: StageTimes) -> None:
        listener.samples.append(sample)
        shown.append((round(float(sample.vector[0])), held[sample.source]))

    listener.on_source = lambda source: arriving.append(asyncio.create_task(arrive(source)))  # type: ignore[method-assign]
    listener.on_motion = note  # type: ignore[method-assign]
    feed.start()
    await time.run(3 * 0.4 * scenes)
    assert len(shown) > 25 * scenes
    assert feed.dropped == 0
    assert all(data == image(20 + frame // 10) for frame, data in shown)
    await feed.close()
    for task in arriving:
        task.cancel()


@pytest.mark.asyncio
async def test_frames_whose_image_does_not_arrive_are_left_out(tmp_path: Path) -> None:
    path = write_recording(tmp_path / "film.vav", frames=20, driven=(0, 1))
    recording = read_recording(path, STATISTICS, WEIGHTS)
    time, listener = Time(), Listener()
    feed = RecordingFeed(recording, listener, fps=25.0, clock=time, sound=False, sleep=time.sleep)
    feed.start()
    assert [source.index for source in listener.sources] == [0, 1]
    feed.source_taken(1)
    await time.run(1.0)
    assert listener.samples == []
    feed.source_taken(0)
    await time.run(0.78)
    assert {sample.source for sample in listener.samples} == {0, 1}
    await feed.close()


@settings(deadline=None)
@given(st.lists(st.integers(0, 15), min_size=1, max_size=40), st.data())
def test_a_place_is_never_taken_from_what_is_shown(driven: list[int], data: st.DataObject) -> None:
    """Whatever order the images have, and whenever they arrive."""
    sources = RecordedSources(driven)
    held: dict[int, int] = {}
    coming: list[Placed] = []
    last: int | None = None  # place of the frame that was sent last
    for turn in range(80):
        frame = turn % len(driven)
        for placed in sources.show(frame):
            assert placed.place not in {p.place for p in coming}
            assert placed.place != last
            assert 0 <= placed.place < MAX_SOURCES
            coming.append(placed)
        for _ in range(data.draw(st.integers(0, 2))):
            if coming:
                placed = coming.pop(0)
                held[placed.place] = placed.source
                for further in sources.arrived(placed.place):
                    assert further.place != last
                    coming.append(further)
        place = sources.place(frame)
        if place is not None:
            assert held[place] == driven[frame]
            last = place


@pytest.mark.asyncio
async def test_a_refused_source_ends_it(tmp_path: Path) -> None:
    recording = read_recording(write_recording(tmp_path / "a.vav"), STATISTICS, WEIGHTS)
    listener = Listener()
    feed = RecordingFeed(recording, listener, fps=25.0, clock=FakeClock(), sound=False)
    error = VisavisError("no face")
    feed.source_refused(0, error)
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


@pytest.mark.parametrize("weights", [None, WEIGHTS_FILE.with_name("open.safetensors")], ids=["default", "open"])
def test_the_built_in_talker_fits_the_weights_that_ship(weights: Path | None) -> None:
    vav, shipped = read_vav(portrait_of(weights)), weights or WEIGHTS_FILE
    assert vav.header.weights.hex() == hashlib.sha256(shipped.read_bytes() + LANDMARKS.read_bytes()).hexdigest(), (
        "run make portrait"
    )
    assert vav.complete
    assert vav.seconds >= 8.0
    assert vav.file_bytes < 100_000
    assert sum(packet.duration for packet in vav.audio) / 48_000 >= vav.seconds - 0.1


def test_other_weights_have_the_default_s_talker(tmp_path: Path) -> None:
    assert portrait_of(tmp_path / "mine.safetensors") == portrait_of(None) == PORTRAIT


def test_the_portrait_is_there_without_a_download() -> None:
    assert portrait_picture().shape == (512, 512, 3)
