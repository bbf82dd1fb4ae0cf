"""From captured frames to motion: one worker thread that finds the head, extracts, and chooses source images.

What it finds goes to an `ExtractionListener`, from this thread. Everything in it that decides is pure and elsewhere.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from statistics import median
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from model.codec.source_image import LIVE_QUALITY, LIVE_SPEED, encode_source
from model.errors import VisavisError
from model.face.box import Box
from model.face.crop import Crop
from model.motion import CanonicalKeypoints, Motion, transfer
from model.registration.keypoint_tracker import Aligner
from model.registration.similarity import Picture, thumbnail
from model.registration.tracker import MotionTracker, Reference
from model.source.expression import eye_openness
from model.source.quality import quality
from model.talking_head import TalkingHead
from server.sender.media.capture import CapturedFrame, FrameMailbox
from server.sender.media.reader import Clock
from server.sender.media.samples import MotionSample, SourceImage, StageTimes
from server.sender.media.source_choice import Candidate, FirstChoice, PresentSource, SourceCover

logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 1.0
"""For the head tracker: without a face for that long, the sender pauses."""

NO_FACE = "no face in the picture"
SEVERAL_FACES = "several faces in the picture; the one seen first is sent"

LOOK_EVERY = 0.06
"""Seconds between frames that are held against the source image at least: at 25 frames a second every other one. What
is found lasts: background, body and the extractor's errors move slowly."""

LOOK_SHARE = 0.2
"""Of the time, that looking may take at most: it costs several times extraction, and the next frame waits for it."""

ROUNDING = 1e-6
"""Seconds: a frame that comes just when the next one is due is not put off because of rounding."""

LONGEST_STEP = 0.5
"""Seconds between frames that the tracker is told of at most; after a longer gap nothing is known anyway."""


class ExtractionListener(Protocol):
    """Hears from the worker thread. Must return at once."""

    def on_source(self, source: SourceImage) -> None:
        """A source image was chosen; `Extraction.source_taken` or `source_refused` answers."""

    def on_motion(self, sample: MotionSample, stages: StageTimes) -> None:
        """One frame's motion, for a source that the receiver has."""

    def on_presence(self, problem: str | None) -> None:
        """The face is not there, or gone; or, with None, there (again)."""

    def on_notice(self, text: str) -> None:
        """Something a person should know."""

    def on_failure(self, error: BaseException) -> None:
        """The worker ended by an error."""


@dataclass(frozen=True)
class Enrolled:
    """What a sender knows of a picture that is or may become a source image."""

    canonical: CanonicalKeypoints  # (K, 3)
    motion: Motion  # no batch shape
    aligner: Callable[[Picture], Aligner | None]  # what holds frames against it, from it as it is registered


class Tracker(Protocol):
    """What is used of `model.face` HeadTracker."""

    several: bool

    def update(self, frame: NDArray[np.uint8], elapsed: float) -> Crop | None: ...
    def hint(self, face: Box) -> None: ...


class Extractor(Protocol):
    """What is used of TalkingHead, in NumPy: see `ModelExtractor`."""

    size: int
    heads: int  # how many keypoints follow the head
    body: int  # and how many after them are the body's

    def extract(self, crop: NDArray[np.uint8]) -> Motion: ...
    def enrol(self, crop: NDArray[np.uint8]) -> Enrolled: ...


class Avatar:
    """Another face's picture that moves as the person in front of the camera does."""

    def __init__(self, crop: NDArray[np.uint8], extractor: Extractor) -> None:
        self.crop = crop
        self._motion = extractor.enrol(crop).motion
        self._reference: Motion | None = None

    def start(self, reference: Motion) -> None:
        """Take the driver's motion that corresponds to the picture: frontal, calm, eyes open."""
        self._reference = reference

    def drive(self, driving: Motion) -> Motion:
        """The avatar's motion for the driver's."""
        assert self._reference is not None
        return transfer(driving, self._reference, self._motion)


@dataclass(frozen=True)
class _Seen:
    """A frame with a face in it."""

    crop: Crop
    picture: NDArray[np.uint8]  # (S, S, 3) RGB, what the crop shows
    motion: Motion  # as extracted, no batch shape

    @cached_property
    def small(self) -> Picture:
        """As it is registered."""
        return Picture(thumbnail(self.picture))


