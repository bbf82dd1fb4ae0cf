"""Where keypoints are: a face of blurred noise that dense motion itself has moved, by displacements that are known."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from model.keypoint_layout import KeypointLayout
from model.motion import RESIDUAL_FLOW_PLACES, CanonicalKeypoints, Motion, compose
from model.networks.grid import pixel_grid
from model.networks.small.blocks import warp
from model.networks.small.dense_motion import KeypointTransforms, SmallDenseMotion, surface_flow
from model.networks.small_config import BODY, FEATURES, FREE, GUIDED, SMALL
from model.registration.keypoint_tracker import KeypointTracker, SmallAligner
from model.registration.keypoints import Alignment, AlignmentReference, align, corrected, thumbnails
from model.registration.similarity import GreyPyramid, thumbnail
from model.registration.tracker import MotionTracker
from model.talking_head import TalkingHead
from model.teacher.decompose import face_shape

K = SMALL.keypoints
PIXEL = 2 / 256


@dataclass
class Face:
    """A source image, and the frames that dense motion makes of it."""

    dense: SmallDenseMotion
    canonical: CanonicalKeypoints
    source: Motion
    picture: Tensor  # (1, 3, 256, 256)
    person: Tensor  # (1, 1, 256, 256) their share of each pixel

    def frame(self, driving: Motion) -> Tensor:
        grid = pixel_grid(256, 256, self.picture)
        keypoints = KeypointTransforms.of(self.canonical, self.source, driving, self.dense.layout)
        masks = self.dense.prior(grid, keypoints.driving).softmax(1)
        return warp(self.picture, surface_flow(masks, grid, keypoints), "bicubic").clamp(0, 1)

    def reference(self, count: int = 1) -> AlignmentReference:
        canonical, source = (
            CanonicalKeypoints(self.canonical.points.expand(count, -1, -1)),
            repeated(self.source, count),
        )
        features = {"quarter": torch.zeros(count, 32, 64, 64), "eighth": torch.zeros(count, 64, 32, 32)}

        def surface_motion(driving: Motion, _keypoints: KeypointTransforms) -> tuple[Tensor, Tensor]:
            motion = self.dense(features, canonical, source, driving)
            return motion.flow.permute(0, 3, 1, 2), motion.masks

        grey = thumbnails(self.picture).expand(count, -1, -1)
        return AlignmentReference.of(
            canonical, source, surface_motion, SMALL.layout, grey, self.person.expand(count, -1, -1, -1)
        )

    def flow(self, driving: Motion) -> Tensor:
        keypoints = KeypointTransforms.of(self.canonical, self.source, driving, SMALL.layout)
        return self.reference().surface_motion(driving, keypoints)[0]

    def aligned(self, driving: Motion, frame: Tensor, before: Alignment | None = None, hold: float = 0.0) -> Alignment:
        found: Alignment = align(self.reference(), driving, thumbnails(frame), before, hold)
        return found


def repeated(motion: Motion, count: int) -> Motion:
    return motion.map(lambda value: value.expand(count, *value.shape[1:]))


def motion(yaw: float = 0.0, x: float = 0.0) -> Motion:
    """A head of usual size, turned by `yaw`, and a body below it."""
    expression = torch.zeros(1, K, 3)
    expression[:, -len(BODY) :, :2] = (torch.tensor(BODY) - torch.tensor([x, 0.0])) / 0.7
    angle, place = torch.zeros(1), torch.tensor([[x, 0.0, 0.0]])
    return Motion(angle + yaw, angle, angle, place, angle + 0.7, expression)


@pytest.fixture(scope="module")
def face() -> Face:
    head = torch.from_numpy(np.concatenate([face_shape()[list(GUIDED)], np.array(FREE, np.float32)]))
    canonical = CanonicalKeypoints(F.pad(head, (0, 0, 0, len(BODY)))[None])
    noise = torch.rand(1, 1, 48, 48, generator=torch.Generator().manual_seed(0))
    picture = F.interpolate(noise, size=(256, 256), mode="bicubic").clamp(0, 1).expand(-1, 3, -1, -1)
    with torch.no_grad():
        return Face(SmallDenseMotion(SMALL).eval(), canonical, motion(), picture, torch.ones(1, 1, 256, 256))


def moved(driving: Motion, off: Tensor) -> Motion:
    return replace(driving, expression=corrected(driving.expression, off))


def displacements(sigma: float, seed: int = 0) -> Tensor:
    """(1, K, 2) as the extractor may be off: little at eyes and mouth."""
    off = torch.randn(1, K, 2, generator=torch.Generator().manual_seed(seed)) * sigma
    off[:, list(FEATURES)] *= 0.1
    return off


def gaps(face: Face, driving: Motion, off: Tensor, found: Alignment) -> Tensor:
    """Pixels (K,) by which content lies elsewhere where keypoints are that the picture shows."""
    true, found_motion = moved(driving, off), found.applied(driving)
    points = compose(face.canonical, true)[:, :, :2]
    flows = torch.cat([face.flow(true), face.flow(found_motion)])
    at = F.grid_sample(flows, points.expand(2, -1, -1)[:, None], align_corners=False)[:, :, 0]  # (2, 2, K)
    distance: Tensor = (at[0] - at[1]).norm(dim=0) / PIXEL
    return distance[(points[0].abs() < 0.9).all(-1)]


NOTHING = Alignment(torch.zeros(1, K, 2), torch.zeros(1, RESIDUAL_FLOW_PLACES, 2), torch.zeros(1, 128, 128))


@torch.no_grad()
@pytest.mark.parametrize("driving", [motion(), motion(yaw=12.0), motion(x=0.06)], ids=["still", "turned", "gone"])
def test_what_the_extractor_is_off_by_is_found(face: Face, driving: Motion) -> None:
    off = displacements(0.03)
    frame = face.frame(moved(driving, off))
    before, after = gaps(face, driving, off, NOTHING), gaps(face, driving, off, face.aligned(driving, frame))
    # Neighbours that go different ways are hardest; the extractor's errors have more in common.
    assert before.mean() > 1.0
    assert after.mean() < 0.6 * before.mean()


@torch.no_grad()
def test_where_nothing_has_moved_nothing_is_found(face: Face) -> None:
    driving = motion(yaw=5.0)
    found = face.aligned(driving, face.frame(driving))
    assert found.keypoint_correction.abs().max() < PIXEL / 0.7
    assert found.keypoint_correction.abs().mean() < 0.15 * PIXEL / 0.7
    assert found.residual_flow.abs().max() < PIXEL
    assert found.residual_flow.abs().mean() < 0.15 * PIXEL
    assert found.residual.abs().mean() < 3.0


@torch.no_grad()
def test_a_keypoint_of_the_head_does_not_wander(face: Face) -> None:
    """Frame by frame, as what passes behind hair takes it along."""
    driving, wandering = motion(), torch.zeros(1, K, 2)
    wandering[..., 0] = 0.02
    found = None
    for frame in range(1, 9):
        picture = face.frame(moved(driving, frame * wandering))
        found = face.aligned(driving, picture, found, hold=4.0)
        reach = torch.full((K,), 2 * 0.045)
        reach[: len(GUIDED)] = 2 * 0.03
        reach[list(FEATURES)] = 2 * 0.006
        length = 0.7 * found.keypoint_correction[0].norm(dim=-1)
        assert (length <= 1.001 * reach)[: -len(BODY)].all()
    assert found is not None
    assert (length >= 0.99 * reach)[list(FEATURES)].any()
    assert length[-len(BODY) :].max() > 0.09  # a body goes where it goes


@torch.no_grad()
def test_exposure_is_no_motion(face: Face) -> None:
    driving, off = motion(), displacements(0.03)
    frame = face.frame(moved(driving, off))
    found = face.aligned(driving, 0.9 * frame + 0.08)
    assert gaps(face, driving, off, found).mean() < 1.0


@torch.no_grad()
def test_a_hand_before_the_face_moves_only_what_is_near_it(face: Face) -> None:
    driving, off = motion(), displacements(0.03)
    frame = face.frame(moved(driving, off))
    frame[..., 150:, :90] = 0.9
    points = compose(face.canonical, driving)[0, :, :2]
    far = (((points[:, 0] > 0.1) | (points[:, 1] < -0.15)) & (points.abs() < 0.9).all(-1)).numpy()
    gap = (face.aligned(driving, frame).keypoint_correction - off).norm(dim=-1)[0] * 0.7 / PIXEL
    assert gap[torch.from_numpy(far)].mean() < 1.0


@torch.no_grad()
def test_another_picture_altogether_moves_keypoints_no_further_than_the_extractor_may_be_off(face: Face) -> None:
    noise = torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(9)).expand(-1, 3, -1, -1)
    found = face.aligned(motion(), F.interpolate(noise, size=(256, 256), mode="bicubic").clamp(0, 1))
    assert found.keypoint_correction.isfinite().all()
    assert found.keypoint_correction.abs().max() * 0.7 < 4 * 0.045
    assert found.residual_flow.abs().max() < 4 * 0.02


@torch.no_grad()
@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_a_picture_without_anything_to_see_leaves_the_extractors_word(face: Face, level: float) -> None:
    found = face.aligned(motion(), torch.full((1, 3, 256, 256), level))
    assert found.keypoint_correction.isfinite().all()
    assert found.keypoint_correction.abs().max() < 0.1
    assert found.residual_flow.abs().max() < 0.05


@torch.no_grad()
def test_a_batch_is_aligned_as_one_by_one(face: Face) -> None:
    drivings, offs = [motion(), motion(yaw=10.0)], [displacements(0.03), displacements(0.02, seed=1)]
    frames = [face.frame(moved(d, o)) for d, o in zip(drivings, offs, strict=True)]
    singly = [face.aligned(d, f) for d, f in zip(drivings, frames, strict=True)]
    both = Motion.concatenate(drivings)
    together = align(face.reference(2), both, thumbnails(torch.cat(frames)))
    torch.testing.assert_close(
        together.keypoint_correction, torch.cat([one.keypoint_correction for one in singly]), atol=2e-4, rtol=0
    )
    torch.testing.assert_close(
        together.residual_flow, torch.cat([one.residual_flow for one in singly]), atol=2e-4, rtol=0
    )
    torch.testing.assert_close(together.residual, torch.cat([one.residual for one in singly]), atol=1.0, rtol=0)
    first = together.where(torch.tensor([True, False]))
    assert torch.equal(first.keypoint_correction[0], together.keypoint_correction[0])
    assert not first.keypoint_correction[1].any()
    assert not first.residual_flow[1].any()


@torch.no_grad()
def test_the_search_goes_on_where_it_ended(face: Face) -> None:
    driving, off = motion(), displacements(0.03)
    frame = face.frame(moved(driving, off))
    once = face.aligned(driving, frame)
    again = face.aligned(driving, frame, once)
    assert gaps(face, driving, off, again).mean() <= gaps(face, driving, off, once).mean() + 0.05
    # What is held strongly stays where it was.
    near = replace(
        NOTHING, keypoint_correction=displacements(0.015), residual_flow=0.01 * torch.randn(1, RESIDUAL_FLOW_PLACES, 2)
    )
    held = face.aligned(driving, face.frame(driving), near, hold=1e6)
    torch.testing.assert_close(held.keypoint_correction, near.keypoint_correction, atol=0.1 * PIXEL, rtol=0)
    torch.testing.assert_close(held.residual_flow, near.residual_flow, atol=0.1 * PIXEL, rtol=0)


@torch.no_grad()
def test_what_no_keypoint_moves_is_shifted(face: Face) -> None:
    """A corner of the picture, far from head and body, that drifts by itself."""
    driving, drift = motion(), torch.zeros(1, RESIDUAL_FLOW_PLACES, 2)
    drift[:, [0, 1, 8, 9], 0] = 0.02
    true = replace(driving, residual_flow=drift)
    flow = face.flow(true)
    torch.testing.assert_close(
        flow[:, :, :4, :4] - face.flow(driving)[:, :, :4, :4],
        torch.full((1, 2, 4, 4), 0.02) * torch.tensor([1.0, 0.0])[:, None, None],
    )
    at = F.interpolate(flow, size=(256, 256), mode="bilinear").permute(0, 2, 3, 1)
    found = face.aligned(driving, warp(face.picture, at, "bicubic").clamp(0, 1))
    assert 0.01 < found.residual_flow[0, [0, 1, 8, 9], 0].mean() < 0.03
    assert found.residual_flow[0, 36:].abs().mean() < 0.003


@torch.no_grad()
def test_what_is_behind_the_person_moves_nothing(face: Face) -> None:
    """A bus passes beside the head."""
    driving, off = motion(), torch.zeros(1, K, 2)
    points = compose(face.canonical, driving)[0, :, :2]
    beside = points[:, 0] > 0.2
    off[:, beside, 0] = 0.03
    frame = face.frame(moved(driving, off))
    grid = pixel_grid(256, 256, face.picture)
    cut = replace(face, person=(grid[..., 0] < 0.05).float()[None, None])
    moves = [f.aligned(driving, frame).keypoint_correction[0, beside].norm(dim=-1).mean() for f in (face, cut)]
    assert moves[1] < 0.3 * moves[0]


@torch.no_grad()
def test_half_of_what_the_last_frame_lacked_is_forgiven(face: Face) -> None:
    """A light that stays on is no reason to move."""
    driving = motion()
    dark = face.frame(driving)
    lit = dark.clone()
    lit[..., 40:90, 40:90] = (lit[..., 40:90, 40:90] + 0.06).clamp(0, 1)
    unknown = face.aligned(driving, lit, NOTHING)
    assert unknown.residual[0, 22:43, 22:43].mean() > 10
    known = face.aligned(driving, lit, replace(NOTHING, residual=2 * (thumbnails(lit) - thumbnails(dark))))
    assert known.residual_flow.abs().mean() < 0.5 * unknown.residual_flow.abs().mean()


def test_thumbnails_of_tensors_are_those_of_pictures() -> None:
    crop = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    tensor = torch.from_numpy(crop).permute(2, 0, 1)[None] / 255
    assert np.abs(thumbnails(tensor)[0].numpy() - thumbnail(crop)).max() <= 0.5 + 1e-3


class Scripted:
    """Finds what it is told to, and remembers what it was asked."""

    def __init__(self, *found: float) -> None:
        shape = (RESIDUAL_FLOW_PLACES, 2)
        self._found = [
            Alignment(np.full((5, 2), f, np.float32), np.full(shape, -f, np.float32), np.zeros((128, 128), np.float32))
            for f in found
        ]
        self.asked: list[Alignment | None] = []

    def __call__(self, picture: GreyPyramid, motion: Motion, before: Alignment | None) -> Alignment:
        self.asked.append(before)
        return self._found[len(self.asked) - 1]


def still(k: int = 5) -> Motion:
    zero = np.float32(0)
    return Motion(zero, zero, zero, np.zeros(3, np.float32), np.float32(0.5), np.zeros((k, 3), np.float32))


def test_a_tracker_begins_where_it_was_and_carries_what_it_found() -> None:
    picture, aligner = GreyPyramid(np.zeros((128, 128), np.uint8)), Scripted(0.1, 0.2)
    tracker = KeypointTracker(aligner)
    assert tracker.extrapolated(still()).expression.max() == 0
    np.testing.assert_allclose(tracker.follow(picture, still()).expression[:, :2], 0.1)
    np.testing.assert_allclose(tracker.extrapolated(still()).expression, [[0.1, 0.1, 0]] * 5)
    np.testing.assert_allclose(tracker.extrapolated(still()).residual_flow, -0.1)
    tracker.follow(picture, still())
    assert aligner.asked[0] is None
    assert aligner.asked[1] is not None
    np.testing.assert_allclose(aligner.asked[1].keypoint_correction, 0.1)


def test_another_source_image_begins_anew() -> None:
    picture, first, second = GreyPyramid(np.full((128, 128), 90, np.uint8)), Scripted(0.1, 0.2), Scripted(0.3)
    tracker = MotionTracker(KeypointLayout(5))
    tracker.follow(picture, still())
    sources = [replace(tracker.reference(picture, still()), aligner=a) for a in (first, second)]
    tracker.follow(picture, still(), sources[0])
    assert tracker.extrapolated(still(), sources[1]).expression.max() == 0
    assert tracker.extrapolated(still(), sources[0]).expression.max() == pytest.approx(0.1)
    np.testing.assert_allclose(tracker.follow(picture, still(), sources[1]).expression[:, :2], 0.3)
    assert second.asked == [None]
    assert tracker.extrapolated(still()).expression.max() == 0


def test_a_talking_head_aligns_where_its_profile_can() -> None:
    crop = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    picture, small = torch.from_numpy(crop).permute(2, 0, 1), GreyPyramid(thumbnail(crop))
    head = TalkingHead.random()
    said = Motion.from_vector(head.extract(picture[None]).to_vector()[0])
    aligner = head.aligner(head.enrol(picture), small)
    assert isinstance(aligner, SmallAligner)
    found = aligner(small, said, None)
    assert found.keypoint_correction.shape == (head.profile.keypoints, 2)
    assert found.residual_flow.shape == (RESIDUAL_FLOW_PLACES, 2)
    assert found.residual.shape == (128, 128)
    assert np.abs(found.keypoint_correction).max() < 0.02
    again = aligner(small, said, found)
    np.testing.assert_allclose(again.keypoint_correction, found.keypoint_correction, atol=0.02)
    assert again.applied(said).to_vector().dtype == np.float32
    paper = TalkingHead.random("paper")
    assert paper.aligner(paper.enrol(picture), small) is None
