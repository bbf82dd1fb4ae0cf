"""Eyes drawn anew: irises go where keypoints have them, nothing else moves, closed eyes are left alone."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from model.networks.small.eyes import CONTOURS, SourceEyes, draw_eyes, from_eye, to_eye
from model.networks.small_config import EYE_KEYPOINTS, GUIDED

SIZE = 256
HALF = 0.12  # crop units of half an eye's width
MIDDLES = ((-0.3, -0.1), (0.3, -0.1))
RADIUS = 0.3  # eye coordinates
SKIN, WHITE, DARK = 0.6, 0.9, 0.1


def face(opening: float = 0.7, tilt: float = 0.0) -> Tensor:
    """Landmarks (1, 478, 3) with two level eyes, whose lids are parabolas `opening` apart in eye coordinates."""
    points = torch.zeros(1, 478, 3)
    for (corners, upper, lower, iris), middle in zip(CONTOURS, MIDDLES, strict=True):
        u = torch.linspace(-1, 1, 9)[1:-1]
        arch = opening / 2 * (1 - u * u)
        places = {
            corners: (torch.tensor([-1.0, 1.0]), torch.zeros(2)),
            upper: (u, -arch),
            lower: (u, arch),
            iris: (torch.tensor([0, RADIUS, 0, -RADIUS, 0]), torch.tensor([0, 0, RADIUS, 0, -RADIUS])),
        }
        axis = HALF * torch.tensor([1.0, tilt])
        for indices, (a, b) in places.items():
            points[0, list(indices), :2] = from_eye(a, b, torch.tensor(middle), axis)
    return points


def keypoints(landmarks: Tensor) -> Tensor:
    return landmarks[:, list(GUIDED)]


def gazing(landmarks: Tensor, u: float, v: float = 0.0) -> Tensor:
    """Keypoints of a face whose irises have moved by so much in eye coordinates."""
    points = keypoints(landmarks).clone()
    for *_, iris in EYE_KEYPOINTS:
        points[:, iris, :2] += HALF * torch.tensor([u, v])
    return points


def picture(landmarks: Tensor) -> Tensor:
    """(1, 3, S, S): skin, white between the lids, a dark disc for each iris."""
    axis = (torch.arange(SIZE) * 2 + 1) / SIZE - 1
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    image = torch.full((SIZE, SIZE), SKIN)
    opening = float((landmarks[0, 145, 1] - landmarks[0, 159, 1]) / HALF)
    for middle in MIDDLES:
        u, v = to_eye(torch.stack([x, y], -1), torch.tensor(middle), torch.tensor([HALF, 0.0])).unbind(-1)
        image[(v.abs() < opening / 2 * (1 - u * u)) & (u.abs() < 1)] = WHITE
        image[(u * u + v * v < RADIUS**2) & (v.abs() < opening / 2 * (1 - u * u))] = DARK
    return image.expand(1, 3, SIZE, SIZE).contiguous()


def dark_centre(frame: Tensor, eye: int) -> Tensor:
    """Crop units (x, y) of the middle of what is dark in the left (0) or right (1) half of a frame (3, S, S)."""
    weight = (SKIN - 0.1 - frame[0]).clamp(min=0)
    axis = (torch.arange(SIZE) * 2 + 1) / SIZE - 1
    weight[:, axis < 0 if eye else axis > 0] = 0
    return torch.stack([(weight.sum(0) * axis).sum(), (weight.sum(1) * axis).sum()]) / weight.sum()


numbers = st.floats(-1, 1, width=32)


@given(numbers, numbers, numbers, numbers, st.floats(0.0625, 1, width=32), st.floats(-3, 3, width=32))
def test_eye_coordinates_and_back(u: float, v: float, x: float, y: float, size: float, angle: float) -> None:
    middle = torch.tensor([x, y])
    axis = size * torch.stack([torch.cos(torch.tensor(angle)), torch.sin(torch.tensor(angle))])
    place = from_eye(torch.tensor(u), torch.tensor(v), middle, axis)
    assert to_eye(place, middle, axis).tolist() == pytest.approx([u, v], abs=1e-4)
    assert to_eye(middle + axis, middle, axis).tolist() == pytest.approx([1, 0], abs=1e-4)


def test_lids_irises_and_corners_are_read_off_landmarks() -> None:
    eyes = SourceEyes.of(face(opening=0.6, tilt=0.2))
    assert eyes.middle.flatten().tolist() == pytest.approx([-0.3, -0.1, 0.3, -0.1], abs=1e-5)
    torch.testing.assert_close(eyes.axis, HALF * torch.tensor([1.0, 0.2]).expand(1, 2, 2))
    torch.testing.assert_close(eyes.iris, torch.zeros(1, 2, 2), atol=1e-5, rtol=0)
    torch.testing.assert_close(eyes.radius, torch.full((1, 2), RADIUS))
    arch = 0.3 * (1 - torch.linspace(-1, 1, 33) ** 2)
    torch.testing.assert_close(eyes.upper, -arch.expand(1, 2, 33), atol=0.01, rtol=0)
    torch.testing.assert_close(eyes.lower, arch.expand(1, 2, 33), atol=0.01, rtol=0)
    torch.testing.assert_close(eyes.lids, torch.tensor([-0.3, 0.3]).expand(1, 2, 2))


@pytest.mark.parametrize(("u", "v"), [(0.0, 0.0), (0.25, 0.0), (-0.3, 0.0), (0.15, 0.08)])
def test_an_iris_goes_where_its_keypoint_goes(u: float, v: float) -> None:
    source = face(opening=1.0)
    image, blank = picture(source), torch.full((1, 3, SIZE, SIZE), SKIN)
    drawn = draw_eyes(blank, image, SourceEyes.of(source), gazing(source, u, v))
    for eye in (0, 1):
        moved = dark_centre(drawn[0], eye) - dark_centre(image[0], eye)
        assert moved.tolist() == pytest.approx([HALF * u, HALF * v], abs=0.8 * 2 / SIZE)  # less than a pixel


def test_the_source_image_in_its_own_motion_keeps_its_eyes() -> None:
    source = face()
    image = picture(source)
    drawn = draw_eyes(image, image, SourceEyes.of(source), keypoints(source))
    assert (drawn - image).abs().mean() < 1e-3


def test_only_what_is_between_the_lids_is_drawn() -> None:
    source = face()
    blank = torch.full((1, 3, SIZE, SIZE), 0.3)
    drawn = draw_eyes(blank, picture(source), SourceEyes.of(source), gazing(source, 0.2))
    changed = (drawn != blank).any(1)[0]
    between = (picture(source) != SKIN).any(1)[0]
    assert changed.sum() > 0.5 * between.sum()
    # The border is soft: a pixel whose middle is a third of one beyond the lid's line is touched, too.
    around = F.max_pool2d(between[None].float(), 3, 1, 1)[0] > 0
    assert not (changed & ~around).any()
    beyond = (drawn - blank).abs().amax(1)[0][~between]
    assert beyond.max() < 0.2


@pytest.mark.parametrize("opening", [0.0, 0.04])
def test_a_closed_eye_of_the_source_is_left_to_the_generator(opening: float) -> None:
    source = face(opening)
    blank = torch.full((1, 3, SIZE, SIZE), 0.3)
    assert torch.equal(draw_eyes(blank, picture(source), SourceEyes.of(source), keypoints(face(0.7))), blank)


def test_closed_lids_hide_the_eye() -> None:
    source = face()
    blank = torch.full((1, 3, SIZE, SIZE), 0.3)
    assert torch.equal(draw_eyes(blank, picture(source), SourceEyes.of(source), keypoints(face(0.0))), blank)


def test_no_eyes_leave_the_frame_untouched() -> None:
    frame = torch.rand(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    none = SourceEyes.none(torch.device("cpu"))
    assert torch.equal(draw_eyes(frame, picture(face()), none, keypoints(face())), frame)


def test_a_batch_is_what_its_frames_are() -> None:
    sources = [face(), face(0.9, tilt=0.1), face()]
    images = torch.cat([picture(one) for one in sources])
    frames = torch.rand(3, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    eyes = [SourceEyes.of(sources[0]), SourceEyes.of(sources[1]), SourceEyes.none(torch.device("cpu"))]
    driving = torch.cat([gazing(sources[0], 0.2), gazing(sources[1], -0.1, 0.05), gazing(sources[2], 0.1)])
    driving[1, ..., :2] *= 1.2  # nearer: a wider window than the others'
    together = draw_eyes(frames, images, SourceEyes.joined(eyes), driving)
    for i in range(3):
        alone = draw_eyes(frames[i : i + 1], images[i : i + 1], eyes[i], driving[i : i + 1])
        torch.testing.assert_close(together[i : i + 1], alone, atol=1e-5, rtol=0)
    assert torch.equal(together[2], frames[2])


def test_eyes_at_the_rim_and_beyond_it_are_drawn_without_error() -> None:
    source = face()
    blank = torch.full((1, 3, SIZE, SIZE), 0.3)
    for shift in (0.65, 3.0, -3.0):
        driving = keypoints(source) + shift
        assert draw_eyes(blank, picture(source), SourceEyes.of(source), driving).isfinite().all()
    wide = keypoints(source) * 20  # eyes wider than the picture
    assert draw_eyes(blank, picture(source), SourceEyes.of(source), wide).isfinite().all()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e30])
def test_wild_keypoints_harm_neither_their_own_frame_nor_others(value: float) -> None:
    source = face()
    eyes, image = SourceEyes.of(source), picture(source)
    blank = torch.full((2, 3, SIZE, SIZE), 0.3)
    driving = gazing(source, 0.2).repeat(2, 1, 1)
    driving[1] = value
    drawn = draw_eyes(blank, image.repeat(2, 1, 1, 1), SourceEyes.joined([eyes, eyes]), driving)
    assert torch.equal(drawn[1], blank[1])
    torch.testing.assert_close(drawn[:1], draw_eyes(blank[:1], image, eyes, driving[:1]), atol=1e-5, rtol=0)
    for position in (0, 2, 8):  # one of an eye's keypoints alone
        driving[1] = driving[0]
        driving[1, position] = value
        drawn = draw_eyes(blank, image.repeat(2, 1, 1, 1), SourceEyes.joined([eyes, eyes]), driving)
        assert drawn.isfinite().all()
