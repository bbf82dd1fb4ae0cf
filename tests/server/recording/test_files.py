"""Takes of a participant: which files begin when, what they hold, and what a crash leaves of them."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import av
import pytest

from model.codec.decoder import MotionDecoder
from model.codec.vav import read_vav
from server.media.encoder import Codec
from server.media.media_packet import MediaPacket
from server.media.recorder import MotionModel
from server.recording.manifest import RecordedFile
from server.recording.output import MAX_WAITING_BYTES, Output
from server.recording.take import PICTURES_WITHIN, Take
from tests.server.fakes import FakeCamera, until
from tests.server.recording.test_pure import STATISTICS, encoded

MODEL = MotionModel("small", 2, 64, "ab" * 32)
OPUS = b"\x48"


class Folder:
    """A take, and the entries that it asked for."""

    def __init__(self, executor: ThreadPoolExecutor, path: Path) -> None:
        self.path = path
        self._executor = executor
        self.entries: list[RecordedFile] = []
        self.take = Take(executor, path, 100.0, 1_800_000_000_000, self._begin, lambda: None)

    def _begin(self, kind: str, suffix: str) -> RecordedFile:
        entry: Any = {"participant": "p", "identity": "ada", "name": "Ada", "kind": kind, "offset": 0.0}
        self.entries.append(RecordedFile(file=f"{len(self.entries) + 1:03d}{suffix}", **entry))
        return self.entries[-1]

    async def flushed(self) -> None:
        """All that has come is on the disk, as far as it can be; the thread may be busy with what came before."""
        for _ in range(3):
            self.take.flush()
            await asyncio.get_running_loop().run_in_executor(self._executor, lambda: None)
            await asyncio.sleep(0)  # the loop learns of it

    def files(self) -> list[str]:
        return [entry.file for entry in self.entries]


@asynccontextmanager
async def folder(path: Path) -> AsyncIterator[Folder]:
    with ThreadPoolExecutor(1) as executor:
        found = Folder(executor, path)
        async with asyncio.timeout(30):
            yield found
        await found.take.close()


def voice(count: int, start: int = 0) -> list[MediaPacket]:
    return [MediaPacket(OPUS, n, 5000 + 960 * n) for n in range(start, start + count)]


@pytest.mark.asyncio
async def test_motion_sources_and_sound_come_back_as_they_came(tmp_path: Path) -> None:
    messages = encoded(25)
    async with folder(tmp_path) as made:
        made.take.model(MODEL)
        made.take.source(0, b"first image", {})
        for number, message in enumerate(messages):
            if number == 12:
                made.take.source(0, b"second image", {})
            assert made.take.motion(message, 0, 40 * number, 101.0 + 0.04 * number + 0.01 * (number % 2))
        for number, packet in enumerate(voice(50)):
            if number not in (20, 21):
                made.take.sound(packet, 101.0 + 0.02 * number, alone=True)
    vav = read_vav(tmp_path / "001.vav")
    assert vav.complete
    assert (vav.header.live, vav.header.started_ms) == (True, 1_800_000_000_000)
    assert vav.images == [b"first image", b"second image"]
    assert [message.data for message in vav.messages] == messages
    assert [message.images[0] for message in vav.messages] == [0] * 12 + [1] * 13
    assert {message.clock for message in vav.messages} == {vav.messages[0].clock}  # 10 ms of jitter are none
    decoder = MotionDecoder(STATISTICS)
    times = [
        message.clock.at(frame.capture_ms)
        for message in vav.messages
        for frame in decoder.decode(message.data)
        if message.clock is not None
    ]
    assert times == [1000 + 40 * number for number in range(25)]
    starts = [packet.start for packet in vav.audio]
    assert starts == [48_000 + 960 * number for number in range(50) if number not in (20, 21)]
    assert vav.seconds == 2.0


@pytest.mark.asyncio
async def test_windows_come_back_beside_the_motion_that_they_were_there_for(tmp_path: Path) -> None:
    beside: list[dict[int, bytes]] = [{}, {20: b"a"}, {0: b"b", 20: b"a"}, {0: b"c", 20: b"a"}, {}, {1: b"d"}]
    async with folder(tmp_path) as made:
        made.take.model(MODEL)
        for number, (message, windows) in enumerate(zip(encoded(6), beside, strict=True)):
            made.take.source(0, b"image", windows)
            assert made.take.motion(message, 0, 40 * number, 101.0 + 0.04 * number)
    vav = read_vav(tmp_path / "001.vav")
    found = [{vav.windows[i] for i in message.windows if vav.windows[i]} for message in vav.messages]
    assert found == [set(windows.values()) for windows in beside]
    assert vav.images == [b"image"]
    assert len(vav.windows) == 6  # a slot is written when it changes, those of other windows are not
    assert vav.window_bytes == 4


@pytest.mark.asyncio
async def test_a_file_that_can_hold_no_more_windows_goes_on_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.recording.motion_file.MAX_LIVE_WINDOWS", 8)
    async with folder(tmp_path) as made:
        made.take.model(MODEL)
        for number, message in enumerate(encoded(8)):
            made.take.source(0, b"image", {0: b"of frame %d" % number, 20: b"eyes"})
            assert made.take.motion(message, 0, 40 * number, 101.0 + 0.04 * number)
    vav = read_vav(tmp_path / "001.vav")
    assert len(vav.windows) <= 8
    shown = [{vav.windows[i] for i in message.windows if vav.windows[i]} for message in vav.messages]
    assert shown[1] == {b"of frame 1", b"eyes"}
    assert shown[-1] == set()


@pytest.mark.asyncio
async def test_a_file_that_begins_in_the_middle_asks_for_an_intra_frame(tmp_path: Path) -> None:
    async with folder(tmp_path) as made:
        made.take.model(MODEL)
        made.take.source(0, b"image", {})
        old, new = encoded(5), encoded(3, epoch=8)
        assert [made.take.motion(message, 0, 0, 101.0) for message in old[1:]] == [False] * 4
        assert all(made.take.motion(message, 0, 0, 101.5) for message in new)
    assert [message.data for message in read_vav(tmp_path / "001.vav").messages] == new


@pytest.mark.asyncio
async def test_what_was_flushed_is_there_without_an_end(tmp_path: Path) -> None:
    messages = encoded(40)
    async with folder(tmp_path) as made:
        made.take.model(MODEL)
        made.take.source(0, b"image", {})
        for number, message in enumerate(messages[:25]):
            made.take.motion(message, 0, 40 * number, 101.0 + 0.04 * number)
        await made.flushed()
        for number, message in enumerate(messages[25:], 25):
            made.take.motion(message, 0, 40 * number, 101.0 + 0.04 * number)
        shutil.copy(tmp_path / "001.vav", tmp_path / "killed.vav")
    killed = read_vav(tmp_path / "killed.vav")
    assert not killed.complete
    assert [message.data for message in killed.messages] == messages[:25]
    assert killed.seconds == pytest.approx(1.96)


def pictures(path: Path) -> tuple[int, int]:
    """Pictures and packets of sound in a film."""
    with av.open(str(path)) as container:
        packets = sum(packet.size > 0 for packet in container.demux(container.streams.audio[0]))
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0)), packets


async def film(made: Folder, camera: Camera, count: int, begin: float, voice_from: int = 0) -> None:
    """A camera's pictures, 25 a second, with its sound."""
    for number in range(count):
        at = begin + 0.04 * number
        for packet in camera.frame(keyframe=number == 0):
            made.take.picture(packet, at, keyframe=number == 0 and packet.sequence == camera.first)
        for packet in voice(2, voice_from + 2 * number):
            made.take.sound(packet, at, alone=False)
        if number % 25 == 24:
            made.take.flush()
            await asyncio.sleep(0)


