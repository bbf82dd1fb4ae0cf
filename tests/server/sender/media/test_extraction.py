"""From frames to motion with a made-up model: sources chosen, refused, refreshed; faces lost; avatars."""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from model.codec.source_image import decode_source
from model.codec.window import decode_window
from model.errors import NoFaceError, VisavisError
from model.face.box import Box
from model.face.crop import Crop
from model.keypoint_layout import KeypointLayout
from model.motion import RESIDUAL_FLOW_PLACES, CanonicalKeypoints, Motion
from model.networks.small_config import FREE, GUIDED, SMALL
from model.registration.keypoint_tracker import Aligner
from model.registration.keypoints import Alignment
from model.registration.similarity import GreyPyramid
from model.registration.tracker import SourceReference
from model.window.corners import corner_coordinates
from model.window.mouth import MouthWindow
from server.sender.media.alignment_rhythm import ALIGN_EVERY, ALIGN_SHARE, WAIT, AlignmentRhythm
from server.sender.media.capture import CapturedFrame, FrameMailbox
from server.sender.media.extraction import NEW_SCENE, NO_FACE, SEVERAL_FACES, Extraction
from server.sender.media.extractor import Avatar
from server.sender.media.samples import MotionSample, SourceImage, StageTimes, WindowUpload
from server.sender.media.source_choice import FIRST_WINDOW, SETTLE, EnrolledSource
from tests.model.eyes import eyes
from tests.model.mouths import lips

SIZE = 128
K = SMALL.keypoints


def face() -> CanonicalKeypoints:
    """A face of a few points where eyes and mouth are; the others in its middle."""
    points = np.zeros((K, 3), np.float32)
    for side, (outer, inner, upper, lower) in ((-1, (33, 133, 159, 145)), (1, (263, 362, 386, 374))):
        for index, place in ((outer, (0.3, 0.0)), (inner, (0.1, 0.0)), (upper, (0.2, -0.03)), (lower, (0.2, 0.03))):
            points[GUIDED.index(index)] = side * place[0], place[1], -0.1
    for index, place in ((61, (-0.15, 0.3)), (291, (0.15, 0.3)), (13, (0.0, 0.3)), (14, (0.0, 0.3))):
        points[GUIDED.index(index)] = *place, -0.15
    points[len(GUIDED) : len(GUIDED) + len(FREE)] = FREE
    return CanonicalKeypoints(points)


def motion(yaw: float = 0.0, scale: float = 1.0) -> Motion:
    zero = np.float32(0)
    return Motion(np.float32(yaw), zero, zero, np.zeros(3, np.float32), np.float32(scale), np.zeros((K, 3), np.float32))


class FakeModel:
    """Reads the head's yaw off the picture's upper left corner: 128 is frontal."""

    size = SIZE
    layout = KeypointLayout(K)
    has_landmarks = False

    def __init__(self) -> None:
        self.enrolled = 0
        self.aligned = 0
        self.restarts = 0
        self.scale = 1.0
        self.takes: Callable[[], None] = lambda: None  # what an alignment takes

    def source_size(self, available: float) -> int:
        return 2 * SIZE if available >= 1.5 * SIZE else SIZE

    @property
    def canonical(self) -> CanonicalKeypoints:
        return face()

    @property
    def measured(self) -> bool:
        return True

    @property
    def face(self) -> Box | None:
        return None

    def restart(self) -> None:
        self.restarts += 1

    def extract(self, frame: NDArray[np.uint8], crop: Crop) -> tuple[NDArray[np.uint8], Motion]:
        picture = crop.cut(frame, SIZE)
        return picture, self.read(picture)

    def read(self, picture: NDArray[np.uint8]) -> Motion:
        return motion(float(picture[0, 0, 0]) - 128.0, self.scale)

    def relative_to(self, source: EnrolledSource, motion: Motion) -> Motion:
        return motion

    def enrol(self, picture: NDArray[np.uint8], reference: SourceReference | None = None) -> EnrolledSource:
        self.enrolled += 1
        if reference is not None:
            reference = replace(reference, aligner=self.aligner())
        return EnrolledSource(face(), self.read(picture), K, reference)

    def aligner(self) -> Aligner:
        def aligned(picture: GreyPyramid, motion: Motion, before: Alignment | None) -> Alignment:
            self.aligned += 1
            self.takes()
            off = np.full((K, 2), 0.01 * self.aligned, np.float32)
            return Alignment(off, np.zeros((RESIDUAL_FLOW_PLACES, 2), np.float32), np.zeros((128, 128), np.float32))

        return aligned


