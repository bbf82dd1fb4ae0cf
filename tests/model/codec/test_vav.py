"""The `.vav` container: round trip, cuts at every block and anywhere, damage, bounds."""

from __future__ import annotations

import random
import struct
import zlib
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from model.codec.decoder import MotionDecoder
from model.codec.encoder import MotionEncoder
from model.codec.packet import MotionMessage
from model.codec.rate import Rate
from model.codec.source_image import MAX_SOURCE_BYTES, decode_source, encode_source
from model.codec.statistics import MotionStatistics
from model.codec.vav import (
    MAGIC,
    MAX_LIVE_SOURCES,
    AudioPacket,
    CaptureClock,
    Vav,
    VavHeader,
    VavWriter,
    parse_vav,
    read_vav,
)
from model.errors import BitstreamError, InputError
from model.media.atomic_file import complete_file
from model.window import MAX_WINDOW_BYTES, MAX_WINDOWS
from tests.model.codec.test_statistics import walk

STATISTICS = MotionStatistics.default(2)
HEADER = VavHeader(
    profile="small",
    keypoints=2,
    size=64,
    weights=bytes(range(32)),
    rate=Fraction(24000, 1001),
    frame_width=640,
    frame_height=360,
    crop_x=320.5,
    crop_y=180.25,
    crop_side=200.0,
    audio_channels=1,
    audio_pre_skip=312,
)
PACKETS = [AudioPacket(-312 + 960 * i, 960, bytes([i + 1]) * (i + 1)) for i in range(50)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file of 60 frames in messages of 10, with sound."""
    path = tmp_path / "clip.vav"
    encoder = MotionEncoder(STATISTICS, Rate(frames_per_message=10), chain=True, epoch=0)
    with VavWriter(path, HEADER) as writer:
        writer.source(0, encode_source(np.full((64, 64, 3), 128, np.uint8)))
        for index, vector in enumerate(walk(60, 2)):
            if (message := encoder.encode(vector, index * 42)) is not None:
                writer.motion(message)
                second = index // 10 * 8
                writer.audio(PACKETS[second : second + 8])
        writer.end(60, 2502)
    return path


def blocks(data: bytes) -> list[int]:
    """Where each block starts, and the end."""
    starts, position = [], len(MAGIC)
    while position < len(data):
        starts.append(position)
        position += 12 + struct.unpack_from("!I", data, position + 4)[0]
    return [*starts, position]


def test_round_trip(path: Path) -> None:
    vav = read_vav(path)
    assert vav.header == HEADER
    assert vav.complete
    assert (vav.frames, vav.seconds) == (60, 2.502)
    assert vav.audio == PACKETS[:48]
    assert decode_source(vav.images[0]).shape == (64, 64, 3)
    decoder = MotionDecoder(STATISTICS)
    assert sum(len(decoder.decode(message.data)) for message in vav.messages) == 60


def test_golden_bytes(tmp_path: Path) -> None:
    path = tmp_path / "golden.vav"
    with VavWriter(path, HEADER) as writer:
        writer.source(0, b"AB")
        writer.audio([AudioPacket(-312, 960, b"\xfc\xff\xfe")])
        writer.end(0, 0)
    assert path.read_bytes().hex() == (
        "895641560d0a1a0a"
        "48454144" + "0000004a" + "01" + "05" + "736d616c6c" + "0002" + "0040" + bytes(range(32)).hex()
        + "00005dc0" + "000003e9" + "00000280" + "00000168" + "43a04000" + "43344000" + "43480000" + "01" + "0138"
        + _crc(path, 0)
        + "53524345" + "00000003" + "00" + "4142" + _crc(path, 1)
        + "4f505553" + "00000011" + "fffffffffffffec8" + "0001" + "03c0" + "0003" + "fcfffe" + _crc(path, 2)
        + "454e4453" + "00000008" + "00000000" + "00000000" + _crc(path, 3)
    )  # fmt: skip


def _crc(path: Path, index: int) -> str:
    data = path.read_bytes()
    start, end = blocks(data)[index : index + 2]
    return f"{zlib.crc32(data[start : start + 4] + data[start + 8 : end - 4]):08x}"


def check_prefix(data: bytes, whole: Vav) -> None:
    """A cut file holds a prefix of the whole, or is refused when the cut is before the source image."""
    try:
        vav = parse_vav(data)
    except BitstreamError:
        assert len(data) < blocks_end_of_source(whole)
        return
    assert vav.messages == whole.messages[: len(vav.messages)]
    assert vav.audio == whole.audio[: len(vav.audio)]
    decoder = MotionDecoder(STATISTICS)
    assert sum(len(decoder.decode(message.data)) for message in vav.messages) == vav.frames


def blocks_end_of_source(whole: Vav) -> int:
    """Byte after the SRCE block."""
    return len(MAGIC) + 12 + len(whole.header.serialize()) + 12 + 1 + len(whole.images[0])


def test_cut_at_every_block(path: Path) -> None:
    data = path.read_bytes()
    whole = parse_vav(data)
    for cut in blocks(data)[:-1]:
        check_prefix(data[:cut], whole)
        if cut >= blocks_end_of_source(whole):
            assert not parse_vav(data[:cut]).complete


def test_cut_anywhere(path: Path) -> None:
    data = path.read_bytes()
    whole = parse_vav(data)
    for cut in range(0, len(data), 7):
        check_prefix(data[:cut], whole)


def test_every_damaged_byte_is_noticed(path: Path) -> None:
    """A changed byte gives an error, or ends the file there when it makes a block longer than what is left."""
    data = path.read_bytes()
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 0x10
        try:
            vav = parse_vav(bytes(damaged))
        except BitstreamError:
            continue
        assert not vav.complete


def test_random_bytes() -> None:
    chance = random.Random(0)
    for _ in range(2000):
        with pytest.raises(BitstreamError):
            parse_vav(chance.randbytes(chance.randint(0, 200)))
        with pytest.raises(BitstreamError):
            parse_vav(MAGIC + chance.randbytes(chance.randint(0, 200)))


def block(kind: bytes, payload: bytes) -> bytes:
    return kind + struct.pack("!I", len(payload)) + payload + struct.pack("!I", zlib.crc32(kind + payload))


START = MAGIC + block(b"HEAD", HEADER.serialize())
SOURCE = block(b"SRCE", b"\0AB")


def motion(source: int) -> bytes:
    """A message that stands alone, with nothing in its frame."""
    return MotionMessage(0, 0, 0, 1, source, 0, 0).write(lambda coder: None)


MESSAGE = motion(0)
SHORT = MotionMessage(0, 1, 1, 1, None, None, None, 40).write(lambda coder: None)


@pytest.mark.parametrize(
    "data",
    [
        MAGIC,
        MAGIC + SOURCE,
        START,
        START + START[len(MAGIC) :],
        START + SOURCE + SOURCE,
        START + block(b"SRCE", b"\0"),
        START + SOURCE + block(b"JUNK", b""),
        START + SOURCE + block(b"mout", b""),
        START + SOURCE + block(b"mout", b"\0"),
        START + SOURCE + block(b"mout", b"\1AB"),
        START + block(b"mout", b"\0AB") + SOURCE,
        START + SOURCE + block(b"mout", b"\0AB") * (MAX_WINDOWS + 1),
        START + SOURCE + block(b"mout", bytes(MAX_WINDOW_BYTES + 2)),
        START + SOURCE + block(b"junk", bytes((4 << 20) + 1)),
        START + SOURCE + block(b"ju k", b""),
        START + SOURCE + block(b"junk", b"")[:-1] + b"\1",
        START + SOURCE + block(b"MOTN", b""),
        START + SOURCE + block(b"MOTN", motion(1)),
        START + SOURCE + block(b"MOTN", SHORT),
        START + SOURCE + block(b"MOTN", MESSAGE) + block(b"ENDS", struct.pack("!II", 2, 40)),
        START + SOURCE + block(b"ENDS", struct.pack("!II", 0, 0)) + SOURCE,
        START + SOURCE + block(b"ENDS", b"\0"),
        START + SOURCE + block(b"OPUS", b"\0"),
        START + SOURCE + block(b"OPUS", struct.pack("!qHHH", 0, 1, 960, 5) + b"abc"),
        START + SOURCE + block(b"OPUS", struct.pack("!qHHH", 0, 1, 960, 0)),
        START + SOURCE + block(b"OPUS", struct.pack("!qHHH", 0, 1, 960, 3) + b"abcd"),
        START + SOURCE + b"OPUS\xff\xff\xff\xff",
        *(MAGIC + block(b"HEAD", bytes([2]) + HEADER.serialize()[1:]) for _ in "1"),
        *(MAGIC + block(b"HEAD", HEADER.serialize()[:-1]) + SOURCE for _ in "1"),
        *(START + b"".join(block(b"SRCE", bytes([i, 65])) for i in range(17)) for _ in "1"),
    ],
)
def test_impossible_files_are_refused(data: bytes) -> None:
    with pytest.raises(BitstreamError):
        parse_vav(data)


def test_mouth_windows_stand_beside_their_source_image(tmp_path: Path) -> None:
    with VavWriter(tmp_path / "mouths.vav", HEADER) as writer:
        writer.source(0, b"A")
        writer.window(0, b"first")
        writer.window(0, b"second")
        writer.source(1, b"B")
        writer.window(1, b"third")
        writer.motion(MESSAGE)
        writer.motion(motion(1))
        writer.end(2, 80)
    vav = read_vav(tmp_path / "mouths.vav")
    assert vav.film_windows == {0: (b"first", b"second"), 1: (b"third",)}
    assert vav.window_bytes == 16


def test_in_a_call_mouth_windows_take_slots_and_leave_them(tmp_path: Path) -> None:
    with VavWriter(tmp_path / "call.vav", LIVE) as writer:
        writer.source(0, b"A")
        writer.clock(CaptureClock(0, 0))
        for slot, window in ((2, b"late"), (0, b"first"), (0, b"other"), (2, b""), (7, b"last")):
            writer.window(slot, window)
            writer.motion(MESSAGE)
        writer.end(5, 200)
    vav = read_vav(tmp_path / "call.vav")
    shown = [tuple(vav.windows[i] for i in message.windows) for message in vav.messages]
    assert shown == [(b"late",), (b"first", b"late"), (b"other", b"late"), (b"other",), (b"other", b"last")]
    data = (tmp_path / "call.vav").read_bytes()[: -len(block(b"ENDS", bytes(8)))]
    with pytest.raises(BitstreamError, match="slot"):
        parse_vav(data + block(b"mout", bytes([MAX_WINDOWS]) + b"A"))


def test_blocks_of_a_later_version_are_skipped() -> None:
    vav = parse_vav(START + SOURCE + block(b"newt", b"anything") + block(b"MOTN", MESSAGE))
    assert [message.data for message in vav.messages] == [MESSAGE]
    assert vav.images == [b"AB"]


def test_variable_frame_rate_and_no_sound(tmp_path: Path) -> None:
    header = VavHeader("paper", 20, 256, bytes(32), None, 1, 1, 0.0, 0.0, 1.0)
    assert VavHeader.parse(header.serialize()) == header


def test_oversized_parts_are_not_written(tmp_path: Path) -> None:
    with VavWriter(tmp_path / "big.vav", HEADER) as writer, pytest.raises(InputError):
        writer.source(0, bytes(MAX_SOURCE_BYTES + 1))


def test_missing_file() -> None:
    with pytest.raises(InputError):
        read_vav(Path("/nowhere/clip.vav"))


def test_source_image_round_trip() -> None:
    ramp = np.linspace(0, 255, 64).astype(np.uint8)
    picture = np.stack([np.tile(ramp, (64, 1)), np.tile(ramp[:, None], (1, 64)), np.full((64, 64), 90, np.uint8)], -1)
    data = encode_source(picture, 90)
    assert np.abs(decode_source(data).astype(int) - picture).mean() < 2
    assert encode_source(picture, 90) == data
    for broken in (b"", b"AB", data[: len(data) // 2], bytes(MAX_SOURCE_BYTES + 1)):
        with pytest.raises(BitstreamError):
            decode_source(broken)


def test_complete_file_leaves_nothing_half(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    path.write_text("old")

    def fail() -> None:
        with complete_file(path) as part:
            part.write_text("half")
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        fail()
    assert path.read_text() == "old"
    with complete_file(path) as part:
        part.write_text("new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_complete_file_needs_a_folder(tmp_path: Path) -> None:
    for place in (tmp_path / "missing" / "out.txt", tmp_path):
        with pytest.raises(InputError), complete_file(place):
            pass


LIVE = replace(HEADER, rate=None, audio_pre_skip=0, started_ms=1_800_000_000_123)
LIVE_START = MAGIC + block(b"HEAD", LIVE.serialize())
CLOCK = block(b"CLOK", struct.pack("!Iq", 5, 40))


def test_golden_bytes_of_a_recorded_call(tmp_path: Path) -> None:
    path = tmp_path / "call.vav"
    message = MotionMessage(7, 65535, 0, 1, 2, -3, 4_294_967_290).write(lambda coder: None)
    with VavWriter(path, LIVE) as writer:
        writer.source(2, b"AB")
        writer.clock(CaptureClock(4_294_967_290, -40))
        writer.motion(message)
        writer.audio([AudioPacket(48_000, 2880, b"\xfc\xff\xfe"), AudioPacket(50_880, 960, b"\x48")])
        writer.end(1, 1080)
        writer.flush()
        assert writer.written == path.stat().st_size
    assert path.read_bytes().hex() == (
        "895641560d0a1a0a"
        "48454144" + "00000052" + "02" + "05" + "736d616c6c" + "0002" + "0040" + bytes(range(32)).hex()
        + "00000000" + "00000000" + "00000280" + "00000168" + "43a04000" + "43344000" + "43480000" + "01" + "0000"
        + "000001a3185c507b" + _crc(path, 0)
        + "53524345" + "00000003" + "02" + "4142" + _crc(path, 1)
        + "434c4f4b" + "0000000c" + "fffffffa" + "ffffffffffffffd8" + _crc(path, 2)
        + "4d4f544e" + "0000000c" + "41" + "0007" + "ffff" + "fffffffa" + "0138cc"
        + _crc(path, 3)
        + "4f505553" + "00000016" + "000000000000bb80" + "0002" + "0b40" + "0003" + "fcfffe" + "03c0" + "0001" + "48"
        + _crc(path, 4)
        + "454e4453" + "00000008" + "00000001" + "00000438" + _crc(path, 5)
    )  # fmt: skip
    vav = read_vav(path)
    assert (vav.header, vav.images, vav.seconds) == (LIVE, [b"AB"], 1.08)
    (found,) = vav.messages
    assert (found.data, found.images) == (message, {2: 0})
    assert found.clock is not None
    assert [found.clock.at(ms) for ms in (4_294_967_290, 4_294_967_250, 34)] == [-40, -80, 0]  # over the wrap


def test_a_recorded_call_may_change_its_images_and_lack_them() -> None:
    assert parse_vav(LIVE_START).images == []
    message = block(b"MOTN", MESSAGE)
    vav = parse_vav(LIVE_START + SOURCE + CLOCK + message + SOURCE + message)
    assert [set(found.images.values()) for found in vav.messages] == [{0}, {1}]


def test_a_reader_skips_what_a_later_version_adds_to_a_recorded_call() -> None:
    later = MAGIC + block(b"HEAD", LIVE.serialize() + b"later") + block(b"note", b"later") + SOURCE + CLOCK
    vav = parse_vav(later + block(b"xTRA", bytes(100)) + block(b"MOTN", MESSAGE))
    assert (vav.header, len(vav.messages)) == (LIVE, 1)


@pytest.mark.parametrize(
    "data",
    [
        START + SOURCE + CLOCK,
        LIVE_START + block(b"NOTE", b""),
        LIVE_START + b"note\xff\xff\xff\xff",
        LIVE_START + SOURCE + block(b"MOTN", MESSAGE),
        LIVE_START + CLOCK + block(b"MOTN", MESSAGE),
        LIVE_START + block(b"CLOK", bytes(11)),
        MAGIC + block(b"HEAD", LIVE.serialize()[:-1]),
        MAGIC + block(b"HEAD", b"\x03" + LIVE.serialize()[1:]),
        *(LIVE_START + block(b"SRCE", b"\0A") * (MAX_LIVE_SOURCES + 1) for _ in "1"),
    ],
)
def test_impossible_recorded_calls_are_refused(data: bytes) -> None:
    with pytest.raises(BitstreamError):
        parse_vav(data)
