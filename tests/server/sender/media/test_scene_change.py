"""When a live picture has become another: a cut, not a nod, a pan, a flash, or a hand before the lens."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from model.clip.scenes import SAMPLE, picture_sample
from server.sender.media.scene_change import SceneChange


def scene(number: int, shift: int = 0, light: float = 1.0) -> NDArray[np.uint8]:
    """A sample of a room of large shapes, moved by `shift` of its pixels."""
    noise = np.random.default_rng(number).integers(20, 236, (5, 8)).astype(np.float64)
    room = np.kron(noise, np.ones((8, 16)))[: SAMPLE[1], shift : shift + SAMPLE[0]]
    return np.asarray(np.clip(light * room, 0, 255), np.uint8)


def another(watch: SceneChange, samples: list[NDArray[np.uint8]], faces: bool = True) -> list[int]:
    """Which of these frames, all with a face or none, are found to be of another picture."""
    found = []
    for number, sample in enumerate(samples):
        watch.take(sample)
        if faces and watch.face_seen():
            found.append(number)
    return found


def test_a_cut_is_found_in_its_first_frame() -> None:
    assert another(SceneChange(), [scene(0)] * 10 + [scene(1)] * 10 + [scene(2)] * 10) == [10, 20]


def test_a_person_that_moves_a_pan_and_light_that_fades_are_no_cut() -> None:
    noisy = [scene(0) + np.random.default_rng(i).integers(0, 6, (36, 64)).astype(np.uint8) // 2 for i in range(30)]
    assert another(SceneChange(), noisy) == []
    assert another(SceneChange(), [scene(0, shift) for shift in range(60)]) == []
    assert another(SceneChange(), [scene(0, light=1 - 0.02 * i) for i in range(40)]) == []


@pytest.mark.parametrize(("after", "found"), [(0, []), (1, [0])])
def test_after_a_hand_before_the_lens_the_next_face_decides(after: int, found: list[int]) -> None:
    watch = SceneChange()
    another(watch, [scene(0)] * 10)
    dark = np.zeros((36, 64), np.uint8)
    assert watch.take(dark), "the face is looked for anew at once"
    another(watch, [dark] * 50, faces=False)
    assert another(watch, [scene(after)] * 10) == found


def test_a_flash_is_no_other_picture() -> None:
    white = np.full((36, 64), 255, np.uint8)
    watch = SceneChange()
    assert another(watch, [scene(0)] * 10) == []
    assert another(watch, [white] * 2, faces=False) == []
    assert another(watch, [scene(0)] * 10) == []


@pytest.mark.parametrize("size", [(1280, 720), (640, 480), (480, 640), (30, 20)])
def test_a_sample_is_small_whatever_the_camera(size: tuple[int, int]) -> None:
    picture = np.full((size[1], size[0], 3), (200, 100, 50), np.uint8)
    sample = picture_sample(picture)
    assert sample.shape == (SAMPLE[1], SAMPLE[0])
    assert int(sample.min()) == int(sample.max()) == 124  # ITU-R BT.601 luma