class Camera(FakeCamera):
    """One that tells the number of its first packet."""

    def __init__(self, codec: Codec, width: int = 64) -> None:
        super().__init__(codec, width, width)
        self.first = 65_500


@pytest.mark.asyncio
@pytest.mark.parametrize(("codec", "name"), [("VP8", "001.webm"), ("H264", "001.mp4")])
async def test_a_camera_is_kept_as_it_came(tmp_path: Path, codec: Codec, name: str) -> None:
    async with folder(tmp_path) as made:
        await film(made, Camera(codec), 75, 101.5)
    assert made.files() == [name]
    assert made.entries[0].offset == 1.5
    shown, heard = pictures(tmp_path / name)
    assert shown == 75
    assert heard >= 145


@pytest.mark.asyncio
@pytest.mark.parametrize(("codec", "name"), [("VP8", "001.webm"), ("H264", "001.mp4")])
async def test_a_cameras_film_without_an_end_plays_up_to_the_last_second(
    tmp_path: Path, codec: Codec, name: str
) -> None:
    async with folder(tmp_path) as made:
        await film(made, Camera(codec), 100, 101.0)
        await made.flushed()
        shutil.copy(tmp_path / name, tmp_path / f"killed-{name}")
    shown, _ = pictures(tmp_path / f"killed-{name}")
    assert 75 <= shown <= 100


