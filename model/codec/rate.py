"""Rate: from a budget in kbit/s to step, frame rate and bundling."""

from __future__ import annotations

import math
from dataclasses import dataclass

from model.codec.packet import MAX_FRAMES, SHORT_HEADER_BYTES
from model.codec.quantise import MAX_STEP_INDEX, MIN_STEP_INDEX

HEADER_BYTES = 93
"""IPv4, UDP, DTLS 1.2 and SCTP around one data channel message (measured with aiortc 1.16)."""

CALL_STEP_INDEX = -6
"""Step of a call: calm faces lose by a coarser one (docs/experiments/motion-bits.md)."""

# From generous to frugal: frames a second, frames a message, step index. Down the list the headers go first (a bundle
# of two costs 40 ms, headers of 25 single messages 20 kbit/s), then precision, then frames. Frames are repeated where
# some are lost, and nowhere else (server/sender/connection/rate_control.py).
_LADDER = (
    (30.0, 1, -6),
    (25.0, 1, CALL_STEP_INDEX),
    (25.0, 2, CALL_STEP_INDEX),
    (25.0, 2, -3),
    (25.0, 3, -2),
    (25.0, 3, 1),
    (25.0, 4, 1),
    (25.0, 5, 3),
    (25.0, 5, 5),
    (15.0, 4, 3),
    (15.0, 5, 5),
    (15.0, 5, 7),
    (10.0, 5, 8),
    (8.0, 8, 10),
)


@dataclass(frozen=True)
class Rate:
    """How an encoder spends bytes. The default is one message a frame at a call's step. Raises ValueError."""

    step_index: int = CALL_STEP_INDEX  # -24 ... 24, quarter octaves: 4 is twice as coarse
    frames_per_second: float | None = None  # frames beyond this rate are left out; None: code every frame
    frames_per_message: int = 1  # 1 ... 32
    repeat: int = 0  # earlier frames that each message repeats, in case theirs was lost
    kbps: float | None = None  # budget that the encoder keeps by coarsening the step; None: the step is fixed
    header_bytes: int = HEADER_BYTES  # counted per message against the budget; 0 for files

    def __post_init__(self) -> None:
        if not MIN_STEP_INDEX <= self.step_index <= MAX_STEP_INDEX:
            raise ValueError(f"step index {self.step_index} is not within {MIN_STEP_INDEX} ... {MAX_STEP_INDEX}")
        if self.repeat < 0 or self.frames_per_message < 1 or self.frames_per_message + self.repeat > MAX_FRAMES:
            raise ValueError(f"a message holds 1 to {MAX_FRAMES} frames, repeated ones included")
        for name in ("frames_per_second", "kbps"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be positive, not {value}")

    @staticmethod
    def for_kbps(kbps: float) -> Rate:
        """The best rate of a call whose motion, sender to receiver with all headers, fits into `kbps` kbit/s.

        The choice goes by the bytes that a lively face takes, so that hardly any has to be coarser than with a smaller
        budget and fewer headers; the encoder then holds the budget by its step. Below about 1 kbit/s no choice fits;
        the most frugal is returned.
        """
        chosen = _LADDER[-1]
        for row in _LADDER:
            if _expected_kbps(*row) <= kbps:
                chosen = row
                break
        frames_per_second, frames_per_message, step_index = chosen
        return Rate(step_index, frames_per_second, frames_per_message, kbps=kbps)


def _expected_kbps(frames_per_second: float, frames_per_message: int, step_index: int) -> float:
    # 1.3 times the mean of twelve clips of talking people; each of them takes between .7 and 1.3 times that mean.
    first = 27.0 * 2 ** (-step_index / 4.4)  # bytes of a frame predicted over a few hundred milliseconds
    other = 13.0 * 2 ** (-step_index / 4.0)  # bytes of one predicted from the frame before
    message = HEADER_BYTES + SHORT_HEADER_BYTES + first + (frames_per_message - 1) * other
    return 8e-3 * message * frames_per_second / frames_per_message


class StepControl:
    """Holds a budget by the quantiser step: a pure state machine that takes the time.

    The average over about two seconds decides; the step changes by one quarter octave at most every 250 ms and never
    becomes finer than the rate's own.
    """

    AVERAGE_MS = 2000.0
    PAUSE_MS = 250.0

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self.step_index = rate.step_index
        self._average_bytes: float | None = None  # per millisecond
        self._since_change_ms = 0.0

    def sent(self, elapsed_ms: float, payload_bytes: int) -> None:
        """A message of `payload_bytes` was made `elapsed_ms` after the one before."""
        if self._rate.kbps is None:
            return
        elapsed_ms = max(1.0, elapsed_ms)
        current = (payload_bytes + self._rate.header_bytes) / elapsed_ms
        weight = min(1.0, elapsed_ms / self.AVERAGE_MS)
        known = current if self._average_bytes is None else self._average_bytes
        self._average_bytes = known + weight * (current - known)
        self._since_change_ms += elapsed_ms
        if self._since_change_ms < self.PAUSE_MS:
            return
        used = self._average_bytes * 8.0 / self._rate.kbps
        coarser = used > 1.0 and self.step_index < MAX_STEP_INDEX
        finer = used < 0.85 and self.step_index > self._rate.step_index
        if coarser or finer:
            self.step_index += 1 if coarser else -1
            self._since_change_ms = 0.0
