"""Evaluation and rate-distortion on a tiny synthetic clip: a public-domain portrait that moves under the crop."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from skimage import data

from model.__main__ import main
from model.codec.rate import Rate
from model.errors import InputError, WeightsError
from model.evaluate import identity
from model.evaluate.channel import send
from model.evaluate.clips import Clip, find_clips, read_clip
from model.evaluate.evaluate import evaluate_clip, report, sheet, table
from model.evaluate.expression import FEATURES
from model.evaluate.free_view import Turned, summary, sweep
from model.evaluate.keypoint_warp import keypoint_warp
from model.evaluate.points68 import Points68
from model.evaluate.reenactment import reenact
from model.evaluate.scoring import Networks, Truth, mean_scores
from model.evaluate.survey import survey
from model.motion import View
from model.perceptual import weights as perceptual_weights
from model.perceptual.networks import Lpips
from model.talking_head import TalkingHead
from model.teacher.decompose import face_shape
from tests.model.evaluate.portrait_clip import extracted, moving_portrait


class DriftingLandmarks:
    """A landmark source that reports the mean face, never turned; moved by `offset` after the first call."""

    def __init__(self, offset: float = 0.0, absent: int = -1) -> None:
        self.offset, self.absent = offset, absent
        self.calls = 0

    def landmarks(
        self, frames: NDArray[np.uint8], tracking: bool = True
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        points = np.repeat(face_shape()[None] * 0.7, len(frames), 0)
        points[:, :, 0] += self.offset if self.calls else 0.0
        present = np.ones(len(frames), np.bool_)
        if self.calls and self.absent >= 0:
            present[self.absent] = False
        self.calls += 1
        return points.astype(np.float32), present


@pytest.fixture(scope="module")
def lpips() -> Lpips:
    generator = torch.Generator().manual_seed(0)
    weights = {
        name: torch.rand(shape, generator=generator) * 0.02 for name, shape in perceptual_weights.layout().items()
    }
    return Lpips(weights=weights)


def write_video(path: Path, frames: NDArray[np.uint8]) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        container.mux(stream.encode(None))


def test_scores_say_what_was_done_to_the_frames(lpips: Lpips, clip: Clip) -> None:
    landmarks = DriftingLandmarks(offset=4 * 2 / 256, absent=2)
    truth = Truth(clip.frames, Networks(lpips, landmarks, batch=3))
    scores = truth.score(np.clip(clip.frames.astype(int) + 10, 0, 255).astype(np.uint8))
    assert scores["akd"] == pytest.approx(4.0, abs=1e-3)
    assert scores["pose"] == pytest.approx(0.0, abs=1e-3)
    assert scores["missing"] == pytest.approx(1 / 5)
    assert scores["l1"] == pytest.approx(10 / 255, rel=0.05)
    assert scores["csim"] is None
    assert scores["flicker"] is not None
    assert scores["flicker"] < 0.002  # brighter, but steadily so
    assert truth.score(clip.frames, consecutive=False)["flicker"] is None
    with pytest.raises(ValueError, match="truth"):
        truth.score(clip.frames[1:])


def test_batches_of_scoring_do_not_change_the_scores(lpips: Lpips, clip: Clip) -> None:
    other = np.roll(clip.frames, 1, 0)
    whole, parts = (Truth(clip.frames, Networks(lpips, batch=n)).score(other) for n in (16, 2))
    whole_numbers, parts_numbers = ([v for v in s.values() if v is not None] for s in (whole, parts))
    assert len(whole_numbers) == 6
    # The pair of neighbours at a batch's edge belongs to one batch only.
    assert parts_numbers == pytest.approx(whole_numbers, rel=1e-4)


def test_evaluation_of_a_clip_reports_all_systems(lpips: Lpips, head: TalkingHead, clip: Clip, tmp_path: Path) -> None:
    result = evaluate_clip(head, clip, Networks(lpips, DriftingLandmarks()))
    assert set(result.scores) == {"model", "copy", "warp", "x264"}
    assert {frames.shape for frames in result.systems.values()} == {(4, 256, 256, 3)}
    assert np.array_equal(result.systems["copy"][3], clip.frames[0])
    figures = report({"a": result.scores, "b": result.scores})
    assert figures["copy"] == result.scores["copy"]
    assert figures["lpips_share"] == pytest.approx(figures["model"]["lpips"] / figures["copy"]["lpips"])
    json.dumps(figures, allow_nan=False)
    assert len(table(figures).splitlines()) == 1 + 4 * 3
    sheet(result).save(tmp_path / "sheet.png")
    every = evaluate_clip(head, extracted(head, "short", clip.frames[:3]), Networks(lpips), every=2)
    assert every.truth.shape[0] == 1
    # The one scored frame and the one before it: what scoring all frames finds for that pair.
    assert every.scores["copy"]["flicker"] == pytest.approx(
        float(np.abs(np.diff(clip.frames[:2].astype(np.float32), axis=0)).mean() / 255), rel=1e-4
    )
    with pytest.raises(ValueError, match="no clips"):
        report({})


@pytest.mark.slow
def test_expression_and_calls_stand_in_the_report(lpips: Lpips, head: TalkingHead, clip: Clip) -> None:
    result = evaluate_clip(head, clip, Networks(lpips, DriftingLandmarks()), in_call=True)
    assert set(result.scores) == {"model", "copy", "warp", "x264", "call", "call_loss"}
    assert set(result.expression) == {"model", "x264", "call", "call_loss"}
    assert all(set(read) == {"mesh"} for read in result.expression.values())
    told = [result.scores[name]["kbps"] for name in ("call", "call_loss")]
    assert all(kbps is not None and kbps > 0 for kbps in told)
    assert {frames.shape for frames in result.systems.values()} == {(4, 256, 256, 3)}
    figures = report({"a": result.scores}, {"a": result.expression})
    assert figures["expression"]["model"]["mesh"] == dict.fromkeys(FEATURES)  # a mean face that only drifts
    assert figures["expression"]["call"]["dlib"] == {}
    json.dumps(figures, allow_nan=False)
    lines = table(figures).splitlines()
    assert len(lines) == 1 + 6 * 2 + 2 + 4 * 2
    assert sum("mesh" in line for line in lines) == 4


def test_keypoint_warp_moves_pixels_with_their_keypoints() -> None:
    source = torch.zeros(1, 3, 64, 64)
    source[:, :, 30:34, 30:34] = 1.0
    at = torch.tensor([[[0.0, 0.0, 0.0], [0.8, 0.8, 0.0]]])
    moved = at + torch.tensor([[[10 * 2 / 64, 0.0, 0.0], [0.0, 0.0, 0.0]]])
    same = keypoint_warp(source, at, at)
    assert torch.allclose(same, source, atol=1e-5)
    warped = keypoint_warp(source, at, torch.cat([at, moved]))
    column = warped[1, 0].sum(0)
    centre = float((column * torch.arange(64)).sum() / column.sum())
    assert centre == pytest.approx(31.5 + 10, abs=1.0)


def test_free_view_reads_the_pose_against_the_one_asked_for(lpips: Lpips, head: TalkingHead, clip: Clip) -> None:
    seen = sweep(head, clip, Networks(lpips, DriftingLandmarks()), yaws=(-20.0, 0.0, 20.0), pitches=(0.0,))
    assert [one.view.yaw for one in seen] == [-20, 0, 20]
    assert all(one.frame.shape == (256, 256, 3) and one.csim is None for one in seen)
    figures = summary(seen)
    # The landmarks of this source never turn, so the error is the whole of what was asked for.
    assert figures["yaw_error_20"] == pytest.approx(20.0, abs=0.1)
    assert figures["csim_20"] is None
    unread = summary([Turned("a", View(yaw=20.0), seen[0].frame)])
    assert unread["grid"] == [
        {"yaw": 20.0, "pitch": 0.0, "yaw_error": None, "pitch_error": None, "csim": None, "read": 0.0}
    ]


def test_reenactment_keeps_the_source_and_takes_the_drivers_frames(lpips: Lpips, head: TalkingHead, clip: Clip) -> None:
    driving = extracted(head, "other", clip.frames[:, :, ::-1].copy())
    result = reenact(head, clip, driving, Networks(lpips, DriftingLandmarks()), count=3)
    assert result.frames.shape == (3, 256, 256, 3)
    assert np.array_equal(result.driving_frames, driving.frames[[0, 2, 4]])
    assert result.scores == {"csim": None, "pose": pytest.approx(0.0, abs=1e-3)}


def test_motion_goes_through_the_real_codec(head: TalkingHead) -> None:
    generator = np.random.default_rng(0)
    steps = generator.normal(0, 0.3, (40, head.profile.motion_size)).astype(np.float32) * 0.01
    vectors = steps.cumsum(0).astype(np.float32)
    vectors[:, 3] += 1
    fine, coarse = (send(head.statistics, vectors, Rate(step_index=step, frames_per_message=3)) for step in (-12, 12))
    assert len(fine.messages) == 14
    assert fine.kbps_wire() - fine.kbps() == pytest.approx(14 * 93 * 8 * 25 / 40 / 1000)
    assert coarse.kbps() < fine.kbps()
    errors = [np.abs(sent.vectors - vectors).mean() for sent in (fine, coarse)]
    assert errors[0] < errors[1]
    assert errors[0] < 0.01


def test_means_leave_out_what_a_clip_lacks() -> None:
    assert mean_scores([{"a": 1.0, "b": None}, {"a": 3.0, "b": 5.0}, {"c": None}]) == {"a": 2.0, "b": 5.0, "c": None}


def test_a_folder_with_a_bad_clip_loses_only_that_clip(lpips: Lpips, head: TalkingHead, tmp_path: Path) -> None:
    write_video(tmp_path / "good.mp4", moving_portrait(6))
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    write_video(tmp_path / "nobody.mp4", np.full((6, 128, 128, 3), 90, np.uint8))
    (tmp_path / "notes.txt").write_text("not a clip")
    paths = find_clips(tmp_path)
    assert [path.name for path in paths] == ["bad.mp4", "good.mp4", "nobody.mp4"]
    lines: list[str] = []
    sheets = tmp_path / "sheets"
    figures = survey(head, paths, Networks(lpips), max_frames=4, sheets=sheets, say=lines.append)
    assert set(figures["clips"]) == {"good"}
    assert set(figures["skipped"]) == {"bad.mp4", "nobody.mp4"}
    assert len(lines) == 3
    assert {path.name for path in sheets.iterdir()} == {"good.png", "view_good.png"}
    with pytest.raises(InputError, match="not a readable video"):
        survey(head, paths[:1], Networks(lpips))
    assert read_clip(head, tmp_path / "good.mp4", 3).frames.shape == (3, 256, 256, 3)


def test_a_clip_begins_where_its_face_is_first_seen(head: TalkingHead, tmp_path: Path) -> None:
    frames = moving_portrait(5)
    covered = np.concatenate([np.full_like(frames[:2], 120), frames])
    write_video(tmp_path / "covered.mp4", covered)
    clip = read_clip(head, tmp_path / "covered.mp4")
    assert clip.frames.shape == (5, 256, 256, 3)
    assert clip.frames[0].std() > 30
    assert clip.fps == pytest.approx(25.0)


def test_bad_arguments_are_one_line_and_exit_status_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("evaluate", "rd"):
        assert main([command, "--clips", str(tmp_path)]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.count("\n") == 1
        assert "no clips" in captured.err


def test_identity_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "PACKAGE", "visavis_has_no_such_package")
    with pytest.raises(WeightsError, match=r"requirements-evaluate\.txt"):
        identity.IdentityNetwork()


def test_identity_knows_a_person_again() -> None:
    try:
        network = identity.IdentityNetwork()
    except WeightsError as error:
        pytest.skip(str(error))
    portrait = data.astronaut()[:256, 96:352]
    box = network.find(portrait)
    assert box is not None
    same = network.embed(np.clip(portrait.astype(int) + 25, 0, 255).astype(np.uint8), box)
    spoilt = network.embed(np.roll(portrait, 40, 1), box)
    reference = network.embed(portrait, box)
    assert float(identity.similarity(reference, reference)) == pytest.approx(1.0, abs=1e-5)
    assert float(identity.similarity(same, reference)) > 0.8
    assert float(identity.similarity(spoilt, reference)) < 0.6
    assert network.find(np.full((64, 64, 3), 80, np.uint8)) is None
    assert identity.mean_embedding(network, [portrait]).shape == (128,)
    with pytest.raises(ValueError, match="no photo"):
        identity.mean_embedding(network, [])


def test_the_68_points_lie_on_the_face() -> None:
    pytest.importorskip("dlib", reason="dlib is an evaluation-only dependency")
    try:
        instrument = Points68()
    except WeightsError as error:
        pytest.skip(str(error))
    portrait = data.astronaut()[:256, 96:352]
    blank = np.full_like(portrait, 80)
    boxes = instrument.boxes(np.stack([blank, portrait, blank]))
    assert boxes is not None
    assert boxes == [boxes[1]] * 3  # where it is not seen: as in the frame before, or as first seen
    points = instrument.points(portrait[None], boxes[:1])
    assert points.shape == (1, 68, 2)
    left, top, right, bottom = boxes[0]
    assert (points[0].mean(0) > [left, top]).all()
    assert (points[0].mean(0) < [right, bottom]).all()
    assert points[0, 36:42, 1].mean() < points[0, 30, 1] < points[0, 62, 1] < points[0, 8, 1]  # eyes, nose, mouth, chin
    assert instrument.boxes(blank[None]) is None
