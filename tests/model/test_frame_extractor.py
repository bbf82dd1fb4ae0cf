"""From a camera's frame to motion: the face where landmarks have it, held while it cannot be measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from model.codec.source_image import decode_source
from model.codec.vav import read_vav
from model.face.crop import Crop
from model.frame_extractor import HEAD_EVERY, FrameExtractor
from model.landmarks.roi import Region
from model.motion import Motion, compose
from model.networks.small.guided import with_canonical
from model.talking_head import TalkingHead

PORTRAIT = Path(__file__).parents[2] / "server" / "sender" / "media" / "portrait.vav"


@pytest.fixture(scope="module")
def head() -> TalkingHead:
    return TalkingHead.load()


@pytest.fixture(scope="module")
def source() -> NDArray[np.uint8]:
    """The source image of the built-in portrait, (256, 256, 3)."""
    return decode_source(read_vav(PORTRAIT).images[0])


def whole(frame: NDArray[np.uint8]) -> Crop:
    side = frame.shape[0]
    return Crop(side / 2, side / 2, side)


def as_tensor(picture: NDArray[np.uint8]) -> torch.Tensor:
    return torch.from_numpy(np.array(picture).transpose(2, 0, 1))


def test_a_frame_and_the_enrolled_source_have_the_same_face(head: TalkingHead, source: NDArray[np.uint8]) -> None:
    extractor = FrameExtractor(head)
    for _ in range(2):  # found around the head at first, then around the landmarks of the frame before
        picture, motion = extractor.extract(source, whole(source))
    state = head.enrol(as_tensor(source))
    face = head.profile.layout.face
    enrolled = compose(state.keypoints(), state.motion.to_numpy()[0])[face]
    np.testing.assert_allclose(compose(extractor.canonical, motion)[face], enrolled, atol=0.02)
    assert state.eyes is not None
    assert (state.eyes.axis.norm(dim=-1) > 0.02).all()
    assert picture.shape == source.shape
    moved = with_canonical(motion, extractor.canonical, state.keypoints(), head.profile.layout.face_count)
    np.testing.assert_allclose(compose(state.keypoints(), moved)[face], enrolled, atol=0.02)


def test_the_face_is_measured_in_the_camera_frame_not_in_the_crop(
    head: TalkingHead, source: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    camera = np.full((480, 640, 3), 90, np.uint8)
    camera[100:356, 200:456] = source
    seen: list[tuple[int, ...]] = []
    measured = head.landmarks

    def landmarks(frame: NDArray[np.uint8], region: Region) -> NDArray[np.float32] | None:
        seen.append(frame.shape)
        return measured(frame, region)

    monkeypatch.setattr(head, "landmarks", landmarks)
    extractor, alone = FrameExtractor(head), FrameExtractor(head)
    _, motion = extractor.extract(camera, Crop(328, 228, 256))
    assert set(seen) == {camera.shape}
    _, of_source = alone.extract(source, whole(source))
    face = head.profile.layout.face
    there, here = compose(extractor.canonical, motion)[face], compose(alone.canonical, of_source)[face]
    np.testing.assert_allclose(there, here, atol=0.02)


def test_a_frame_without_a_face_holds_the_last_expression(head: TalkingHead, source: NDArray[np.uint8]) -> None:
    extractor, black = FrameExtractor(head), np.zeros_like(source)
    count = head.profile.layout.face_count
    _, before = extractor.extract(source, whole(source))
    measured = [extractor.measured]
    _, hidden = extractor.extract(black, whole(source))
    assert [*measured, extractor.measured] == [True, False]
    np.testing.assert_array_equal(hidden.expression[:count], before.expression[:count])
    extracted = head.extract(as_tensor(black)[None]).to_numpy()[0]
    np.testing.assert_array_equal(hidden.expression[count:], extracted.expression[count:])
    _, again = extractor.extract(source, whole(source))
    np.testing.assert_allclose(again.expression[:count], before.expression[:count], atol=0.02)


def test_before_any_face_the_extractor_alone_speaks(head: TalkingHead, source: NDArray[np.uint8]) -> None:
    extractor, black = FrameExtractor(head), np.zeros_like(source)
    with pytest.raises(ValueError, match="no frame"):
        _ = extractor.canonical
    _, motion = extractor.extract(black, whole(source))
    extracted = head.extract(as_tensor(black)[None]).to_numpy()[0]
    np.testing.assert_array_equal(motion.to_vector(), extracted.to_vector())
    np.testing.assert_array_equal(extractor.canonical.points, head.canonical(as_tensor(black)[None]).points)


def test_between_two_frames_of_the_motion_extractor_the_head_follows_its_landmarks(
    head: TalkingHead, source: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = 0
    extract = head.extract

    def counted(frames: torch.Tensor) -> Motion:
        nonlocal seen
        seen += 1
        return extract(frames)

    monkeypatch.setattr(head, "extract", counted)
    extractor, crop = FrameExtractor(head), whole(source)
    shifted = [np.roll(source, 2 * i, axis=1) for i in range(4)]  # 2 pixels a frame to the right
    motions = [extractor.extract(frame, crop)[1] for frame in shifted]
    assert seen == len(shifted) / HEAD_EVERY
    places = [compose(extractor.canonical, motion)[head.profile.layout.head, 0].mean() for motion in motions]
    np.testing.assert_allclose(np.diff(places), 2 * 2 / source.shape[0], atol=0.01)


def test_another_crop_is_seen_by_the_motion_extractor(
    head: TalkingHead, source: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    extractor, crop = FrameExtractor(head), whole(source)
    extractor.extract(source, crop)
    wider = replace(crop, side=crop.side * 0.95)
    _, motion = extractor.extract(source, wider)
    _, alone = FrameExtractor(head).extract(source, wider)
    free = slice(head.profile.layout.face_count, None)
    gap = compose(extractor.canonical, motion)[free] - compose(extractor.canonical, alone)[free]
    assert np.abs(gap).max() < 0.1


def test_a_profile_without_landmarks_has_the_extractors_motion(source: NDArray[np.uint8]) -> None:
    untrained = TalkingHead.random("small")
    assert not untrained.has_landmarks
    _, motion = FrameExtractor(untrained).extract(source, whole(source))
    extracted = untrained.extract(as_tensor(source)[None]).to_numpy()[0]
    np.testing.assert_array_equal(motion.to_vector(), extracted.to_vector())
    assert untrained.enrol(as_tensor(source)).eyes is None


def test_a_source_without_a_face_is_enrolled_without_eyes(head: TalkingHead, source: NDArray[np.uint8]) -> None:
    state = head.enrol(as_tensor(np.zeros_like(source)))
    assert state.eyes is not None
    assert not state.eyes.axis.any()
    assert head.render([state], state.motion).shape == (1, 3, 256, 256)