class FakeTracker:
    """Sees a face wherever the picture is not black."""

    def __init__(self) -> None:
        self.several = False
        self.elapsed: list[float] = []
        self.hints: list[Box] = []
        self.restarts = 0

    def restart(self) -> None:
        self.restarts += 1

    def update(self, frame: NDArray[np.uint8], elapsed: float) -> Crop | None:
        self.elapsed.append(elapsed)
        side = len(frame)
        return Crop(side / 2, side / 2, float(side)) if frame.any() else None

    def hint(self, face: Box, measured: bool = False) -> None:
        self.hints.append(face)


class Listener:
    def __init__(self) -> None:
        self.sources: list[SourceImage] = []
        self.windows: list[WindowUpload] = []
        self.motions: list[tuple[MotionSample, StageTimes]] = []
        self.presence: list[str | None] = []
        self.notices: list[str] = []
        self.failures: list[BaseException] = []

    def on_source(self, source: SourceImage) -> None:
        self.sources.append(source)

    def on_window(self, window: WindowUpload) -> None:
        self.windows.append(window)

    def on_motion(self, sample: MotionSample, stages: StageTimes) -> None:
        self.motions.append((sample, stages))

    def on_presence(self, problem: str | None) -> None:
        self.presence.append(problem)

    def on_notice(self, text: str) -> None:
        self.notices.append(text)

    def on_failure(self, error: BaseException) -> None:
        self.failures.append(error)


class Bench:
    """An extraction, stepped by hand."""

    def __init__(self, avatar_yaw: int | None = None) -> None:
        self.model, self.tracker, self.heard = FakeModel(), FakeTracker(), Listener()
        avatar = Avatar(picture(avatar_yaw), self.model) if avatar_yaw is not None else None
        self.mailbox = FrameMailbox()
        self.now = 0.0
        self.extraction = Extraction(
            self.mailbox, self.tracker, self.model, self.heard, clock=lambda: self.now, avatar=avatar
        )

    def show(self, yaw: int | None, count: int = 1, scene: int = 0) -> None:
        """`count` frames, 40 ms apart, of a head turned by `yaw` degrees; None: nobody there."""
        for _ in range(count):
            image = np.zeros((SIZE, SIZE, 3), np.uint8) if yaw is None else picture(yaw, scene)
            self.extraction.step(CapturedFrame(image, self.now, 0.003))
            self.now += 0.04

    def wait(self, seconds: float) -> None:
        """Let time pass within a step."""
        self.now += seconds

    def choose(self) -> SourceImage:
        """Until the first source is chosen and with the receiver."""
        self.show(0, round(FIRST_WINDOW / 0.04) + 1)
        (source,) = self.heard.sources
        self.extraction.source_taken(source.index)
        return source


