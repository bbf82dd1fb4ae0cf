"""Cameras and files as frames and Opus packets, in the test's own time; made-up clips, no devices."""

from __future__ import annotations

import asyncio
import io
import threading
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from aiortc.mediastreams import MediaStreamError

from model.codec.opus_packet import SILENCE
from model.codec.rate import Rate
from model.errors import InputError, VisavisError
from server.benchmark.network.opus_fec import repeated_pieces
from server.benchmark.speech import speak
from server.media.media_packet import MediaPacket
from server.sender import build, live
from server.sender.connection.opus_track import OpusTrack
from server.sender.connection.rate_control import FEC_KBPS, FEC_LOSS, RateControl
from server.sender.media.capture import LONGEST_SIDE, CapturedFrame, FrameMailbox, VideoCapture, file_duration
from server.sender.media.inputs import PORTRAIT, MediaInput, camera_address, open_camera, open_file, parse_source
from server.sender.media.reader import Timeline
from server.sender.media.sound import (
    PACKET_SAMPLES,
    PIECE_SAMPLES,
    RATE,
    OpusWriter,
    SoundCapture,
    SoundPacket,
    SoundQueue,
    VoicePackets,
)
from server.sender.media.voice_activity import VoiceActivity
from server.sender.media.voice_order import VOICE_KBPS, VoiceOrder
from server.settings import load_settings
from tests.model.clips import payloads, write_film, write_turned

FPS = 25
FRAMES = 20


