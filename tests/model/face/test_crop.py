"""The square crop: cutting, pasting back, and where it lies for a face or a whole clip."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from model.errors import NoFaceError, SeveralFacesError
from model.face.box import Box, are_several, main_face, only_face
from model.face.crop import Crop, covering_crop, face_crop
from model.motion import CanonicalKeypoints, Motion, compose
from model.teacher.decompose import CHIN, FOREHEAD, face_shape


def gradient(width: int, height: int) -> NDArray[np.uint8]:
    """A frame with x in the first channel and y in the second, both from 0 to 255 over the frame."""
    frame = np.zeros((height, width, 3), np.uint8)
    frame[..., 0] = np.linspace(0, 255, width)
    frame[..., 1] = np.linspace(0, 255, height)[:, None]
    return frame


def test_whole_pixels_are_copied() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    np.testing.assert_array_equal(Crop(40, 30, 20).cut(frame, 20), frame[20:40, 30:50])


def test_edges_are_repeated_beyond_the_frame() -> None:
    frame = gradient(64, 64)
    cut = Crop(0, 0, 32).cut(frame, 32)
    assert (cut[:15, :15] == frame[0, 0]).all()
    np.testing.assert_array_equal(cut[16:, 16:], frame[:16, :16])


def test_shrinking_averages_instead_of_skipping() -> None:
    frame = np.zeros((256, 256, 3), np.uint8)
    frame[::2, ::2] = 255  # a pattern that skipping would turn into black or white
    assert abs(Crop(128, 128, 256).cut(frame, 32).mean() - 64) < 4


@settings(max_examples=100, deadline=None)
@given(st.floats(-300, 400), st.floats(-300, 400), st.floats(0.5, 700), st.sampled_from([1, 16, 64]))
def test_any_crop_can_be_cut_and_pasted(x: float, y: float, side: float, size: int) -> None:
    frame = gradient(90, 70)
    crop = Crop(x, y, side)
    cut = crop.cut(frame, size)
    assert cut.shape == (size, size, 3)
    assert cut.dtype == np.uint8
    assert crop.paste(frame, cut).shape == frame.shape


def test_paste_inverts_cut() -> None:
    frame = gradient(200, 160)
    crop = Crop(90.3, 70.8, 101.5)
    pasted = crop.paste(frame, crop.cut(frame, 256))
    assert np.abs(pasted.astype(int) - frame).max() <= 3


def test_paste_is_feathered_and_leaves_its_argument_alone() -> None:
    frame = np.zeros((100, 100, 3), np.uint8)
    pasted = Crop(50, 50, 50).paste(frame, np.full((64, 64, 3), 200, np.uint8))
    assert not frame.any()
    assert (pasted[50, 50] == 200).all()
    assert 0 < pasted[50, 26, 0] < 100
    assert not pasted[:25].any()


def test_face_crop_stays_inside_the_frame() -> None:
    crop = face_crop(30, 40, 100, 640, 480)
    assert (crop.x, crop.y, crop.side) == pytest.approx((110, 110, 220))
    assert face_crop(320, 240, 400, 640, 480).side == 480


def test_covering_crop_holds_every_face() -> None:
    faces = np.array([[300, 300, 100], [420, 310, 100], [350, 380, 110]], np.float64)
    crop = covering_crop(faces, 1280, 720)
    left, top = crop.x - crop.side / 2, crop.y - crop.side / 2
    for x, y, tall in faces:
        assert left < x - 0.6 * tall
        assert x + 0.6 * tall < left + crop.side
        assert top < y - 0.6 * tall
        assert y + 0.6 * tall < top + crop.side


def test_one_main_face() -> None:
    speaker, poster, doubtful = Box(100, 100, 80, 1.5), Box(300, 40, 30, 0.9), Box(10, 10, 200, 0.25)
    assert main_face([]) is None
    assert main_face([doubtful]) == doubtful
    assert main_face([doubtful, poster, speaker]) == speaker
    assert not are_several([speaker, poster, doubtful])
    assert are_several([speaker, Box(400, 100, 70, 1.0)])
    assert only_face([speaker, poster]) == speaker
    with pytest.raises(NoFaceError):
        only_face([])
    with pytest.raises(SeveralFacesError):
        only_face([speaker, Box(400, 100, 70, 1.0)])


def test_box_of_a_pose_is_the_mean_face_in_that_pose() -> None:
    crop = Crop(400, 300, 200)
    one = np.ones((), np.float32)
    shape = face_shape()
    motion = Motion(one * 20, one * -10, one * 5, np.array([0.1, -0.2, 0], np.float32), one * 0.8, np.zeros_like(shape))
    ends = compose(CanonicalKeypoints(shape), motion)[[FOREHEAD, CHIN], :2].mean(0) * 100 + [400, 300]
    box = Box.from_pose(crop, 20, -10, 5, 0.8, (0.1, -0.2, 0))
    frontal = (shape[CHIN, 1] - shape[FOREHEAD, 1]) * 0.8 * 100
    assert abs(box.height - frontal) < 0.01 * frontal
    assert np.hypot(box.x - ends[0], box.y - ends[1]) < 0.1 * frontal
