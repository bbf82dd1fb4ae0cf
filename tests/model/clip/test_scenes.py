"""Cuts of a film: another picture begins a scene, a nod, a blink and a flash do not; frames without a face hold."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from model.clip.encoder import EncodeFiles, EncodeOptions, encode_clip
from model.clip.scenes import CutDetector, find_scenes
from model.codec.decoder import MotionDecoder
from model.codec.packet import MotionMessage
from model.codec.vav import read_vav
from model.errors import NoFaceError
from model.face.finder import HeadFinder
from model.media.video import read_frames
from model.talking_head import TalkingHead
from tests.model.clips import portrait

HEAD = TalkingHead.random("small", seed=0)


def write(path: Path, pictures: Sequence[NDArray[np.uint8]]) -> None:
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=25)
        video.width, video.height, video.pix_fmt = pictures[0].shape[1], pictures[0].shape[0], "yuv420p"
        video.codec_context.qmin, video.codec_context.qmax = 2, 4
        for picture in pictures:
            container.mux(video.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), "rgb24")))
        container.mux(video.encode(None))


def moved(index: int) -> NDArray[np.uint8]:
    return np.roll(portrait(), index % 8, axis=1)


def other(index: int) -> NDArray[np.uint8]:
    """Somebody else: the portrait mirrored, in another light and elsewhere in the picture."""
    picture = np.full_like(portrait(), 30)
    picture[:, : -40 or None] = (portrait()[:, ::-1] // 2)[:, 40:]
    return np.roll(picture, index % 5, axis=0)


BLACK = np.zeros((320, 320, 3), np.uint8)


def test_only_another_picture_is_a_cut() -> None:
    detector = CutDetector()
    chance = np.random.default_rng(0)
    base = chance.integers(60, 200, (36, 64)).astype(np.uint8)
    nods = [np.roll(base, i % 2, 1) // 4 + 100 for i in range(30)]
    assert {detector.take(np.asarray(picture, np.uint8)) for picture in nods} == {0}
    assert detector.take(chance.integers(0, 255, (36, 64)).astype(np.uint8)) == 1
    assert detector.take(base) == 1  # right after a cut: a flash


def test_each_person_has_a_scene_and_nobody_has_none(tmp_path: Path) -> None:
    path = tmp_path / "film.mkv"
    write(path, [*[BLACK] * 6, *map(moved, range(10)), *[BLACK] * 6, *map(other, range(10)), *[BLACK] * 6])
    scenes = find_scenes(read_frames(path), HeadFinder())
    assert [(scene.begin, scene.end) for scene in scenes] == [(0, 22), (22, 38)]
    assert scenes[0].faceless == {*range(6), *range(16, 22)}
    assert scenes[1].faceless == set(range(32, 38))
    assert scenes[0].crop != scenes[1].crop


def test_a_film_of_nobody_has_no_scene(tmp_path: Path) -> None:
    write(tmp_path / "black.mkv", [BLACK] * 12)
    with pytest.raises(NoFaceError):
        find_scenes(read_frames(tmp_path / "black.mkv"), HeadFinder())


def test_a_cut_to_another_person_begins_a_source_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TalkingHead, "aligner", lambda *_: None)  # alignment takes long, and is not what is tested
    path, out = tmp_path / "film.mkv", tmp_path / "film.vav"
    write(path, [*map(moved, range(7)), *[BLACK] * 6, *map(other, range(7))])
    bars: dict[str, list[int | None]] = {}

    def progress(items, what, total):  # type: ignore[no-untyped-def]
        bars.setdefault(what, []).append(total)
        return items

    files = EncodeFiles.check(path, out, tmp_path / "crops.mkv")
    vav, _ = encode_clip(HEAD, files, EncodeOptions(), progress)
    assert len(vav.images) == 2
    assert [MotionMessage.parse(message.data).source for message in vav.messages] == [0, 1]
    decoder = MotionDecoder(HEAD.statistics)
    frames = [frame for message in read_vav(out).messages for frame in decoder.decode(message.data)]
    assert [frame.source for frame in frames] == [0] * 13 + [1] * 7
    # Nobody is seen in frames 7 to 12: they hold the pose of frame 6, within what the quantiser keeps.
    held = np.stack([frame.vector for frame in frames[6:13]])
    np.testing.assert_array_equal(held, np.repeat(held[:1], 7, 0))
    assert len(list(read_frames(tmp_path / "crops.mkv"))) == 20
    assert bars["register"] == [2 * 7 - 1 + 2, 2 * 7 - 1 + 2], "aligned twice, every fourth drawn"


@pytest.mark.slow
def test_registration_counts_every_step(tmp_path: Path) -> None:
    """Each bar of `encode` goes to its end: as many steps as were announced."""
    path = tmp_path / "film.mkv"
    write(path, list(map(moved, range(4))))
    steps: dict[str, int] = {}
    announced: dict[str, int | None] = {}

    def progress(items, what, total):  # type: ignore[no-untyped-def]
        announced[what] = total
        for item in items:
            steps[what] = steps.get(what, 0) + 1
            yield item

    encode_clip(HEAD, EncodeFiles.check(path, tmp_path / "film.vav"), EncodeOptions(audio=False), progress)
    assert steps == {"find head": 4, "extract motion": 4, "cut source images": 1, "register": 2 * 4 - 1 + 1}
    assert announced == steps | {"find head": None}
    assert read_vav(tmp_path / "film.vav").seconds == pytest.approx(0.16)
