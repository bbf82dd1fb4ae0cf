"""Motion as a call sends it, which is what people see: `evaluate --call`.

As many frames are aligned as a laptop has the time for; others would be corrected by the alignment of the frame before.
Nothing is smoothed; levels are rounded at a call's step, what waits leaves behind a packet of the voice, and messages
may be lost. Time runs away from the source image on both of its sides, so that no frame knows one that is further away.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from model.codec.rate import Rate
from model.evaluate.channel import FPS, send
from model.evaluate.clips import Clip
from model.evaluate.rendering import render
from model.evaluate.scoring import Frames
from model.evaluate.windows import call_states
from model.motion import Motion
from model.registration.similarity import GreyPyramid, thumbnail
from model.registration.tracker import MotionTracker, away_from
from model.source_state import SourceState
from model.talking_head import TalkingHead

ALIGNED = Fraction(1)
"""Share of the frames that are aligned: at 25 a second, where a pass takes 16 ms, two cores have the time for each."""

CALL_RATE = Rate()
"""A call's step."""


@dataclass(frozen=True)
class CallResult:
    """A clip after a call."""

    frames: Frames  # (T, S, S, 3)
    messages: tuple[int, ...]  # payload bytes of each motion message
    sent: int  # frames that these carry
    windows: tuple[int, ...]  # payload bytes of each mouth window of the longer way

    @property
    def kbps(self) -> float:
        """Payload of motion in kbit/s at 25 frames a second."""
        return self.kbps_wire(0)

    def kbps_wire(self, header_bytes: int) -> float:
        """The same with the headers of every message."""
        return (sum(self.messages) + header_bytes * len(self.messages)) * 8 * FPS / self.sent / 1000


def call_motion(head: TalkingHead, clip: Clip, state: SourceState) -> Motion:
    """Motion (T,) of a clip as a sender of a call measures it, before it is coded; NumPy arrays."""
    motions, layout = head.relative_to(state.keypoints(), clip.motions, clip.canonical), head.profile.layout
    small = [GreyPyramid(thumbnail(frame)) for frame in clip.frames]
    source = clip.source
    aligner = head.aligner(state, small[source])
    sent = [motions[index] for index in range(len(small))]
    for later in away_from(source, len(small)):
        tracker = MotionTracker(layout)
        tracker.follow(small[source], motions[source])
        reference = replace(tracker.reference(small[source], motions[source]), aligner=aligner)
        tracker.follow(small[source], motions[source], reference)
        for index in later:
            if _is_aligned(abs(index - source)):
                sent[index] = tracker.follow(small[index], motions[index], reference)
            else:
                sent[index] = tracker.extrapolated(motions[index], reference)
    return Motion.stack(sent)


def _is_aligned(since: int) -> bool:
    """Whether the frame that comes so many after the source image is aligned: ALIGNED of them, evenly."""
    return int((since + 1) * ALIGNED) > int(since * ALIGNED)


def call(
    head: TalkingHead,
    clip: Clip,
    state: SourceState,
    motion: Motion,
    loss: float = 0.0,
    *,
    rate: Rate = CALL_RATE,
    behind_voice: bool = True,
    windows: bool = True,
) -> CallResult:
    """A clip as a viewer of a call sees it, in pictures of the clip's size.

    motion  what `call_motion` gave of it
    loss    share of motion messages that never arrive
    rate    of motion
    behind_voice  motion travels behind the packets of the voice, else one message a frame
    windows  whether windows are sent beside it
    """
    vectors = motion.to_vector()
    rendered = np.empty_like(clip.frames)
    messages: list[int] = []
    frames, longest = 0, 0
    uploaded: list[int] = []
    for later in away_from(clip.source, len(vectors)):
        way = [clip.source, *later]
        sent = send(head.statistics, vectors[way], rate, loss, behind_voice=behind_voice)
        states, sizes = call_states(head, clip, state, way) if windows else ([state] * len(way), [])
        if len(way) > longest:
            longest, uploaded = len(way), sizes
        shown = Motion.from_vector(sent.vectors)
        rendered[way] = render(head, states, shown, frame_rate=clip.fps, size=clip.frames.shape[1])
        messages += sent.messages
        frames += len(way)
    return CallResult(rendered, tuple(messages), frames, tuple(uploaded))