class LookRhythm:
    """Which frames are held against the source image."""

    def __init__(self) -> None:
        self._next: float | None = None

    def due(self, captured: float) -> bool:
        """Whether a frame is to be looked at."""
        return self._next is None or captured >= self._next - ROUNDING

    def took(self, captured: float, cost: float) -> None:
        """A frame was looked at, which took so long."""
        self._next = captured + max(LOOK_EVERY, cost / LOOK_SHARE)


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
        self._listener = listener
        self._clock = clock
        self._avatar = avatar
        self._choice: FirstChoice | None = FirstChoice()
        self._canonical: CanonicalKeypoints | None = None
        self._cover: SourceCover | None = None
        self._pending: PresentSource | None = None  # chosen, and not yet with the receiver
        self._lock = threading.Lock()
        self._answers: list[tuple[int, VisavisError | None]] = []
        self._following = MotionTracker(extractor.body)
        self._looked: _Seen | None = None  # the last frame that was held against the source image
        self._rhythm = LookRhythm()
        self._last: float | None = None
        self._present: bool | None = None  # unknown before the first frame
        self._several = False
        self._capture_times: deque[float] = deque(maxlen=50)
        self._extract_times: deque[float] = deque(maxlen=50)

    def close(self) -> None:
        """Stop and join; may be called twice."""
        self._mailbox.close()
        if self.ident is not None and self is not threading.current_thread():
            self.join()

    def source_taken(self, index: int) -> None:
        """The receiver has source `index`; from any thread."""
        with self._lock:
            self._answers.append((index, None))

    def source_refused(self, index: int, error: VisavisError) -> None:
        """The receiver cannot use source `index`: another frame is tried; from any thread."""
        with self._lock:
            self._answers.append((index, error))

    def run(self) -> None:
        try:
            while (frame := self._mailbox.take()) is not None:
                self.step(frame)
        except Exception as error:
            self._listener.on_failure(error)

    def step(self, frame: CapturedFrame) -> None:
        """Everything for one frame."""
        begin = self._clock()
        crop = self._look(frame)
        if crop is None:
            return
        picture = crop.cut(frame.image, self._extractor.size)
        seen = _Seen(crop, picture, self._extractor.extract(picture))
        motion = seen.motion
        pose = (float(motion.yaw), float(motion.pitch), float(motion.roll), float(motion.scale))
        self._tracker.hint(Box.from_pose(crop, *pose, motion.translation))
        driven = self._sources(seen, frame.captured)
        now = self._clock()
        self._capture_times.append(frame.conversion)
        self._extract_times.append(now - begin)
        if driven is not None:
            self._listener.on_motion(
                MotionSample(driven[0].to_vector(), frame.captured, driven[1]),
                StageTimes(median(self._capture_times), median(self._extract_times)),
            )
        # The frame is on its way: what was to be seen in it is known in time for the next one.
        if self._rhythm.due(frame.captured):
            self._look_around(seen)
            self._rhythm.took(frame.captured, self._clock() - now)

    def _look_around(self, seen: _Seen) -> None:
        """Find where background, body and keypoints are in this frame."""
        if self._avatar is not None or seen is self._looked:
            return
        before = None if self._looked is None else self._looked.crop
        expected = None if before in (None, seen.crop) else before.motion_to(seen.crop)
        self._following.follow(seen.small, seen.motion, self._source(), expected)
        self._looked = seen

    def _reference(self, seen: _Seen) -> Reference | None:
        """What later frames are held against, should this one become their source; an avatar's frames never do."""
        if self._avatar is not None:
            return None
        self._look_around(seen)
        return self._following.reference(seen.small, seen.motion)

    def _source(self) -> Reference | None:
        return None if self._cover is None else self._cover.current.reference

    def _look(self, frame: CapturedFrame) -> Crop | None:
        """The head's crop, or None while there is no face to send."""
        before, self._last = self._last, frame.captured
        elapsed = 1 / 30 if before is None else frame.captured - before
        crop = self._tracker.update(frame.image, min(max(elapsed, 0.0), LONGEST_STEP))
        if (crop is not None) != self._present:
            self._present = crop is not None
            self._listener.on_presence(None if self._present else NO_FACE)
        if self._tracker.several and not self._several:
            self._listener.on_notice(SEVERAL_FACES)
        self._several = self._tracker.several
        return crop

    def _sources(self, seen: _Seen, now: float) -> tuple[Motion, int] | None:
        """Choose and refresh sources; the motion to send and its source's index, None while there is no source."""
        self._settle()
        if self._choice is not None:
            self._choose_first(self._choice, seen, now)
            return None
        if self._cover is None:
            return None
        if self._avatar is not None:
            return self._avatar.drive(seen.motion), self._cover.current.index
        judged = quality(seen.picture, seen.motion, self._eyes(seen.motion))
        # What a source covers is judged by motion as extracted, as the source's own is.
        if self._cover.update(seen.motion, judged.clarity, now) and self._pending is None:
            self._submit(seen.picture, self._cover.next_index, self._reference(seen))
        return self._following.carried(seen.motion, self._source()), self._cover.current.index

    def _settle(self) -> None:
        """Take the receiver's word on the source that was offered."""
        with self._lock:
            answers, self._answers = self._answers, []
        for index, error in answers:
            if self._pending is None or index != self._pending.index:
                continue  # an old source, attached again by a new connection
            source, self._pending = self._pending, None
            if error is None and self._cover is None:
                self._cover = SourceCover(source)
            elif error is None and self._cover is not None:
                self._cover.add(source)
            elif self._avatar is not None and error is not None:
                raise error  # there is no other picture of an avatar
            elif self._cover is None:
                self._choice = FirstChoice()

    def _choose_first(self, choice: FirstChoice, seen: _Seen, now: float) -> None:
        if self._canonical is None:
            self._canonical = self._extractor.enrol(seen.picture).canonical
        judged = quality(seen.picture, seen.motion, self._eyes(seen.motion))
        chosen = choice.consider(Candidate(seen.picture, seen.motion, judged, self._reference(seen)), now)
        if chosen is None:
            return
        self._choice = None
        logger.info("source image chosen, score %.2f", chosen.quality.score)
        if self._avatar is not None:
            self._avatar.start(chosen.motion)
            self._submit(self._avatar.crop, 0)
        else:
            self._submit(chosen.crop, 0, chosen.reference)

    def _submit(self, crop: NDArray[np.uint8], index: int, reference: Reference | None = None) -> None:
        image = encode_source(crop, LIVE_QUALITY, LIVE_SPEED)
        enrolled = self._extractor.enrol(crop)
        heads = CanonicalKeypoints(enrolled.canonical.points[: self._extractor.heads])
        if reference is not None:
            reference = replace(reference, aligner=enrolled.aligner(reference.picture))
        self._pending = PresentSource(index, heads, enrolled.motion, reference)
        self._listener.on_source(SourceImage(index, image))

    def _eyes(self, motion: Motion) -> float:
        assert self._canonical is not None
        return float(eye_openness(self._canonical, motion))


class ModelExtractor:
    """A TalkingHead for one face at a time, pictures and motion in NumPy."""

    def __init__(self, model: TalkingHead) -> None:
        self._model = model
        self.size = model.profile.size
        self.body = model.profile.body
        self.heads = model.profile.keypoints - self.body

    def extract(self, crop: NDArray[np.uint8]) -> Motion:
        """Motion of a crop (S, S, 3), no batch shape."""
        return Motion.from_vector(self._model.extract(_tensor(crop)).to_vector()[0])

    def enrol(self, crop: NDArray[np.uint8]) -> Enrolled:
        """What is known of a source image (S, S, 3)."""
        state = self._model.enrol(_tensor(crop))
        motion = Motion.from_vector(state.motion.to_vector()[0])
        return Enrolled(state.keypoints(), motion, partial(self._model.aligner, state))


def _tensor(crop: NDArray[np.uint8]) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(crop.transpose(2, 0, 1)))[None]  # (1, 3, S, S)