@pytest.mark.asyncio
async def test_a_keyframe_of_many_packets_is_kept_whole(tmp_path: Path) -> None:
    """As of a screen: 300 kB."""
    start = b"\x10" + b"\x10\x02\x00\x9d\x01\x2a" + (1920).to_bytes(2, "little") + (1080).to_bytes(2, "little")
    async with folder(tmp_path) as made:
        for number in range(300):
            payload = start if number == 0 else b"\x00" + bytes(1000)
            packet = MediaPacket(payload, number, 9000, number == 299, "VP8")
            made.take.picture(packet, 101.0 + number / 1000, keyframe=number == 0)
    with av.open(str(tmp_path / "001.webm")) as container:
        sizes = [packet.size for packet in container.demux(container.streams.video[0]) if packet.size]
    assert sizes == [10 + 299 * 1000]


@pytest.mark.asyncio
async def test_sound_without_pictures_gets_a_file_of_its_own(tmp_path: Path) -> None:
    async with folder(tmp_path) as made:
        made.take.model(MODEL)
        for number, packet in enumerate(voice(200)):
            made.take.sound(packet, 101.0 + 0.02 * number, alone=False)
    vav = read_vav(tmp_path / "001.vav")
    assert vav.complete
    assert not vav.images
    assert len(vav.audio) == 200 - round(PICTURES_WITHIN / 0.02)


@pytest.mark.asyncio
async def test_what_changes_begins_another_file_but_not_every_moment(tmp_path: Path) -> None:
    async with folder(tmp_path) as made:
        made.take.model(MODEL)
        made.take.source(0, b"image", {})
        made.take.motion(encoded(1)[0], 0, 0, 101.0)
        await film(made, Camera("VP8"), 3, 101.5)  # too soon
        await film(made, Camera("VP8"), 3, 103.0)
        await film(made, Camera("H264"), 3, 105.0)
        await film(made, Camera("H264", 96), 3, 107.0)
        made.take.motion(encoded(1, epoch=9)[0], 0, 0, 109.0)
    assert made.files() == ["001.vav", "002.webm", "003.mp4", "004.mp4", "005.vav"]
    assert [pictures(tmp_path / name)[0] for name in made.files()[1:4]] == [3, 3, 3]


class Broken:
    """A file on a disk that is full."""

    written = 0

    def flush(self) -> None:
        raise OSError(28, "No space left on device")

    def close(self) -> None:
        pass


@pytest.mark.asyncio
async def test_a_disk_that_is_full_or_slow_is_told_once_and_nothing_piles_up() -> None:
    failed: list[str] = []
    with ThreadPoolExecutor(1) as executor:
        full: Output[Broken] = Output(executor, Broken, failed.append)
        full.write(lambda _: None, 10)
        full.flush()
        await until(lambda: bool(failed))
        full.write(lambda _: None, 10)
        await full.close()
        assert failed == ["the file cannot be written (No space left on device)"]
        slow: Output[Broken] = Output(executor, Broken, failed.append)
        work: Callable[[Broken], None] = lambda _: None  # noqa: E731
        for _ in range(3):
            slow.write(work, MAX_WAITING_BYTES)
        await slow.close()
        assert failed[1:] == ["the disk is too slow"]
