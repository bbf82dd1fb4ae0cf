"""Keeps the sound of one motion publication in step with its picture, and the picture with its sound."""

from __future__ import annotations

from server.media.aiortc_private import AUDIO_HOLD_PACKETS
from server.media.audio_delay import lip_sync_delays
from server.media.audio_relay import PACKET_SECONDS, AudioRelay
from server.receiver.control_session import ControlSession
from server.receiver.latency_meter import LatencyMeter
from server.receiver.playout_delay import PlayoutDelay


class LipSync:
    """Sets the delay of sound and the required depth of playout from what was measured; once a second is enough."""

    def __init__(
        self, latency: LatencyMeter, control: ControlSession, playout: PlayoutDelay, audio: AudioRelay
    ) -> None:
        self._latency = latency
        self._control = control
        self._playout = playout
        self._audio = audio

    def update(self) -> None:
        """Delay sound by what the picture takes longer, or the picture by what sound does.

        Nothing happens before both picture and sound have come.
        """
        picture = self._latency.total
        if picture is None or not self._audio.attached:
            return
        transit = (self._control.sync.round_trip or 0.0) / 2
        # A packet leaves when its 20 ms are full, and aiortc decodes it when four more have come.
        sound = PACKET_SECONDS * (1 + AUDIO_HOLD_PACKETS) + transit
        sound += self._control.sender_stages.get("audio", 0.0)
        natural = self._playout.natural_depth
        waits = max(self._playout.required_depth - natural, 0.0)
        delays = lip_sync_delays(picture - waits, sound)
        self._playout.require_depth(natural + delays.picture if delays.picture else 0.0)
        self._audio.set_delay(delays.sound)