def picture(yaw: int, scene: int = 0) -> NDArray[np.uint8]:
    image = np.random.default_rng(0).integers(1, 256, (SIZE, SIZE, 3), np.uint8)
    if scene:
        image = np.clip(image // 4 + 60 * scene, 1, 255).astype(np.uint8)
    image[:2, :2] = 128 + yaw
    return image


@pytest.mark.parametrize(("side", "sent"), [(SIZE, SIZE), (int(1.25 * SIZE), SIZE), (3 * SIZE, 2 * SIZE)])
def test_a_source_image_is_as_large_as_the_camera_has_it(side: int, sent: int) -> None:
    bench = Bench()
    image = np.full((side, side, 3), 128, np.uint8)
    for _ in range(round(FIRST_WINDOW / 0.04) + 1):
        bench.extraction.step(CapturedFrame(image, bench.now, 0.003))
        bench.now += 0.04
    (source,) = bench.heard.sources
    assert decode_source(source.data).shape == (sent, sent, 3)


def test_nothing_is_sent_before_the_receiver_has_a_source() -> None:
    bench = Bench()
    bench.show(0, 40)
    (source,) = bench.heard.sources
    assert bench.heard.motions == []
    assert source.sha256 == hashlib.sha256(source.data).hexdigest()
    with Image.open(io.BytesIO(source.data)) as image:
        assert (image.format, image.size) == ("AVIF", (SIZE, SIZE))
    bench.extraction.source_taken(0)
    bench.show(5)
    ((sample, stages),) = bench.heard.motions
    assert (sample.vector[0], sample.source) == (5.0, 0)
    assert stages.capture == 0.003


def test_the_most_frontal_frame_of_the_beginning_is_chosen() -> None:
    bench = Bench()
    for yaw in (25, 30, 8, 25):
        bench.show(yaw, 6)
    (source,) = bench.heard.sources
    with Image.open(io.BytesIO(source.data)) as image:
        assert abs(float(np.asarray(image)[0, 0, 0]) - 136) < 12


def test_a_lasting_turn_brings_a_second_source_which_is_used_once_it_is_taken() -> None:
    bench = Bench()
    bench.choose()
    bench.show(80, round(SETTLE / 0.04) + 3)
    assert [source.index for source in bench.heard.sources] == [0, 1]
    assert {sample.source for sample, _ in bench.heard.motions} == {0}
    bench.show(80, 5)
    assert len(bench.heard.sources) == 2, "one at a time"
    bench.extraction.source_taken(1)
    bench.show(45)
    assert bench.heard.motions[-1][0].source == 1


@pytest.mark.parametrize("avatar", [None, 0])
def test_a_hand_held_camera_moves_the_background_of_a_person_but_not_of_an_avatar(avatar: int | None) -> None:
    noise = np.random.default_rng(0).integers(20, 236, (16, 16), np.uint8)
    wall = np.asarray(Image.fromarray(noise).resize((2 * SIZE, SIZE), Image.Resampling.BICUBIC))

    def shown(shift: int) -> CapturedFrame:
        image = np.repeat(wall[:, SIZE - shift : 2 * SIZE - shift, None], 3, -1)
        image[:2, :2] = 128  # a head that does not turn
        bench.now += ALIGN_EVERY
        return CapturedFrame(image, bench.now, 0.003)

    bench = Bench(avatar)
    bench.model.scale = 0.4
    for _ in range(round(FIRST_WINDOW / ALIGN_EVERY) + 2):
        bench.extraction.step(shown(3))
    bench.extraction.source_taken(0)
    for shift in (3, 4, 5, 6):
        bench.extraction.step(shown(shift))
    found = [float(sample.vector[7]) for sample, _ in bench.heard.motions]
    wanted = [0, 1, 2, 3] if avatar is None else [0, 0, 0, 0]
    assert found == pytest.approx([2 * pixels / SIZE for pixels in wanted], abs=0.01)


@pytest.mark.parametrize(
    ("cost", "wanted"),
    [(0.01, [1, 2, 3, 4, 5, 6, 7, 8]), (0.01 + WAIT, [1, 1, 2, 3, 3, 4, 5, 5])],
)
def test_a_frame_waits_for_its_alignment_where_that_is_quick(cost: float, wanted: list[int]) -> None:
    """It is known from the one before, so the first that is slow is still waited for; the next comes a frame later."""
    bench = Bench()
    bench.choose()
    bench.model.takes = lambda: bench.wait(cost)
    bench.show(0, len(wanted))
    off = [float(Motion.from_vector(sample.vector).expression[0, 0]) for sample, _ in bench.heard.motions]
    assert off == pytest.approx([0.01 * passes for passes in wanted])


def test_an_avatar_is_aligned_to_nothing() -> None:
    bench = Bench(0)
    bench.choose()
    bench.show(0, 6)
    assert bench.heard.motions
    assert bench.model.aligned == 0


def test_a_refused_picture_is_followed_by_another_choice() -> None:
    bench = Bench()
    bench.show(0, 40)
    bench.extraction.source_refused(0, NoFaceError("no face"))
    bench.show(0, 40)
    assert [source.index for source in bench.heard.sources] == [0, 0]


def test_a_refused_further_picture_leaves_the_first_in_use() -> None:
    bench = Bench()
    bench.choose()
    bench.show(80, round(SETTLE / 0.04) + 3)
    bench.extraction.source_refused(1, NoFaceError("no face"))
    bench.show(0, 2)
    assert bench.heard.motions[-1][0].source == 0


def test_an_answer_of_a_later_connection_changes_nothing() -> None:
    bench = Bench()
    bench.choose()
    bench.show(0)
    bench.extraction.source_taken(0)
    bench.show(0)
    assert [sample.source for sample, _ in bench.heard.motions] == [0, 0]


def test_a_lost_face_is_told_once_and_so_is_its_return() -> None:
    bench = Bench()
    bench.show(None, 2)
    bench.choose()
    bench.show(None, 3)
    bench.show(0, 2)
    assert bench.heard.presence == [NO_FACE, None, NO_FACE, None]
    assert len(bench.heard.motions) == 2


def test_a_cut_begins_a_source_image_and_nothing_drives_the_old_one_any_more() -> None:
    bench = Bench()
    bench.choose()
    bench.show(5, 10)
    before, restarts = len(bench.heard.motions), bench.model.restarts
    bench.show(20, round(FIRST_WINDOW / 0.04) + 2, scene=1)
    assert [source.index for source in bench.heard.sources] == [0, 1]
    assert len(bench.heard.motions) == before, "the person of before does not move as another one does"
    assert (bench.tracker.restarts, bench.model.restarts) == (1, restarts + 1)
    assert bench.heard.presence == [None, NEW_SCENE]
    bench.extraction.source_taken(0)  # attached again by a new connection
    bench.show(20, scene=1)
    assert len(bench.heard.motions) == before
    bench.extraction.source_taken(1)
    bench.show(20, 3, scene=1)
    assert {sample.source for sample, _ in bench.heard.motions[before:]} == {1}
    assert bench.heard.presence == [None, NEW_SCENE, None]
    bench.show(0, round(FIRST_WINDOW / 0.04) + 2)
    assert [source.index for source in bench.heard.sources] == [0, 1, 2], "back, it is a scene of its own"


@pytest.mark.parametrize(("scene", "presence", "sources"), [(1, NEW_SCENE, [0, 1]), (0, None, [0])])
def test_after_nobody_the_next_face_decides_whether_the_picture_is_another(
    scene: int, presence: str | None, sources: list[int]
) -> None:
    bench = Bench()
    bench.choose()
    bench.show(0, 10)
    bench.show(None, 10)  # a hand before the lens, or a black frame between two films
    bench.show(0, round(FIRST_WINDOW / 0.04) + 2, scene)
    assert bench.heard.presence == [None, NO_FACE, presence]
    assert [source.index for source in bench.heard.sources] == sources


def test_after_a_cut_an_avatar_moves_as_the_new_person_does() -> None:
    bench = Bench(avatar_yaw=10)
    first = bench.choose()
    bench.show(0, 10)
    bench.show(0, round(FIRST_WINDOW / 0.04) + 2, scene=1)
    again = bench.heard.sources[-1]
    assert (again.index, again.sha256) == (1, first.sha256), "the same face: nothing is uploaded"
    bench.extraction.source_taken(1)
    bench.show(30, 2, scene=1)
    assert bench.heard.motions[-1][0].source == 1


def test_a_nod_and_a_turn_are_no_cut() -> None:
    bench = Bench()
    bench.choose()
    for yaw in (0, 40, -40, 80, 0):
        bench.show(yaw, 3)
    assert bench.tracker.restarts == 0


def test_somebody_else_in_the_picture_is_told_once() -> None:
    bench = Bench()
    for several in (False, True, True, False, True):
        bench.tracker.several = several
        bench.show(0)
    assert bench.heard.notices == [SEVERAL_FACES] * 2


def test_the_tracker_hears_of_time_and_of_the_models_own_view() -> None:
    bench = Bench()
    bench.show(0, 3)
    bench.now += 60.0
    bench.show(0)
    assert bench.tracker.elapsed == pytest.approx([1 / 30, 0.04, 0.04, 0.5])
    assert len(bench.tracker.hints) == 4
    assert all(isinstance(hint, Box) for hint in bench.tracker.hints)


def test_an_avatar_moves_as_the_driver_does() -> None:
    bench = Bench(avatar_yaw=10)
    source = bench.choose()
    with Image.open(io.BytesIO(source.data)) as image:
        assert abs(float(np.asarray(image)[0, 0, 0]) - 138) < 12
    bench.show(80, round(SETTLE / 0.04) + 3)
    assert len(bench.heard.sources) == 1, "an avatar has one picture"
    moved = Motion.from_vector(bench.heard.motions[-1][0].vector)
    assert float(moved.yaw) == 80.0
    assert float(moved.scale) == 1.0


def test_a_refused_avatar_and_a_broken_model_end_the_worker() -> None:
    for error in (NoFaceError("no face"), None):
        bench = Bench(avatar_yaw=10)
        bench.show(0, 40)
        if error is not None:
            bench.extraction.source_refused(0, error)
        else:
            bench.model.extract = broken  # type: ignore[method-assign]
        bench.mailbox.put(CapturedFrame(picture(0), 0.0))
        bench.extraction.start()
        bench.extraction.join(10)
        (failure,) = bench.heard.failures
        assert isinstance(failure, VisavisError if error is not None else RuntimeError)


def broken(frame: NDArray[np.uint8], crop: Crop) -> tuple[NDArray[np.uint8], Motion]:
    raise RuntimeError("broken")


def test_the_worker_ends_with_the_mailbox() -> None:
    bench = Bench()
    bench.extraction.start()
    for i in range(5):
        bench.mailbox.put(CapturedFrame(picture(0), 0.04 * i))
    bench.extraction.close()
    bench.extraction.close()
    assert not bench.extraction.is_alive()
    assert bench.heard.failures == []


def test_a_blinking_frame_is_not_preferred() -> None:
    from model.source.expression import eye_openness, mouth_opening

    still = motion()
    blink = replace(still, expression=still.expression.copy())
    for upper, lower in ((159, 145), (386, 374)):
        blink.expression[GUIDED.index(upper), 1] = 0.025
        blink.expression[GUIDED.index(lower), 1] = -0.025
    assert float(eye_openness(face(), still)) == pytest.approx(0.3, abs=0.01)
    assert float(eye_openness(face(), blink)) < 0.1
    spoken = replace(still, expression=still.expression.copy(), yaw=np.float32(30.0))
    spoken.expression[GUIDED.index(14), 1] = 0.12
    assert float(mouth_opening(face(), still)) == pytest.approx(0.0, abs=1e-6)
    assert float(mouth_opening(face(), spoken)) == pytest.approx(0.4, abs=0.03)


@pytest.mark.parametrize(
    ("fps", "cost", "share"),
    [
        (25, 0.004, 1),
        (25, 0.016, 1),
        (25, 0.02, 0.8),
        (25, 0.04, 0.4),
        (30, 0.004, 1),
        (30, 0.02, 0.67),
        (10, 0.08, 0.5),
    ],
)
def test_alignment_takes_a_share_of_the_time_at_any_frame_rate(fps: int, cost: float, share: float) -> None:
    rhythm, aligned, frames = AlignmentRhythm(), [], 300
    for index in range(frames):
        if rhythm.due(index / fps):
            rhythm.took(index / fps, cost)
            aligned.append(index)
    assert len(aligned) / frames == pytest.approx(share, abs=0.02)
    assert cost * fps * len(aligned) / frames <= 1.02 * ALIGN_SHARE
    assert set(np.diff(aligned)) <= {math.floor(1 / share), math.ceil(1 / share)}, "evenly"


def test_after_a_rest_alignment_does_not_make_up_for_it() -> None:
    rhythm = AlignmentRhythm()
    rhythm.took(0.0, 0.02)
    due = []
    for index in range(100):
        now = 60 + index / 25
        due.append(rhythm.due(now))
        if due[-1]:
            rhythm.took(now, 0.02)
    assert sum(due[:10]) <= 9


@pytest.mark.parametrize("avatar", [None, 0])
def test_mouths_that_the_source_lacks_are_handed_on_but_not_those_of_an_avatars_driver(
    avatar: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def points(canonical: CanonicalKeypoints, motion: Motion) -> NDArray[np.float32]:
        return lips(0.05 * abs(float(motion.yaw)), (0.0, 0.2), 0.4)

    monkeypatch.setattr("model.source.call_windows.mouth_points", points)
    monkeypatch.setattr("model.source.call_windows.eye_points", lambda canonical, motion: eyes(0.6))
    bench = Bench(avatar)
    bench.model.has_landmarks = True
    bench.choose()
    for yaw in (0, 12) * 10:
        bench.show(yaw, 10)
    assert [window.slot for window in bench.heard.windows] == ([0] if avatar is None else [])
    for window in bench.heard.windows:
        found = decode_window(window.data)
        assert isinstance(found, MouthWindow)
        assert np.abs(found.points - corner_coordinates(lips(0.6))).max() < 0.02


def test_after_a_cut_windows_are_chosen_anew_and_belong_to_another_scene(monkeypatch: pytest.MonkeyPatch) -> None:
    def points(canonical: CanonicalKeypoints, motion: Motion) -> NDArray[np.float32]:
        return lips(0.05 * abs(float(motion.yaw)), (0.0, 0.2), 0.4)

    monkeypatch.setattr("model.source.call_windows.mouth_points", points)
    monkeypatch.setattr("model.source.call_windows.eye_points", lambda canonical, motion: eyes(0.6))
    bench = Bench()
    bench.model.has_landmarks = True
    bench.choose()
    for yaw in (0, 12) * 10:
        bench.show(yaw, 10)
    bench.show(0, round(FIRST_WINDOW / 0.04) + 2, scene=1)
    bench.extraction.source_taken(1)
    for yaw in (0, 12) * 10:
        bench.show(yaw, 10, scene=1)
    assert [(source.index, source.scene) for source in bench.heard.sources] == [(0, 0), (1, 1)]
    assert [(window.slot, window.scene) for window in bench.heard.windows] == [(0, 0), (0, 1)]
