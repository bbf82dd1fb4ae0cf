"""Landmarks: the published networks in torch, the region they see, and the tracker that leads it through frames."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from model.errors import WeightsError
from model.evaluate.landmark_parity import differences, parity, summary
from model.landmarks.detector import ANCHORS, FaceDetector, detect, faces_of, search
from model.landmarks.indices import LEFT_EYE, LIPS, RIGHT_EYE
from model.landmarks.network import POINTS, LandmarkNetwork, crop_matrix, sample_crop, split
from model.landmarks.roi import Region
from model.landmarks.tracker import LandmarkTracker
from model.landmarks.weights import load_face_detector, load_landmark_network
from model.teacher.face_weights import FACE_DETECTOR, LANDMARKS, fetch, state_of
from model.teacher.landmarks import PYTHON, Teacher, TeacherError
from model.teacher.published_process import CONVOLUTION, DEPTHWISE, PRELU
from tests.child_process import report
from tests.model.clips import SIZE, portrait, write_clip

# MediaPipe 0.10.21's own landmarks of the portrait, pixels.
PUBLISHED = {
    1: (158.89, 129.90, -22.63),
    10: (162.50, 69.90, -10.40),
    152: (157.29, 176.71, 7.86),
    33: (130.89, 100.32, 4.71),
    133: (149.42, 103.37, 1.12),
    362: (172.25, 104.85, 0.65),
    263: (191.72, 104.00, 3.67),
    61: (138.17, 139.35, 7.47),
    291: (181.14, 140.54, 6.56),
    13: (158.96, 143.28, -5.75),
    14: (158.47, 150.28, -3.41),
    234: (115.15, 110.76, 41.40),
    454: (206.69, 115.56, 39.66),
    468: (139.35, 101.09, 1.04),
    473: (182.59, 103.43, 0.27),
}


@pytest.fixture(scope="module")
def network() -> LandmarkNetwork:
    return load_landmark_network()


@pytest.fixture(scope="module")
def detector() -> FaceDetector:
    return load_face_detector()


# The networks


def test_a_portrait_has_the_published_landmarks(network: LandmarkNetwork, detector: FaceDetector) -> None:
    found = LandmarkTracker(network, detector).update(portrait(), 0.0)
    assert found is not None
    assert found.points.shape == (POINTS, 3)
    assert found.points.dtype == np.float32
    assert 0.99 < found.confidence <= 1
    off = [np.abs(found.points[index] - point).max() for index, point in PUBLISHED.items()]
    assert max(off) < 0.25


@pytest.mark.slow
@pytest.mark.skipif(not PYTHON.exists(), reason="no teacher environment")
def test_a_moving_face_has_the_landmarks_that_mediapipe_follows(
    network: LandmarkNetwork, detector: FaceDetector
) -> None:
    frames = np.stack([np.roll(portrait(), (step, 2 * step), (0, 1)) for step in range(8)])
    with Teacher() as teacher:
        found, alone = differences(frames, teacher, LandmarkTracker(network, detector))
    assert len(found) == 8
    assert alone == 0
    figures = summary(found)
    assert figures["mean"] < 0.1
    assert figures["depth_mean"] < 0.1


@pytest.mark.slow
@pytest.mark.skipif(not PYTHON.exists(), reason="no teacher environment")
@pytest.mark.parametrize("stills", [False, True])
def test_parity_is_measured_on_clips(stills: bool, tmp_path: Path) -> None:
    write_clip(tmp_path / "clip.mp4", [0, 40, 80, 120])
    figures = parity([tmp_path / "clip.mp4"], 3, stills)
    assert (figures["clips"], figures["frames"], figures["compared"], figures["only_one_sees_a_face"]) == (1, 3, 3, 0)
    assert figures["mean"] < 0.3
    assert set(figures["worst_clips"]) == {"clip"}


def test_landmarks_turn_with_the_picture(network: LandmarkNetwork, detector: FaceDetector) -> None:
    upright = LandmarkTracker(network, detector).update(portrait(), 0.0)
    turned = np.asarray(Image.fromarray(portrait()).rotate(25, Image.Resampling.BICUBIC))  # counter-clockwise
    tilted = LandmarkTracker(network, detector).update(turned, 0.0)
    assert upright is not None
    assert tilted is not None
    angle = math.radians(-25)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    expected = (upright.points[:, :2] - SIZE / 2) @ turn.T + SIZE / 2
    assert np.linalg.norm(tilted.points[:, :2] - expected, axis=1).mean() < 1.5


@torch.no_grad()
def test_no_face_has_no_confidence(network: LandmarkNetwork, detector: FaceDetector) -> None:
    noise = torch.rand(1, 3, 192, 192, generator=torch.Generator().manual_seed(0))
    confidence, points = split(network(noise))
    assert confidence.shape == (1,)
    assert confidence[0] < 0.1
    assert points.shape == (1, POINTS, 3)
    blank = np.zeros((240, 320, 3), np.uint8)
    assert detect(detector, blank) == []
    assert LandmarkTracker(network, detector).update(blank, 0.0) is None


@torch.no_grad()
def test_a_batch_is_what_its_pictures_are(network: LandmarkNetwork, detector: FaceDetector) -> None:
    pictures = torch.rand(2, 3, 192, 192, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(network(pictures)[1:], network(pictures[1:]), rtol=1e-4, atol=1e-3)
    small = F.interpolate(pictures, size=128)
    torch.testing.assert_close(detector(small)[1:], detector(small[1:]), rtol=1e-4, atol=1e-3)


def test_refined_points_take_the_place_of_the_mesh() -> None:
    assert len(set(LIPS)) == len(LIPS) == 80
    assert len(set(LEFT_EYE)) == len(LEFT_EYE) == 71
    assert len(set(RIGHT_EYE)) == len(RIGHT_EYE) == 71
    assert not set(LIPS) & set(LEFT_EYE + RIGHT_EYE)
    assert not set(LEFT_EYE) & set(RIGHT_EYE)
    network = LandmarkNetwork()
    order = network.get_buffer("_order").tolist()
    assert len(order) == POINTS
    assert len(set(order)) == POINTS
    assert order[:1] + order[61:62] + order[33:34] == [468 + LIPS.index(0), 468, 548]
    assert order[263] == 548 + 71 + 5
    assert order[468:] == [*range(619, 624), *range(695, 700)]
    assert order[1] == 1


# The crops of lips and eyes


def test_a_crop_lies_around_its_points_and_along_its_line() -> None:
    box = torch.tensor([[[10.0, 20.0], [26.0, 20.0], [26.0, 28.0], [10.0, 28.0]]])
    matrix = crop_matrix(box, torch.tensor([[12.0, 24.0]]), torch.tensor([[20.0, 24.0]]))[0]
    torch.testing.assert_close(matrix @ torch.tensor([8.0, 8.0, 1.0]), torch.tensor([18.0, 24.0]))
    torch.testing.assert_close(matrix @ torch.tensor([0.0, 0.0, 1.0]), torch.tensor([6.0, 18.0]))
    torch.testing.assert_close(matrix @ torch.tensor([16.0, 16.0, 1.0]), torch.tensor([30.0, 30.0]))
    turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]])  # a quarter, clockwise as it is seen
    first, second = ((turn @ torch.tensor(end))[None] for end in ([12.0, 24.0], [20.0, 24.0]))
    turned = crop_matrix(box @ turn.T, first, second)[0]
    torch.testing.assert_close(turned, turn @ matrix, rtol=0, atol=1e-5)


def test_a_crop_is_sampled_at_the_centres_of_its_cells() -> None:
    features = torch.rand(1, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    shifted = torch.tensor([[[1.0, 0.0, 5.0], [0.0, 1.0, 7.0]]])
    torch.testing.assert_close(sample_crop(features, shifted), features[:, :, 7:23, 5:21], rtol=0, atol=1e-5)
    outside = sample_crop(features, torch.tensor([[[1.0, 0.0, -3.5], [0.0, 1.0, 40.0]]]))
    assert outside[0, :, :, :4].eq(0).all(), "also the half that bilinear sampling would let in"
    assert outside[0, :, 8:].eq(0).all()
    assert outside[0, :, :8, 4:].ne(0).all()


# The region of interest


def test_an_upright_region_of_the_same_size_is_the_frame() -> None:
    frame = portrait()
    expected = torch.from_numpy(frame[20:148, 40:168].copy()).permute(2, 0, 1)[None].float() / 255
    torch.testing.assert_close(Region(104, 84, 128).sample(frame, 128), expected, rtol=0, atol=1e-5)


def test_a_turned_region_is_the_frame_turned() -> None:
    frame = portrait()
    turned = Region(104, 84, 128, math.pi / 2).sample(frame, 128)
    expected = torch.from_numpy(frame[20:148, 41:169].copy()).permute(2, 0, 1)[None].float() / 255
    torch.testing.assert_close(turned, expected.rot90(1, (2, 3)), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    "region", [Region(0, 0, 64), Region(319, 10, 50, 0.4), Region(-500, 900, 30), Region(4, 4, 0.1)]
)
def test_beyond_the_frame_its_rim_goes_on_or_nothing(region: Region) -> None:
    frame = np.full((40, 320, 3), 255, np.uint8)
    assert region.sample(frame, 16).allclose(torch.ones(1, 3, 16, 16))
    black = region.sample(frame, 16, "zeros")
    assert black.min() >= 0
    assert black.max() <= 1 + 1e-6
    if region.x < 0:
        assert black.eq(0).all()


def test_a_frame_of_one_pixel_can_be_sampled() -> None:
    frame = np.full((1, 1, 3), 51, np.uint8)
    assert Region.whole(1, 1).sample(frame, 8).isfinite().all()


def test_points_go_back_to_where_they_were_sampled() -> None:
    region = Region(100, 50, 40, math.radians(30))
    corner, centre = region.to_frame(np.array([[0.0, 0.0, 0.0], [0.5, 0.5, 0.25]]))
    np.testing.assert_allclose(centre, [100, 50, 10], atol=1e-4)
    c, s = math.cos(region.angle), math.sin(region.angle)
    np.testing.assert_allclose(corner, [100 - 20 * c + 20 * s, 50 - 20 * s - 20 * c, 0], atol=1e-4)


def test_a_region_of_landmarks_is_square_wide_and_level_with_the_eyes() -> None:
    points = np.full((POINTS, 3), 50, np.float32)
    points[10, :2], points[152, :2] = (50, 10), (50, 110)
    points[33, :2], points[263, :2] = (30, 40), (70, 60)
    region = Region.of_landmarks(points)
    assert (region.x, region.y, region.side) == (50, 60, 150)
    assert region.angle == pytest.approx(math.atan2(20, 40))


# The detector


def test_two_faces_are_found_where_they_are(detector: FaceDetector) -> None:
    face = Image.fromarray(portrait())
    frame = np.zeros((480, 640, 3), np.uint8)
    frame[100:420, 0:320] = portrait()
    frame[150:430, 350:630] = np.asarray(face.resize((280, 280)))
    large, small = sorted(detect(detector, frame), key=lambda found: -found.height)
    assert np.hypot(large.x - 161, large.y - 226) < 8
    assert np.hypot(small.x - 350 - 161 * 280 / 320, small.y - 150 - 126 * 280 / 320) < 8
    assert large.height / small.height == pytest.approx(320 / 280, rel=0.1)
    assert large.eyes[0, 0] < large.x < large.eyes[1, 0]
    assert large.score > 0.7


@pytest.mark.parametrize("side", [200, 150, 120])
def test_a_small_face_is_searched_for(side: int, network: LandmarkNetwork, detector: FaceDetector) -> None:
    frame = np.full((360, 640, 3), 128, np.uint8)
    frame[90 : 90 + side, 400 : 400 + side] = np.asarray(Image.fromarray(portrait()).resize((side, side)))
    assert not any(face.score > 0.6 for face in detect(detector, frame))
    off = [np.hypot(face.x - 400 - side / 2, face.y - 90 - 126 * side / 320) for face in search(detector, frame)]
    assert min(off) < side / 10
    tracker = LandmarkTracker(network, detector)
    for step in range(20):
        found = tracker.update(frame, step / 5)
        assert found is not None
        assert np.hypot(*(found.points[1, :2] - (400 + 0.497 * side, 90 + 0.406 * side))) < side / 50


def logits() -> NDArray[np.float32]:
    """The detector's answer when it is sure of nothing but what is set afterwards."""
    output = np.zeros((ANCHORS, 17), np.float32)
    output[:, 0] = -200  # further than any sum may go
    return output


