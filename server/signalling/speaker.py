"""Active speaker of each room. Pure: takes the levels and the time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

THRESHOLD_DBOV = -45.0
"""Quieter than this nobody speaks: typical room noise at a headset lies between -70 and -50 dBov (RFC 6464 units)."""
MARGIN_DB = 6.0
"""By so much another must be louder to take over from somebody who still speaks."""
HANG_SECONDS = 1.5
"""A speaker stays active over the pauses between words."""
RISE, FALL = 0.6, 0.2
"""Weights of a new level in the smoothed one: a voice that begins shows at once, a click does not stay."""


@dataclass
class SpeakerDetector:
    """Feed `update` about five times a second."""

    active: str | None = None
    _levels: dict[str, float] = field(default_factory=dict)
    _last_voice: float = 0.0

    def update(self, now: float, levels: Mapping[str, float]) -> bool:
        """`levels` of the unmuted participants in dBov, -127 to 0; returns whether `active` is another than before."""
        smooth: dict[str, float] = {}
        for participant, level in levels.items():
            previous = self._levels.get(participant, -127.0)
            smooth[participant] = previous + (RISE if level > previous else FALL) * (level - previous)
        self._levels = smooth
        before = self.active
        loudest = max(smooth, key=lambda p: smooth[p], default=None)
        own = smooth.get(self.active, -127.0) if self.active else -127.0
        if own >= THRESHOLD_DBOV:
            self._last_voice = now
        elif self.active and (self.active not in smooth or now - self._last_voice >= HANG_SECONDS):
            self.active = None
        if loudest is not None and smooth[loudest] >= max(THRESHOLD_DBOV, own + MARGIN_DB if self.active else -127.0):
            if loudest != self.active:
                self._last_voice = now
            self.active = loudest
        return self.active != before


class Speakers:
    """One detector for each room."""

    def __init__(self) -> None:
        self._detectors: dict[str, SpeakerDetector] = {}

    def active(self, room: str) -> str | None:
        """Who speaks in the room now."""
        detector = self._detectors.get(room)
        return None if detector is None else detector.active

    def update(self, room: str, now: float, levels: Mapping[str, float]) -> bool:
        """`SpeakerDetector.update` of that room."""
        return self._detectors.setdefault(room, SpeakerDetector()).update(now, levels)

    def forget(self, room: str) -> None:
        """The room is empty; idempotent."""
        self._detectors.pop(room, None)
