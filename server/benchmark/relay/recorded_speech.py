"""What a recording says when it is played over and over, seen from the other end: found by the packets that came. Pure.

The time at which the recording began is not known there. The fastest packet tells it, less the time that it took.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from model.codec.vav import AUDIO_RATE
from server.benchmark.network.figures import OLDEST, PIECE, Spoken
from server.sender.media.sound import SoundPacket


def recorded_speech(
    packets: Sequence[SoundPacket], seconds: float, arrivals: Sequence[tuple[float, bytes]], until: float
) -> list[Spoken]:
    """All that was said from the first arrival to `until`, as if the fastest packet had taken no time.

    packets: of one round, which takes `seconds`; arrivals: (when, packet). Nothing where no packet is known again.
    """
    end = packets[0].start + round(seconds * AUDIO_RATE) if packets else 0
    round_ = [packet for packet in packets if packet.start + packet.samples <= end]
    count = Counter(packet.data for packet in round_)
    places = {packet.data: packet.start / AUDIO_RATE for packet in round_ if count[packet.data] == 1}
    begins = [at - places[payload] for at, payload in arrivals if payload in places]
    if not begins:
        return []
    # Each arrival names the beginning of its own round, and how long it took.
    since = [begin - begins[0] - seconds * round((begin - begins[0]) / seconds) for begin in begins]
    begin, first = begins[0] + min(since), arrivals[0][0]
    said = []
    lap = int((first - begin) // seconds) - 1
    while begin + lap * seconds <= until:
        for packet in round_:
            captured = begin + lap * seconds + packet.start / AUDIO_RATE
            if first - OLDEST <= captured <= until:
                said.append(Spoken(captured, round(packet.samples / AUDIO_RATE / PIECE), packet.data))
        lap += 1
    return said
