"""From captured frames to motion, on one worker thread: crop the face, extract, select the source, align, publish.

What it finds goes to an `ExtractionListener`, from this thread. What it decides is pure and elsewhere: sources in
`source_selection.py`, which frames are aligned in `alignment_rhythm.py`.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from dataclasses import dataclass, replace
from functools import cached_property
from queue import Empty, SimpleQueue
from statistics import median
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from model.clip.scenes import picture_sample
from model.codec.source_image import LIVE_SPEED, encode_source, live_quality
from model.codec.window import encode_window
from model.errors import VisavisError
from model.face.box import Box
from model.face.crop import Crop
from model.motion import Motion
from model.registration.similarity import GreyPyramid, thumbnail
from model.registration.tracker import MotionTracker, SourceReference
from model.source.call_windows import CallWindows, SourceLook
from model.source.expression import eye_openness
from model.source.quality import Quality, quality
from server.sender.media.alignment_rhythm import AlignmentRhythm
from server.sender.media.capture import CapturedFrame, FrameMailbox
from server.sender.media.extractor import Avatar, Extractor
from server.sender.media.reader import Clock
from server.sender.media.samples import MotionSample, SourceImage, StageTimes, WindowUpload
from server.sender.media.scene_change import SceneChange
from server.sender.media.source_choice import Candidate
from server.sender.media.source_selection import SourceSelection

logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 1.0
"""For the head tracker: without a face for that long, the sender pauses."""

NO_FACE = "no face in the picture"
NEW_SCENE = "the picture is another; choosing a source image"
SEVERAL_FACES = "several faces in the picture; the one seen first is sent"

FIRST_STEP = 1 / 30
"""Seconds that the head tracker takes for the time before the first frame."""

LONGEST_STEP = 0.5
"""Seconds between two frames, for the head tracker, at most; after a longer gap nothing is known anyway."""

MEDIAN_OF = 50
"""Frames over which stage times are taken."""


class ExtractionListener(Protocol):
    """Hears from the worker thread. Must return at once."""

    def on_source(self, source: SourceImage) -> None:
        """A source image was chosen; `Extraction.source_taken` or `source_refused` answers."""

    def on_window(self, window: WindowUpload) -> None:
        """A window was chosen."""

    def on_motion(self, sample: MotionSample, stages: StageTimes) -> None:
        """One frame's motion, for a source that the receiver has."""

    def on_presence(self, problem: str | None) -> None:
        """There is no face, or no source image for it since a cut; or, with None, all is there (again)."""

    def on_notice(self, text: str) -> None:
        """Something a person should know."""

    def on_failure(self, error: BaseException) -> None:
        """The worker ended by an error."""


class Tracker(Protocol):
    """What is used of `model.face` HeadTracker."""

    several: bool

    def restart(self) -> None: ...
    def update(self, frame: NDArray[np.uint8], elapsed: float) -> Crop | None: ...
    def hint(self, face: Box, measured: bool = False) -> None: ...


@dataclass(frozen=True)
class _ExtractedFrame:
    """A frame with a face in it."""

    camera: NDArray[np.uint8]  # (H, W, 3) RGB
    crop: Crop
    picture: NDArray[np.uint8]  # (S, S, 3) RGB, what the crop shows
    motion: Motion  # as extracted, no batch shape

    @cached_property
    def small(self) -> GreyPyramid:
        """As it is registered."""
        return GreyPyramid(thumbnail(self.picture))


