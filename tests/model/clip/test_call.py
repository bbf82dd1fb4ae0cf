"""A recorded call before it is rendered: who is in a folder, frames in the order of time, everybody's sound as one."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.__main__ import main
from model.clip.call import check_call, check_times, single
from model.clip.call_pictures import FilmTile, call_frames
from model.clip.call_sound import film_sound, mixed, packets_sound
from model.clip.recorded_room import read_recorded_room
from model.clip.size import rendered_side, scaled
from model.codec.encoder import MotionEncoder
from model.codec.statistics import MotionStatistics
from model.codec.vav import AudioPacket, CaptureClock, VavHeader, VavWriter, read_vav
from model.errors import BitstreamError, InputError
from model.media.video import VideoWriter, encode_opus
from tests.model.codec.test_statistics import walk

STATISTICS = MotionStatistics.default(2)
HEADER = VavHeader("small", 2, 64, bytes(32), None, 64, 64, 32.0, 32.0, 64.0, 1, 0, 1_800_000_000_000)
ENTRY = {"file": "001.vav", "participant": "p1", "name": "Ada", "offset": 0.0}


def folder(path: Path, *entries: dict[str, Any]) -> Path:
    (path / "recording.json").write_text(json.dumps({"version": 1, "room": "lobby", "files": entries}))
    return path


def test_a_folder_says_who_is_in_it_and_gives_one_by_id_or_name(tmp_path: Path) -> None:
    other = ENTRY | {"file": "002.webm", "participant": "p2", "name": "Bob", "offset": 1.5, "later": "ignored"}
    folder(tmp_path, ENTRY, other)
    files = read_recorded_room(tmp_path)
    assert [(file.path.name, file.name, file.is_motion) for file in files] == [
        ("001.vav", "Ada", True),
        ("002.webm", "Bob", False),
    ]
    assert [file.offset for file in read_recorded_room(tmp_path, "Bob")] == [1.5]
    assert read_recorded_room(tmp_path, "p1") == files[:1]
    with pytest.raises(InputError, match="it has Ada, Bob"):
        read_recorded_room(tmp_path, "Eve")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        json.dumps({"files": [ENTRY | {"file": "../001.vav"}]}),
        json.dumps({"files": [ENTRY | {"file": "001.exe"}]}),
        json.dumps({"files": [ENTRY | {"offset": -1}]}),
        json.dumps({"files": [ENTRY | {"offset": "soon"}]}),
        json.dumps({"files": [{"file": "001.vav"}]}),
    ],
)
def test_a_manifest_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "recording.json").write_text(text)
    with pytest.raises(BitstreamError):
        read_recorded_room(tmp_path)


def test_what_cannot_be_rendered_is_said_before_the_model_is_loaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InputError, match="no recording"):
        read_recorded_room(tmp_path)
    folder(tmp_path)
    with pytest.raises(InputError, match="no files"):
        check_call(read_recorded_room(tmp_path), tmp_path / "out.mp4")
    with VavWriter(tmp_path / "call.vav", HEADER) as writer:
        writer.end(0, 0)
    check_call([single(tmp_path / "call.vav")], tmp_path / "out.mp4")
    for arguments, words in (
        (["--participant", "Ada"], "--participant"),
        (["--source", str(tmp_path / "face.png")], "--source"),
    ):
        assert main(["decode", str(tmp_path / "call.vav"), str(tmp_path / "out.mp4"), *arguments]) == 2
        assert words in capsys.readouterr().err


def test_frames_come_in_the_order_of_time_without_what_was_lost(tmp_path: Path) -> None:
    encoder = MotionEncoder(STATISTICS, epoch=3)
    messages = [encoder.encode(vector, 1000 + 40 * n) or encoder.flush() or b"" for n, vector in enumerate(walk(30, 2))]
    order = [*range(5), 6, 5, *range(7, 20), *range(21, 30)]  # intra frames, since nothing was acknowledged
    with VavWriter(tmp_path / "call.vav", HEADER) as writer:
        writer.source(0, b"image")
        writer.clock(CaptureClock(1000, 500))
        for number in order:
            if number == 25:
                writer.clock(CaptureClock(1000, 540))
            writer.motion(messages[number])
    frames = list(call_frames(STATISTICS, read_vav(tmp_path / "call.vav"), tmp_path))
    times = [frame.ms for frame in frames]
    assert times == sorted(set(times))
    assert set(times) == {500 + 40 * n + (40 if n >= 25 else 0) for n in range(30) if n != 20}


def test_a_call_of_days_is_damage_and_not_rendered(tmp_path: Path) -> None:
    encoder = MotionEncoder(STATISTICS, epoch=3)
    message = encoder.encode(walk(1, 2)[0], 1000) or encoder.flush() or b""
    for name, at_ms, start in (("motion", 86_400_000, 0), ("sound", 0, 86_400 * 48_000)):
        with VavWriter(tmp_path / name, HEADER) as writer:
            writer.source(0, b"image")
            writer.clock(CaptureClock(1000, at_ms))
            writer.motion(message)
            writer.audio([AudioPacket(start, 960, b"\x48")])
        with pytest.raises(BitstreamError, match="24 hours"):
            check_times(read_vav(tmp_path / name), tmp_path / name)
    assert sum(1 for _ in zip(mixed([iter([(10**15, tone(0.1)[:, 0])])]), range(10), strict=False)) == 10


def tone(seconds: float, level: float = 0.3) -> np.ndarray[Any, Any]:
    wave = level * np.sin(np.arange(round(48_000 * seconds)) * 2 * np.pi * 400 / 48_000)
    return np.asarray(wave[:, None], np.float32)


def packets(seconds: float, start: int) -> list[AudioPacket]:
    return [AudioPacket(p.start + start, p.duration, p.data) for p in encode_opus(iter([tone(seconds)]), 1)]


def test_everybodys_sound_is_one_without_gaps() -> None:
    # From 0.5 s to 1.5 s, and from 1.0 s to 3.0 s; between them both are heard.
    sources = [packets_sound(packets(1.0, 24_000), 0), packets_sound(packets(2.0, 0), 48_000)]
    seconds = list(mixed(sources))
    assert [piece.shape for piece in seconds] == [(48_000, 1)] * len(seconds)
    sound = np.concatenate(seconds)[:, 0]
    loud = [float(np.abs(sound[round(48_000 * a) : round(48_000 * b)]).max()) for a, b in ((0, 0.4), (0.6, 0.9))]
    assert loud[0] < 0.01
    assert loud[1] > 0.2
    assert np.abs(sound[48_000 * 2 : 48_000 * 2 + 40_000]).max() > 0.2
    assert np.abs(sound).max() <= 1.0


def test_packets_that_are_damaged_are_silence() -> None:
    good = packets(1.0, 0)
    bad = [AudioPacket(p.start, p.duration, b"\xff" if 10 < n < 20 else p.data) for n, p in enumerate(good)]
    assert len(list(packets_sound(bad, 0))) == len(good) - 9


def test_a_cameras_film_stands_where_it_began(tmp_path: Path) -> None:
    path = tmp_path / "001.mp4"
    with VideoWriter(path, (64, 36), Fraction(25), audio_channels=1) as writer:
        for number in range(25):
            writer.frame(np.full((36, 64, 3), 10 * number, np.uint8), Fraction(number, 25))
        for packet in packets(1.0, 0):
            writer.sound(packet.start, packet.duration, packet.data)
    tile = FilmTile(path, Fraction(2), 48)
    assert tile.due(Fraction(199, 100)) is None
    picture = tile.due(Fraction(2) + Fraction(12, 25))
    assert picture is not None
    assert picture.shape == (48, 48, 3)
    assert abs(float(picture[20:28].mean()) - 120) < 4
    assert picture[:8].max() < 20, "whole in a square, with black beside it"
    before = tile.ended
    tile.due(Fraction(4))
    assert (before, tile.ended) == (False, True)
    starts = [start for start, _ in film_sound(path, 96_000)]
    assert abs(starts[0] - 96_000) <= 400


def test_any_even_side_is_made_of_the_nearest_that_is_rendered() -> None:
    assert [rendered_side((256, 512), side) for side in (64, 256, 258, 512, 1080)] == [256, 256, 512, 512, 512]
    assert scaled(np.zeros((256, 256, 3), np.uint8), 96).shape == (96, 96, 3)
    for side in (63, 257, 4096):
        with pytest.raises(InputError):
            rendered_side((256, 512), side)