def write_clip(path: Path, *, size: tuple[int, int] = (64, 48), sound: bool = True, frames: int = FRAMES) -> Path:
    """Frames whose brightness is their number times ten, and a tone."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", FPS, options={"crf": "1", "bf": "0", "preset": "ultrafast"})
        assert isinstance(video, av.VideoStream)
        video.width, video.height, video.pix_fmt = *size, "yuv420p"
        audio = container.add_stream("libopus", RATE, layout="mono") if sound else None
        for i in range(frames):
            image = np.full((size[1], size[0], 3), 10 * i, np.uint8)
            for packet in video.encode(av.VideoFrame.from_ndarray(image)):
                container.mux(packet)
        container.mux(video.encode(None))
        if audio is not None:
            assert isinstance(audio, av.AudioStream)
            tone = (9000 * np.sin(np.arange(FRAMES * RATE // FPS) / RATE * 2 * np.pi * 440)).astype(np.int16)
            for start in range(0, len(tone), PIECE_SAMPLES):
                frame = av.AudioFrame.from_ndarray(tone[None, start : start + PIECE_SAMPLES], "s16", "mono")
                frame.sample_rate, frame.pts, frame.time_base = RATE, start, Fraction(1, RATE)
                container.mux(audio.encode(frame))
            container.mux(audio.encode(None))
    return path


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clips") / "clip.mkv")


class Time:
    """A clock that moves when somebody waits."""

    def __init__(self) -> None:
        self.now = 0.0
        self.stop_after = float("inf")

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> bool:
        self.now += seconds
        return self.now > self.stop_after


class AllFrames(FrameMailbox):
    """Keeps everything."""

    def __init__(self) -> None:
        super().__init__()
        self.frames: list[CapturedFrame] = []

    def put(self, frame: CapturedFrame) -> None:
        self.frames.append(frame)


def play(
    path: Path, time: Time, *, loop: bool = False, fps: float = FPS
) -> tuple[list[CapturedFrame], list[VisavisError | None]]:
    mailbox, ends = AllFrames(), list[VisavisError | None]()
    capture = VideoCapture(
        lambda: open_file(str(path)),
        mailbox,
        fps=fps,
        clock=time,
        timeline=Timeline(0.1, file_duration(str(path), open_file)),
        loop=loop,
        on_end=ends.append,
        wait=time.wait,
    )
    capture.run()
    return mailbox.frames, ends


def test_a_file_plays_in_real_time_and_ends(clip: Path) -> None:
    time = Time()
    frames, ends = play(clip, time)
    assert [round(1000 * f.captured) for f in frames] == [100 + 40 * i for i in range(FRAMES)]
    assert [round(float(f.image.mean()) / 10) for f in frames] == list(range(FRAMES))
    assert frames[0].image.shape == (48, 64, 3)
    assert ends == [None]
    assert time.now >= 0.1 + 0.04 * (FRAMES - 1)


def test_a_loop_starts_over_after_the_files_length(clip: Path) -> None:
    time = Time()
    time.stop_after = 2.5
    frames, _ = play(clip, time, loop=True)
    length = file_duration(str(clip), open_file)
    assert 0.8 <= length <= 0.83
    assert frames[FRAMES].captured == pytest.approx(0.1 + length)
    assert round(float(frames[FRAMES].image.mean())) < 5


def test_frames_are_thinned_to_the_rate_that_is_sent(clip: Path) -> None:
    frames, _ = play(clip, Time(), fps=12.5)
    assert [round(1000 * f.captured - 100) for f in frames] == [80 * i for i in range(FRAMES // 2)]


def test_large_frames_are_scaled_down(tmp_path: Path) -> None:
    frames, _ = play(write_clip(tmp_path / "large.mkv", size=(2560, 1440), sound=False, frames=2), Time())
    assert frames[0].image.shape == (720, LONGEST_SIDE, 3)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_phones_film_is_upright_and_scaled_as_before(tmp_path: Path, turns: int) -> None:
    path = tmp_path / "phone.mp4"
    expected = write_turned(path, turns, size=(LONGEST_SIDE * 2, 128))
    frames, _ = play(path, Time())
    assert len(frames) == 5
    assert {frame.image.shape for frame in frames} == {expected[::2, ::2].shape}
    assert np.abs(frames[0].image.astype(int) - expected[::2, ::2]).mean() < 4


def test_what_is_no_clip_gives_one_clear_error(tmp_path: Path) -> None:
    text = tmp_path / "clip.mp4"
    text.write_text("not a clip")
    with pytest.raises(InputError, match=r"cannot read .*clip\.mp4"):
        open_file(str(text))
    only_sound = tmp_path / "sound.ogg"
    with av.open(str(only_sound), "w") as container:
        stream = container.add_stream("libopus", RATE)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, PIECE_SAMPLES * 2), np.int16), "s16", "stereo")
        frame.sample_rate = RATE
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(InputError, match="has no picture"):
        file_duration(str(only_sound), open_file)
    with pytest.raises(InputError, match="no such source"):
        parse_source(str(tmp_path / "nothing.mp4"))


def test_an_error_in_the_thread_reaches_the_listener() -> None:
    ends: list[VisavisError | None] = []

    def broken() -> av.container.InputContainer:
        raise InputError("cannot open camera")

    capture = VideoCapture(broken, FrameMailbox(), fps=25.0, clock=lambda: 0.0, on_end=ends.append)
    capture.start()
    capture.join(10)
    assert [str(end) for end in ends] == ["cannot open camera"]
    capture.close()


def test_closing_ends_the_thread_while_it_waits(clip: Path) -> None:
    ends: list[VisavisError | None] = []
    capture = VideoCapture(
        lambda: open_file(str(clip)),
        FrameMailbox(),
        fps=25.0,
        clock=lambda: 0.0,
        timeline=Timeline(3_600.0, 0.8),
        on_end=ends.append,
    )
    capture.start()
    capture.close()
    capture.close()
    assert not capture.is_alive()
    assert ends == []


def test_sources_are_read_by_name(clip: Path) -> None:
    assert parse_source("camera").kind == "camera"
    assert parse_source("camera:/dev/video2").place == "/dev/video2"
    assert parse_source(str(clip)).kind == "file"
    assert PORTRAIT.suffix == ".vav"
    assert camera_address("", "linux") == "/dev/video0"
    assert camera_address("2", "linux") == "/dev/video2"
    assert camera_address("", "darwin") == "default:none"
    assert camera_address("USB Camera", "win32") == "video=USB Camera"
    with pytest.raises(InputError, match="no camera support"):
        open_camera("", "plan9")
    with pytest.raises(InputError, match="cannot open camera"):
        open_camera("/dev/no-camera", "linux")


@pytest.mark.parametrize("works", [0, 1, 2])
def test_a_camera_is_opened_with_the_pixels_of_a_sharp_picture_where_it_has_them(
    works: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, str] | None] = []

    def opened(address: str, format: str, options: dict[str, str] | None = None) -> str:
        asked.append(options)
        if len(asked) <= works:
            raise OSError("no such mode")
        return f"{format} {address}"

    monkeypatch.setattr("server.sender.media.inputs.av.open", opened)
    assert str(open_camera("", "linux")) == "v4l2 /dev/video0"
    assert [options and options["video_size"] for options in asked] == ["1280x720", "640x480", None][: works + 1]
    assert asked[0] is not None
    assert asked[0]["input_format"] == "mjpeg"


# Sound


async def hear(path: Path, time: Time, *, loop: bool = False) -> tuple[list[bytes], list[float], list[str]]:
    queue, problems = SoundQueue(asyncio.get_running_loop()), list[str]()
    packets: list[bytes] = []
    moments: list[float] = []

    def put(packet: SoundPacket) -> None:
        packets.append(packet.data)
        moments.append(time.now)

    queue.put = put  # type: ignore[method-assign]
    capture = SoundCapture(
        lambda: open_file(str(path)),
        queue,
        clock=time,
        timeline=Timeline(0.1, 0.8),
        loop=loop,
        on_problem=problems.append,
        wait=time.wait,
    )
    capture.run()
    return packets, moments, problems


@pytest.mark.asyncio
async def test_a_files_sound_becomes_opus_in_real_time(clip: Path) -> None:
    packets, moments, problems = await hear(clip, Time())
    assert len(packets) == 13
    assert moments[0] == pytest.approx(0.16, abs=0.008), "a packet leaves when it is whole"
    assert np.allclose(np.diff(moments), 0.06, atol=0.0001)
    assert sum(map(len, packets)) * 8 / (0.06 * len(packets)) < 1600 * VOICE_KBPS
    assert problems == []
    decoded = decode(packets)
    spectrum = np.abs(np.fft.rfft(decoded[4800:28800]))
    assert abs(int(np.argmax(spectrum)) * RATE / 24000 - 440) < 5


def decode(packets: list[bytes]) -> np.ndarray:
    codec = av.CodecContext.create("libopus", "r")
    assert isinstance(codec, av.AudioCodecContext)
    codec.sample_rate, codec.layout = RATE, "mono"
    frames = [frame for data in packets for frame in codec.decode(av.Packet(data))]
    return np.concatenate([np.asarray(frame.to_ndarray()).reshape(-1) for frame in frames])


@pytest.mark.asyncio
async def test_a_silent_film_and_a_missing_microphone_do_not_end_the_call(tmp_path: Path) -> None:
    silent = write_clip(tmp_path / "silent.mkv", sound=False)
    assert await hear(silent, Time(), loop=True) == ([], [], [])
    text = tmp_path / "clip.mp4"
    text.write_text("not a clip")
    _, _, problems = await hear(text, Time())
    assert len(problems) == 1


class Carried:
    """What travels behind the voice."""

    def __init__(self) -> None:
        self.waiting = b""
        self.alone = 0

    def take_trailer(self, now: float) -> bytes:
        taken, self.waiting = self.waiting, b""
        return taken

    def wants_packet(self, now: float) -> bool:
        return bool(self.waiting)

    def carried_alone(self, header_bytes: int, now: float) -> None:
        self.alone += header_bytes


@pytest.mark.asyncio
async def test_a_stalled_track_loses_the_oldest_sound_and_keeps_its_time() -> None:
    queue = SoundQueue(asyncio.get_running_loop())
    track = OpusTrack(queue, lambda: 0.0, Carried(), RateControl(Rate()))
    for i in range(6):
        queue.put(SoundPacket(bytes([i]), i * PACKET_SAMPLES))
    await asyncio.sleep(0)
    assert queue.dropped == 3, "180 ms wait at most"
    first, second = await track.recv(), await track.recv()
    assert (first.payload, second.payload) == (b"\x03", b"\x04")
    assert (first.timestamp, second.timestamp) == (0, PACKET_SAMPLES)
    assert second.sequence == first.sequence + 1
    for i in range(10, 15):
        queue.put(SoundPacket(bytes([100 + i]), i * PACKET_SAMPLES))
    await asyncio.sleep(0)
    third = await track.recv()
    assert third.timestamp == 9 * PACKET_SAMPLES, "the gap stays a gap"
    later = OpusTrack(queue, lambda: 0.0, Carried(), RateControl(Rate()))
    waiting = asyncio.ensure_future(later.recv())
    await asyncio.sleep(0)
    assert not waiting.done(), "a new connection starts with sound of now"
    queue.put(SoundPacket(b"now", 0))
    assert (await waiting).payload == b"now"
    later.stop()
    with pytest.raises(MediaStreamError):
        await later.recv()


@pytest.mark.asyncio
async def test_of_silence_little_is_sent_unless_motion_wants_to_travel() -> None:
    queue, carried, clock = SoundQueue(asyncio.get_running_loop()), Carried(), Time()
    track = OpusTrack(queue, clock, carried, RateControl(Rate()))

    async def silence(pieces: int, start: int) -> list[MediaPacket]:
        sent: list[MediaPacket] = []
        for i in range(pieces):
            clock.now += 0.02
            queue.put(SoundPacket(SILENCE, start + i * PIECE_SAMPLES, PIECE_SAMPLES, silent=True))
            reading = asyncio.ensure_future(track.recv())
            for _ in range(3):
                await asyncio.sleep(0)
            if reading.done():
                sent.append(reading.result())
            else:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)
        return sent

    queue.put(SoundPacket(b"voice", 0))
    carried.waiting = b"motion"
    spoken = await track.recv()
    assert (spoken.payload, spoken.trailer) == (b"voice", b"motion")
    sent = await silence(50, PACKET_SAMPLES)
    assert [packet.payload for packet in sent] == 3 * [SILENCE], "the first, and two more in a second"
    assert carried.alone == 0
    carried.waiting = b"motion"
    (packet,) = await silence(1, 53 * PIECE_SAMPLES)
    assert (packet.payload, packet.trailer, packet.timestamp) == (SILENCE, b"motion", 53 * PIECE_SAMPLES)
    assert carried.alone == 65
    queue.put(SoundPacket(b"voice", 54 * PIECE_SAMPLES))
    again = await track.recv()
    assert again.marker, "a talkspurt begins"
    everything = (spoken, *sent, packet, again)
    assert [p.sequence for p in everything] == list(range(6))
    assert [p.restart for p in everything] == [True] + 5 * [False]


def test_opus_packets_are_small_and_come_one_for_one() -> None:
    writer = OpusWriter()
    rng = np.random.default_rng(0)
    packets = [writer.write(rng.integers(-900, 900, PACKET_SAMPLES).astype(np.int16)) for _ in range(50)]
    assert [len(coded) for coded in packets] == [1] * 50
    assert sum(len(packet) for (packet,) in packets) * 8 / (50 * 0.06) < 1200 * VOICE_KBPS


@pytest.mark.parametrize("pieces", [2, 3, 6])
def test_packets_are_as_long_as_ordered(pieces: int) -> None:
    voice = VoicePackets(OpusWriter())
    tone = (6000 * np.sin(np.arange(PIECE_SAMPLES) / RATE * 2 * np.pi * 200)).astype(np.int16)
    spoken = [packet for _ in range(12) for packet in voice.add(tone, VoiceOrder(pieces=pieces))]
    assert [packet.samples for packet in spoken] == [pieces * PIECE_SAMPLES] * (12 // pieces)
    assert decode([packet.data for packet in spoken]).size >= 11 * PIECE_SAMPLES


def test_an_order_for_lossy_lines_brings_in_band_fec() -> None:
    wave = np.round(speak(np.abs(np.sin(np.arange(50) * 0.9)), 25.0) * 32767).astype(np.int16)
    shares = []
    for order in (VoiceOrder(), VoiceOrder(FEC_KBPS, FEC_LOSS)):
        writer = OpusWriter(order)
        packets = [p for i in range(30) for p in writer.write(wave[i * PACKET_SAMPLES : (i + 1) * PACKET_SAMPLES])]
        shares.append(np.mean([flag for packet in packets for flag in repeated_pieces(packet)]))
    assert shares[0] == 0.0
    assert shares[1] > 0.7


def test_a_pause_costs_next_to_nothing_and_speech_is_whole() -> None:
    voice = VoicePackets(OpusWriter())
    rng = np.random.default_rng(0)
    quiet = [np.round(rng.normal(0, 15, PIECE_SAMPLES)).astype(np.int16) for _ in range(100)]
    tone = (6000 * np.sin(np.arange(PIECE_SAMPLES) / RATE * 2 * np.pi * 200)).astype(np.int16)
    before = [packet for piece in quiet for packet in voice.add(piece, VoiceOrder())]
    assert all(packet.silent and packet.data == SILENCE for packet in before[10:])
    spoken = [packet for _ in range(30) for packet in voice.add(tone, VoiceOrder())]
    assert [packet.silent for packet in spoken] == [False] * 10, "from the first piece on"
    after = [packet for piece in quiet for packet in voice.add(piece, VoiceOrder())]
    heard = [packet for packet in after if not packet.silent]
    assert 0.3 <= sum(packet.samples for packet in heard) / RATE <= 0.5, "what hangs over"
    everything = [*before, *spoken, *after]
    starts = np.cumsum([0, *(packet.samples for packet in everything)])
    assert [packet.start for packet in everything] == starts[:-1].tolist(), "the stream has no holes"


def test_loud_noise_is_not_muted() -> None:
    activity = VoiceActivity()
    noise = np.random.default_rng(0).normal(0, 4000, (500, PIECE_SAMPLES)).astype(np.int16)
    assert all(activity.active(piece, 0.02) for piece in noise)


def test_no_thread_is_left() -> None:
    names = {thread.name for thread in threading.enumerate()}
    assert not names & {"visavis-capture", "visavis-sound", "visavis-extraction"}


def test_damage_and_a_clock_that_jumps_do_not_end_a_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "rough.mkv"
    write_film(path, [40 * i + (7_200_000 if i >= 10 else 0) for i in range(20)])
    data = bytearray(path.read_bytes())
    for place, size in payloads(path)[3:5]:
        data[place + 8 : place + size] = bytes(size - 8)
    path.write_bytes(data)
    time = Time()
    frames, ends = play(path, time)
    assert ends == [None]
    assert len(frames) >= 16
    assert frames[-1].captured < 1.2
    assert sum("damaged" in record.message for record in caplog.records) == 1


def test_stretched_pixels_and_colons_in_names(tmp_path: Path) -> None:
    path = tmp_path / "10:30.mkv"
    write_film(path, [0, 40], aspect=Fraction(3, 2))
    frames, ends = play(path, Time())
    assert ends == [None]
    assert frames[0].image.shape == (48, 96, 3)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (MediaInput("camera", "/dev/no-such-camera"), "cannot open camera"),
        (MediaInput("file", "/nowhere/film.mp4"), "cannot read"),
        (MediaInput("recording", "/nowhere/talk.vav"), "cannot be read"),
    ],
)
def test_a_source_that_is_not_there_is_told_before_the_model_loads(
    source: MediaInput, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loaded(*_arguments: object) -> None:
        pytest.fail("the model was loaded")

    monkeypatch.setattr(live, "live_feeds", loaded)
    monkeypatch.setattr(build, "read_description", loaded)
    choices = build.Choices("http://localhost:1", "room", "name", source, Rate())
    with pytest.raises(InputError, match=says):
        build.make_daemon(choices, load_settings(), io.StringIO())
