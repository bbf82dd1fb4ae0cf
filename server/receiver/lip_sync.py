"""Keeps the sound of one motion publication in step with its picture, and the picture with its sound."""

from __future__ import annotations

from server.media.audio_delay import lip_sync_delays
from server.media.audio_relay import AudioRelay
from server.receiver.control_session import ControlSession
from server.receiver.latency_meter import LatencyMeter
from server.receiver.playout_delay import PlayoutDelay

SOUND_AGE = 0.0265
"""Seconds: age of the first sample of a 20 ms packet when it leaves a sender that does not say it."""


def sound_age(control: ControlSession) -> float:
    """Seconds between the beginning of the sound in a packet and when that comes here."""
    # The sender's stage holds the length of its packets.
    return control.sender_stages.get("audio", SOUND_AGE) + (control.sync.round_trip or 0.0) / 2


class LipSync:
    """Sets the delay of sound and the required depth of playout; once a second is enough.

    Both follow from what holds now and does not depend on what was set before: from the fastest way of frames, the
    depth that their jitter asks for, and the stages after playout. Measured ages of pictures would contain the wait
    that was set seconds ago, and the loop would swing.
    """

    def __init__(
        self, latency: LatencyMeter, control: ControlSession, playout: PlayoutDelay, audio: AudioRelay
    ) -> None:
        self._latency = latency
        self._control = control
        self._playout = playout
        self._audio = audio

    def update(self) -> None:
        """Delay sound by what the picture takes longer, or the picture by what sound does.

        Nothing happens before both picture and sound have come and the clocks are related.
        """
        base, after = self._playout.base, self._latency.after_playout
        way = None if base is None else self._control.sync.way(base)
        if way is None or after is None or not self._audio.attached:
            return
        natural = self._playout.natural_depth
        picture = way + natural + after
        sound = sound_age(self._control)
        delays = lip_sync_delays(picture, sound)
        self._playout.require_depth(natural + delays.picture if delays.picture else 0.0)
        self._audio.set_delay(delays.sound)
