"""Preparing training data from a tiny clip, with landmarks given instead of the teacher's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from skimage.data import astronaut

from model.arrays import Floats
from model.errors import InputError
from model.face.crop import Crop
from model.motion import CanonicalKeypoints, Motion, compose
from model.teacher.decompose import decompose, face_shape
from model.teacher.landmarks import Teacher, TeacherError
from model.train import prepare
from model.train.clips import read_clip, shot_crops, stride, to_crop_units, to_pixels, write_clip
from model.train.pseudo_motion import Edit, move, pseudo_clip

# The pose, in units of the portrait's 512 pixels, that lays the mean face over the astronaut's.
CENTRE, SCALE = ((222 - 256) / 256, (95 - 256) / 256), 0.33


def landmarks_of(frames: int, yaw: float = 0.0, x: float = CENTRE[0]) -> Floats:
    shape = face_shape()
    turns = np.linspace(0, yaw, frames).astype(np.float32)
    zero = np.zeros(frames, np.float32)
    place = np.tile(np.array([x, CENTRE[1], 0], np.float32), (frames, 1))
    motion = Motion(turns, zero, zero, place, zero + np.float32(SCALE), np.zeros((frames, *shape.shape), np.float32))
    return np.asarray(compose(CanonicalKeypoints(shape[None]), motion), np.float32)


class GivenLandmarks:
    """Stands in for the teacher: the astronaut's face turning, missing in the frames that are told."""

    def __init__(self, missing: tuple[int, ...] = ()) -> None:
        self.missing = missing

    def landmarks(
        self, frames: NDArray[np.uint8], tracking: bool = True
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        present = ~np.isin(np.arange(len(frames)), self.missing)
        return landmarks_of(len(frames), 15.0) * present[:, None, None], present


@pytest.fixture
def clip(tmp_path: Path) -> prepare.Source:
    folder = tmp_path / "clips"
    folder.mkdir()
    write_clip(folder / "a.mp4", np.repeat(astronaut()[None], 40, 0), 25.0)
    (tmp_path / "clips.csv").write_text("file,person,licence_class,licence\na.mp4,p1,open,MIT\n")
    (source,) = prepare.list_sources(folder)
    return source


def test_a_clip_becomes_frames_labels_and_a_record(clip: prepare.Source, tmp_path: Path) -> None:
    (record,) = prepare.prepare_clip(clip, tmp_path, GivenLandmarks(missing=(3,)), size=128, every=None)
    assert record["dropped"] is None
    assert (record["name"], record["person"], record["licence_class"]) == ("a_0", "p1", "open")
    assert (record["frames"], record["fps"], record["kind"]) == (20, 12.5, "clip")
    ((frames, fps),) = read_clip(tmp_path / "a_0.mp4", every=1)
    assert frames.shape == (20, 128, 128, 3)
    assert fps == pytest.approx(12.5)
    with np.load(tmp_path / "a_0.npz") as data:
        points, present, pose = data["points"], data["present"], data["pose"]
    assert points.shape == (20, 478, 3)
    assert points.dtype == np.float16
    assert present.tolist() == [i != 3 for i in range(20)]
    np.testing.assert_allclose(pose[present, 0], np.linspace(0, 15, 20)[present], atol=0.3)
    assert np.abs(points[present][..., :2]).max() < 1, "the face lies inside the crop"


def test_a_clip_without_enough_face_is_dropped_with_a_reason(clip: prepare.Source, tmp_path: Path) -> None:
    records = prepare.prepare_clip(clip, tmp_path, GivenLandmarks(missing=tuple(range(5, 20))), size=128, every=None)
    assert all("face" in r["dropped"] for r in records)
    assert not list(tmp_path.glob("*.npz"))
    assert prepare.write_manifest(tmp_path, records) == (0, len(records))
    assert json.loads((tmp_path / "manifest.json").read_text()) == []


def test_a_fade_is_not_trained_on(tmp_path: Path) -> None:
    frames = np.repeat(astronaut()[None], 40, 0)
    frames[-2:] //= 4
    write_clip(tmp_path / "b.mp4", frames, 12.5)
    (source,) = prepare.list_sources(tmp_path)
    (record,) = prepare.prepare_clip(source, tmp_path, GivenLandmarks(), size=64, every=None)
    assert record["licence_class"] == "unknown"
    with np.load(tmp_path / "b_0.npz") as data:
        assert data["present"].tolist() == [True] * 38 + [False] * 2


def test_a_photo_becomes_a_pseudo_clip(tmp_path: Path) -> None:
    Image.fromarray(astronaut()).save(tmp_path / "s.png")
    (source,) = prepare.list_sources(tmp_path, kind="still")
    (record,) = prepare.prepare_still(source, tmp_path, GivenLandmarks(), size=64)
    assert (record["kind"], record["frames"], record["dropped"]) == ("still", prepare.STILL_FRAMES, None)
    with np.load(tmp_path / "s.npz") as data:
        assert len(data["points"]) == prepare.STILL_FRAMES
        assert np.ptp(data["pose"][:, 0]) > 5


def test_records_can_be_excluded_by_name() -> None:
    records: list[dict[str, Any]] = [{"name": "a", "dropped": None}, {"name": "b", "dropped": "too small"}]
    prepare.exclude(records, ["a", "b"])
    assert [r["dropped"] for r in records] == ["excluded by hand", "too small"]
    with pytest.raises(InputError, match="nobody"):
        prepare.exclude(records, ["nobody"])


def test_bad_input_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        prepare.list_sources(tmp_path / "nowhere")
    with pytest.raises(InputError, match="no clips"):
        prepare.list_sources(tmp_path)
    (tmp_path / "x.mp4").write_bytes(b"nothing of the kind")
    with pytest.raises(InputError, match="not a readable video"):
        list(read_clip(tmp_path / "x.mp4"))
    with pytest.raises(InputError, match="licence class open"):
        prepare.list_sources(tmp_path, licence="open")
    with pytest.raises(TeacherError, match="make teacher"):
        Teacher(tmp_path / "python").landmarks(np.zeros((1, 8, 8, 3), np.uint8))


def test_a_name_in_two_folders_is_refused(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("first", "second")]
    for folder, name in zip(folders, ("a.mp4", "b.mp4"), strict=True):
        folder.mkdir()
        (folder / name).touch()
    assert [source.path.name for source in prepare.list_all_sources(folders)] == ["a.mp4", "b.mp4"]
    (folders[1] / "a.mp4").touch()
    with pytest.raises(InputError, match="several folders: a"):
        prepare.list_all_sources(folders)


def test_stride_keeps_about_twelve_frames_a_second() -> None:
    assert [stride(fps, None) for fps in (12, 15, 24, 25, 30, 60)] == [1, 1, 2, 2, 2, 5]
    assert stride(25, 3) == 3


def test_units_go_to_pixels_and_back() -> None:
    points = landmarks_of(2)
    pixels = to_pixels(points, 640, 480)
    ((_, crop),) = shot_crops(pixels, np.ones(2, np.bool_), 640, 480, shortest=1)
    inside = to_crop_units(pixels, crop)
    np.testing.assert_allclose(inside[..., :2] * crop.side / 2 + [crop.x, crop.y], pixels[..., :2], atol=1e-3)
    # z keeps its proportion to x.
    np.testing.assert_allclose(
        np.ptp(inside[0, :, 2]) / np.ptp(inside[0, :, 0]), np.ptp(points[0, :, 2]) / np.ptp(points[0, :, 0]), rtol=1e-4
    )


def test_a_head_that_travels_gets_several_crops() -> None:
    places = np.repeat(np.array([-0.7, 0.0, 0.7], np.float32), 20)
    points = np.concatenate([landmarks_of(1, 0, float(x)) for x in places])
    stretches = shot_crops(to_pixels(points, 1280, 1280), np.ones(60, np.bool_), 1280, 1280)
    assert [(s.start, s.stop) for s, _ in stretches] == [(0, 20), (20, 40), (40, 60)]
    for stretch, crop in stretches:
        assert np.abs(to_crop_units(to_pixels(points[stretch], 1280, 1280), crop)[..., :2]).max() < 1


def test_pseudo_motion_moves_the_pose_as_told() -> None:
    points = landmarks_of(1)[0]
    moved, _, _ = move(points, Edit(yaw=10, pitch=-5, roll=4, scale=1.05, shift=(0.02, 0.01), lids=0.0, mouth=1.0))
    pose = decompose(moved[None])
    assert [float(a[0]) for a in (pose.yaw, pose.pitch, pose.roll)] == pytest.approx([10, -5, 4], abs=0.2)
    assert pose.scale[0] == pytest.approx(SCALE * 1.05, rel=1e-2)
    still, _, _ = move(points, Edit(0, 0, 0, 1, (0, 0), 0, 1))
    np.testing.assert_allclose(still, points, atol=1e-5)


def test_closing_the_lids_closes_the_eyes_only() -> None:
    points = landmarks_of(1)[0]
    closed, _, _ = move(points, Edit(0, 0, 0, 1, (0, 0), lids=1.0, mouth=1.0))
    upper, lower, corner = 159, 145, 61
    assert closed[lower, 1] - closed[upper, 1] < 0.05 * (points[lower, 1] - points[upper, 1])
    np.testing.assert_allclose(closed[corner], points[corner], atol=1e-6)


def test_pseudo_clip_begins_with_the_photo_and_pixels_follow_their_landmarks() -> None:
    photo = np.asarray(Image.fromarray(astronaut()).crop((70, 0, 370, 300)).resize((256, 256)), np.uint8)
    points = to_crop_units(to_pixels(landmarks_of(1)[0], 512, 512), Crop(220, 150, 300))
    frames, labels = pseudo_clip(photo, points, np.random.default_rng(5), frames=4, size=256)
    np.testing.assert_array_equal(frames[0], photo)
    np.testing.assert_array_equal(labels[0], points)
    for frame, label in zip(frames[1:], labels[1:], strict=True):
        assert np.abs(label - points).max() > 0.01
        # The nose's surroundings, cut where the label says, look like those of the photo.
        assert patch_error(photo, points[1], frame, label[1]) < 0.6 * patch_error(photo, points[1], frame, points[1])


def patch_error(photo: NDArray[np.uint8], at: Floats, frame: NDArray[np.uint8], where: Floats) -> float:
    def patch(picture: NDArray[np.uint8], point: Floats) -> NDArray[np.int64]:
        x, y = np.rint((point[:2] + 1) * 128 - 0.5).astype(int)
        return picture[y - 8 : y + 9, x - 8 : x + 9].astype(np.int64)

    return float(np.abs(patch(photo, at) - patch(frame, where)).mean())