def test_overlapping_boxes_are_one_face() -> None:
    output = logits()
    assert faces_of(output) == []
    for anchor, score in ((0, 0.0), (1, math.log(3))):  # both of the first cell: scores 1/2 and 3/4
        output[anchor, 0] = score
        output[anchor, 3:5] = 32
    output[1, 1], output[1, 5] = 4, 8
    output[895, 0], output[895, 3:5] = 0.2, 16
    first, second = faces_of(output)
    assert first[1] == pytest.approx(0.75)
    assert first[0][0] == pytest.approx(1 / 32 + 4 / 128 * 0.6), "the mean, weighted by scores"
    assert first[0][4] == pytest.approx(1 / 32 + 8 / 128 * 0.6)
    assert first[0][1] == pytest.approx(1 / 32)
    assert second[0][:4] == pytest.approx([15 / 16, 15 / 16, 1 / 8, 1 / 8])


# The tracker, with networks that say what a test wants


class Scene:
    """Stands in for both networks: faces at places of a frame, seen by the landmarks' network where it looks there."""

    def __init__(self) -> None:
        self.detected: list[tuple[float, float, float]] = []  # x, y, side in pixels of the frame
        self.confident = True
        self.detections = self.measurements = 0

    def detector(self, picture: Tensor) -> Tensor:
        self.detections += 1
        output = logits()
        for index, (x, y, side) in enumerate(self.detected):
            anchor = 100 * index  # of the fine grid, two to a cell
            centre = np.array([anchor // 2 % 16 + 0.5, anchor // 2 // 16 + 0.5]) / 16
            offset = (np.array([x, y]) / SIZE - centre) * 128
            size = side / SIZE * 128
            output[anchor, :5] = (5 - index, *offset, size, size)
            output[anchor, 5:] = np.tile(offset, 6)
            output[anchor, 7] += size / 2  # the other eye, to the right
        return torch.from_numpy(output)[None]

    def landmarks(self, picture: Tensor) -> Tensor:
        """A face that fills two thirds of the square, wherever that is."""
        self.measurements += 1
        points = torch.full((POINTS, 3), 96.0)
        points[10, :2], points[152, :2] = torch.tensor([96.0, 32.0]), torch.tensor([96.0, 160.0])
        points[33, 0], points[263, 0] = 64, 128
        confidence = torch.tensor([1.0 if self.confident else 0.2])
        return torch.cat([confidence, points.flatten()])[None]

    def tracker(self) -> LandmarkTracker:
        return LandmarkTracker(self.landmarks, self.detector)


FRAME = np.zeros((SIZE, SIZE, 3), np.uint8)


def place(tracker: LandmarkTracker, time: float) -> tuple[int, int] | None:
    """Where the tracker sees the tip of the nose."""
    found = tracker.update(FRAME, time)
    return None if found is None else (round(float(found.points[1, 0])), round(float(found.points[1, 1])))


def test_a_face_is_acquired_once_and_followed_by_itself() -> None:
    scene = Scene()
    tracker = scene.tracker()
    assert place(tracker, 0.0) is None
    scene.detected = [(100, 120, 60)]
    assert [place(tracker, 0.1 + step / 25) for step in range(20)] == [(100, 120)] * 20
    assert (scene.detections, scene.measurements) == (1 + 9 + 1, 20), "nine squares: a fine search in vain"


def test_a_face_that_is_followed_is_checked_once_a_second() -> None:
    scene = Scene()
    scene.detected = [(100, 120, 60)]
    tracker = scene.tracker()
    for step in range(101):
        assert place(tracker, step / 25) == (100, 120)
    assert scene.detections == 5
    assert scene.measurements == 101, "a check costs a detection, no second measurement"
    assert len(tracker.faces) == 1


def test_a_lost_face_is_looked_for_in_the_same_frame() -> None:
    scene = Scene()
    scene.detected = [(250, 200, 80)]
    answers = [True, True, False, True]  # acquired, followed, lost, found anew

    def flickering(picture: Tensor) -> Tensor:
        scene.confident = answers.pop(0)
        return scene.landmarks(picture)

    tracker = LandmarkTracker(flickering, scene.detector)
    assert place(tracker, 0.0) == (250, 200)
    scene.detected = [(60, 60, 50)]
    assert place(tracker, 0.04) == (250, 200)
    assert place(tracker, 0.08) == (60, 60)
    assert not answers
    assert scene.detections == 2


def test_a_face_that_is_gone_is_none_until_it_is_back() -> None:
    scene = Scene()
    scene.detected = [(100, 120, 60)]
    tracker = scene.tracker()
    assert place(tracker, 0.0) is not None
    scene.confident, scene.detected = False, []
    assert [place(tracker, 0.04 * step) for step in range(1, 5)] == [None] * 4
    scene.confident, scene.detected = True, [(200, 220, 60)]
    assert place(tracker, 0.3) == (200, 220)


def test_the_one_who_is_followed_stays_the_one() -> None:
    scene = Scene()
    scene.detected = [(100, 120, 60), (250, 250, 50)]
    tracker = scene.tracker()
    assert place(tracker, 0.0) == (100, 120), "the largest face"
    scene.detected = [(250, 250, 90), (102, 121, 60)]
    assert place(tracker, 1.5) == (100, 120)
    assert [face.height for face in tracker.faces] == pytest.approx([90, 60])
    scene.detected = []  # a head turned away, which the detector does not see
    assert place(tracker, 3.0) == (100, 120)
    scene.detected = [(250, 250, 90)]
    assert place(tracker, 4.5) == (250, 250), "nobody is where the landmarks seemed to be"


def test_a_face_that_only_a_closer_look_confirms_stays_the_one() -> None:
    scene = Scene()
    scene.detected = [(100, 120, 20)]
    tracker = scene.tracker()
    assert place(tracker, 0.0) == (100, 120)
    looks: list[list[tuple[float, float, float]]] = [
        [(250, 250, 90)],
        [(160, 160, 120)],
    ]  # the frame; the middle of the region that is expected

    def detector(picture: Tensor) -> Tensor:
        scene.detected = looks.pop(0)
        return scene.detector(picture)

    tracker._detector = detector
    assert place(tracker, 1.5) == (100, 120)
    assert not looks


def test_without_a_face_the_fine_search_is_once_a_second() -> None:
    scene = Scene()
    tracker = scene.tracker()
    assert [place(tracker, step / 10) for step in range(10)] == [None] * 10
    assert scene.detections == 10 + 9  # nine squares of half the frame
    place(tracker, 1.0)
    assert scene.detections == 11 + 2 * 9


def test_a_confidence_that_is_no_number_is_none() -> None:
    scene = Scene()
    scene.detected = [(100, 120, 60)]
    tracker = LandmarkTracker(lambda picture: scene.landmarks(picture) * torch.nan, scene.detector)
    assert place(tracker, 0.0) is None


# Weights


def published(network: LandmarkNetwork | FaceDetector) -> dict[str, NDArray[np.generic]]:
    """Arrays as `published_process` writes them, each filled with its number."""
    arrays: dict[str, NDArray[np.generic]] = {}
    for index, (_, layer) in enumerate(network.layers()):
        if isinstance(layer, nn.Conv2d):
            depthwise = layer.groups > 1
            shape = tuple(layer.weight.shape[axis] for axis in ((1, 2, 3, 0) if depthwise else (0, 2, 3, 1)))
            arrays[f"{index} bias"] = np.full(layer.out_channels, -index, np.float16)
        else:
            depthwise, shape = False, (1, 1, layer.get_parameter("weight").numel())
        arrays[f"{index} weight"] = np.full(shape, index, np.float16)
        kind = DEPTHWISE if depthwise else CONVOLUTION if isinstance(layer, nn.Conv2d) else PRELU
        arrays[f"{index} kind"] = np.array(kind)
    return arrays


@pytest.mark.parametrize("make", [LandmarkNetwork, FaceDetector])
def test_published_arrays_find_their_layers(make: Callable[[], LandmarkNetwork | FaceDetector]) -> None:
    network = make()
    state = state_of(published(network), network)
    assert set(state) == set(network.state_dict())
    assert state["stem.0.weight"].eq(0).all()
    few = {name: value for name, value in published(network).items() if not name.startswith("3 ")}
    with pytest.raises(WeightsError, match=r"layers, \d+ are wanted"):
        state_of(few, network)
    other = published(network) | {"3 weight": np.zeros((1, 1, 1, 1), np.float16)}
    with pytest.raises(WeightsError, match="layer 3 does not fit"):
        state_of(other, network)


def test_branches_are_read_side_by_side() -> None:
    names = [name for name, _ in LandmarkNetwork().layers()]
    start = names.index("crops.lips.0.spread")
    assert names[start + 1 : start + 4] == ["crops.left.0.spread", "crops.right.0.spread", "crops.lips.0.mix"]
    heads = ["lips", "left_eye", "left_iris", "right_eye", "right_iris"]
    assert names[-6:] == [f"heads.{head}.points" for head in heads] + ["flag"]


def test_bad_files_are_one_clear_error(tmp_path: Path) -> None:
    for network in (LANDMARKS, FACE_DETECTOR):
        with pytest.raises(TeacherError, match="make teacher"):
            fetch(network, tmp_path / "out", tmp_path / "python")
    (tmp_path / "no.safetensors").write_bytes(b"nothing of the kind")
    for path in (tmp_path / "no.safetensors", tmp_path / "missing"):
        with pytest.raises(WeightsError, match="no LandmarkNetwork"):
            load_landmark_network(path)
        with pytest.raises(WeightsError, match="no FaceDetector"):
            load_face_detector(path)


# Compiled, in a process of its own

COMPILED = """
import json
from model.graphs.runtime import compile_graph
from model.graphs.tracing import trace
from model.landmarks.network import SIDE, split
from model.landmarks.roi import Region
from model.landmarks.tracker import LandmarkTracker
from model.landmarks.weights import load_face_detector, load_landmark_network
from tests.model.clips import portrait

networks, found = (load_landmark_network(), load_face_detector()), {}
pictures = (Region(161, 125, 161).sample(portrait(), 192), Region.whole(320, 320).sample(portrait(), 128))
graphs = [compile_graph(trace(n, (p,)), (p,), 1) for n, p in zip(networks, pictures)]
for name, network, graph, picture in zip(("landmarks", "detector"), networks, graphs, pictures):
    found[name] = float((network(picture) - graph(picture)).abs().max())
ours, theirs = (LandmarkTracker(*pair).update(portrait(), 0.0) for pair in (networks, graphs))
found["frame"] = float(abs(ours.points - theirs.points).max())
print(json.dumps(found))
"""


@pytest.mark.slow
def test_compiled_networks_equal_torch() -> None:
    found = report(COMPILED)
    assert set(found) == {"landmarks", "detector", "frame"}
    assert max(found.values()) < 1e-3