class Extraction(threading.Thread):
    """Takes frames from the mailbox until it is closed."""

    def __init__(
        self,
        mailbox: FrameMailbox,
        tracker: Tracker,
        extractor: Extractor,
        listener: ExtractionListener,
        *,
        clock: Clock,
        avatar: Avatar | None = None,
    ) -> None:
        super().__init__(name="visavis-extraction", daemon=True)
        self._mailbox = mailbox
        self._tracker = tracker
        self._extractor = extractor
        extractor.restart()
        self._listener = listener
        self._clock = clock
        self._avatar = avatar
        self._selection = SourceSelection(single=avatar is not None)
        self._windows = CallWindows()
        self._answers: SimpleQueue[tuple[int, VisavisError | None]] = SimpleQueue()
        self._motion_tracker = MotionTracker(extractor.layout)
        self._rhythm = AlignmentRhythm()
        self._aligned: _ExtractedFrame | None = None  # the last one
        self._captured: float | None = None  # the last frame
        self._scene = SceneChange()
        self._problem: str | None = "unknown"  # as it was told last; before the first frame nothing was
        self._several = False
        self._conversion_times: deque[float] = deque(maxlen=MEDIAN_OF)
        self._extraction_times: deque[float] = deque(maxlen=MEDIAN_OF)

    def close(self) -> None:
        """Stop and join; may be called twice."""
        self._mailbox.close()
        if self.ident is not None and self is not threading.current_thread():
            self.join()

    def source_taken(self, index: int) -> None:
        """The receiver has source `index`; from any thread."""
        self._answers.put((index, None))

    def source_refused(self, index: int, error: VisavisError) -> None:
        """The receiver cannot use source `index`: another frame is tried; from any thread."""
        self._answers.put((index, error))

    def run(self) -> None:
        try:
            while (frame := self._mailbox.take()) is not None:
                self.step(frame)
        except Exception as error:
            self._listener.on_failure(error)

    def step(self, captured: CapturedFrame) -> None:
        """Everything for one frame."""
        begin = self._clock()
        if self._scene.take(picture_sample(captured.image)):
            self._forget_face()
        crop = self._crop_face(captured)
        if crop is None:
            self._tell(NO_FACE)
            return
        if self._scene.face_seen():
            logger.info("another picture: choosing a source image")
            self._motion_tracker, self._aligned = MotionTracker(self._extractor.layout), None
            self._selection.cut()
            self._windows.cut()
        frame = self._extract(captured, crop)
        self._take_answers()
        self._select_source(frame, captured.captured)
        self._tell(NEW_SCENE if self._selection.replacing else None)
        due = self._rhythm.due(captured.captured)
        if due and self._rhythm.quick:
            self._align_in_time(frame, captured.captured)
            due = False
        motion = self._driving_motion(frame)
        now = self._clock()
        self._conversion_times.append(captured.conversion)
        self._extraction_times.append(now - begin)
        if motion is not None:
            self._listener.on_motion(
                MotionSample(motion.to_vector(), captured.captured, self._selection.index),
                StageTimes(median(self._conversion_times), median(self._extraction_times)),
            )
        # The frame is on its way: what is found in it is known in time for the next one.
        if due:
            self._align_in_time(frame, captured.captured)
        self._choose_window(frame, captured.captured)

    def _forget_face(self) -> None:
        """The picture has changed hard: where the face was says nothing of where one is now."""
        self._tracker.restart()
        self._extractor.restart()

    def _tell(self, problem: str | None) -> None:
        if problem != self._problem:
            self._problem = problem
            self._listener.on_presence(problem)

    def _crop_face(self, frame: CapturedFrame) -> Crop | None:
        """The head's crop, or None while there is no face to send."""
        before, self._captured = self._captured, frame.captured
        elapsed = FIRST_STEP if before is None else frame.captured - before
        crop = self._tracker.update(frame.image, min(max(elapsed, 0.0), LONGEST_STEP))
        if self._tracker.several and not self._several:
            self._listener.on_notice(SEVERAL_FACES)
        self._several = self._tracker.several
        return crop

    def _extract(self, captured: CapturedFrame, crop: Crop) -> _ExtractedFrame:
        """Motion of the crop; the head tracker learns where the model sees the face."""
        picture, motion = self._extractor.extract(captured.image, crop)
        face = self._extractor.face
        if face is not None:
            self._tracker.hint(face, measured=True)
        else:
            pose = (float(motion.yaw), float(motion.pitch), float(motion.roll), float(motion.scale))
            self._tracker.hint(Box.from_pose(crop, *pose, motion.translation))
        return _ExtractedFrame(captured.image, crop, picture, motion)

    def _take_answers(self) -> None:
        """What the receiver has said of source images meanwhile."""
        while True:
            try:
                index, error = self._answers.get_nowait()
            except Empty:
                return
            self._selection.answer(index, error)

    def _select_source(self, frame: _ExtractedFrame, now: float) -> None:
        """Offer this frame, or one of those before, as source image where one is wanted."""
        if self._selection.choosing:
            chosen = self._selection.choose(self._candidate(frame, self._judge(frame)), now)
            if chosen is not None:
                logger.info("source image chosen, score %.2f", chosen.quality.score)
                self._offer(chosen)
        elif self._selection.growing:
            judged = self._judge(frame)
            if self._selection.wants(frame.motion, judged.clarity, now):
                self._offer(self._candidate(frame, judged))

    def _candidate(self, frame: _ExtractedFrame, judged: Quality) -> Candidate:
        size = self._extractor.source_size(frame.crop.side)
        picture = frame.picture if size == self._extractor.size else frame.crop.cut(frame.camera, size)
        return Candidate(picture, frame.motion, judged, self._reference(frame))

    def _judge(self, frame: _ExtractedFrame) -> Quality:
        # A face behind a hand counts as one with closed eyes: the last choice for a source image.
        measured = self._extractor.measured
        eyes = float(eye_openness(self._extractor.canonical, frame.motion)) if measured else 0.0
        return quality(frame.picture, frame.motion, eyes)

    def _offer(self, chosen: Candidate) -> None:
        """Enrol the chosen frame, or the avatar in its place, and hand it on."""
        if self._avatar is None:
            picture, source = chosen.picture, self._extractor.enrol(chosen.picture, chosen.reference)
            if self._extractor.has_landmarks:
                look = SourceLook.of(picture, source.canonical, source.motion, chosen.quality.sharpness)
                source = replace(source, look=look)
        else:
            self._avatar.start(chosen.motion)
            picture, source = self._avatar.picture, self._avatar.enrolled
        index = self._selection.offer(source)
        data = encode_source(picture, live_quality(len(picture)), LIVE_SPEED)
        self._listener.on_source(SourceImage(index, data, self._selection.scene))

    def _driving_motion(self, frame: _ExtractedFrame) -> Motion | None:
        """What drives the current source as this frame moves; None before the receiver has a source."""
        if self._selection.current is None:
            return None
        if self._avatar is not None:
            return self._avatar.drive(frame.motion)
        source = self._selection.current
        return self._motion_tracker.extrapolated(self._extractor.relative_to(source, frame.motion), source.reference)

    def _align_in_time(self, frame: _ExtractedFrame, captured: float) -> None:
        """Align a frame that is due, and count what it costs."""
        begin = self._clock()
        self._align(frame)
        self._rhythm.took(captured, self._clock() - begin)

    def _choose_window(self, frame: _ExtractedFrame, now: float) -> None:
        """Hand on a window of this frame where that is worth it; of an avatar's face the driver knows none."""
        source = self._selection.current
        if source is None or source.look is None or not self._extractor.measured or not self._windows.looks(now):
            return
        chosen = self._windows.update(frame.picture, self._extractor.canonical, frame.motion, source.look, now)
        if chosen is not None:
            picture = frame.crop.cut(frame.camera, self._extractor.source_size(frame.crop.side))
            data = encode_window(chosen.cut(picture), speed=LIVE_SPEED)
            self._windows.sent(chosen, len(data), now)
            self._listener.on_window(WindowUpload(chosen.slot, data, self._selection.scene))

    def _align(self, frame: _ExtractedFrame) -> None:
        """Find where background, body and keypoints are in this frame; an avatar's frames are not aligned."""
        if self._avatar is not None or frame is self._aligned:
            return
        before = None if self._aligned is None else self._aligned.crop
        expected = None if before in (None, frame.crop) else before.motion_to(frame.crop)
        source, motion, reference = self._selection.current, frame.motion, None
        if source is not None:
            motion, reference = self._extractor.relative_to(source, motion), source.reference
        self._motion_tracker.follow(frame.small, motion, reference, expected)
        self._aligned = frame

    def _reference(self, frame: _ExtractedFrame) -> SourceReference | None:
        """To which later frames are aligned, should this one become their source; None for an avatar's driver."""
        if self._avatar is not None:
            return None
        self._align(frame)
        return self._motion_tracker.reference(frame.small, frame.motion)
