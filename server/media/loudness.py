"""How loud a publisher is: what its packets say (RFC 6464), or else what a decoder beside the call finds."""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import av
import numpy as np
from av.audio.codeccontext import AudioCodecContext

from server.media.media_packet import MediaPacket

SILENT_DBOV = -127.0

_DECODE_EVERY = 0.06
"""Seconds between packets that are decoded: a speaker is looked for five times a second."""

_STALE = 0.5
"""Seconds after which nothing that came says anything any more: silence is often not sent at all (RFC 7587, DTX)."""

_DTX_BYTES = 2
"""A packet of at most so many bytes holds no sound: DTX (RFC 6716 section 2.1.9)."""

_log = logging.getLogger(__name__)


class Loudness:
    """Measures one stream of Opus packets. All methods belong to one event loop."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._powers: deque[float] = deque(maxlen=5)
        self._heard = float("-inf")
        self._decoded = float("-inf")
        self._pool: ThreadPoolExecutor | None = None
        self._task: asyncio.Task[None] | None = None
        self._decoder: AudioCodecContext | None = None

    @property
    def level(self) -> float:
        """Loudness lately, dBov: -127 is silence, 0 the loudest (RFC 6464)."""
        if not self._powers or self._clock() - self._heard > _STALE:
            return SILENT_DBOV
        power = sum(self._powers) / len(self._powers)
        return max(SILENT_DBOV, 10 * math.log10(power)) if power > 0 else SILENT_DBOV

    def packet(self, packet: MediaPacket) -> None:
        """One more packet. Where it does not say how loud it is it is decoded beside, unless one is being decoded."""
        now = self._clock()
        if packet.level is not None:
            self._powers.append(0.0 if packet.level >= 127 else 10 ** (-packet.level / 10))
            self._heard = now
        elif len(packet.payload) <= _DTX_BYTES:
            self._powers.append(0.0)
            self._heard = now
        elif self._task is None and now - self._decoded >= _DECODE_EVERY:
            self._decoded = now
            self._task = asyncio.ensure_future(self._measure(packet.payload))

    async def close(self) -> None:
        """Give the thread back; idempotent."""
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False)  # idle by now

    async def _measure(self, payload: bytes) -> None:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, thread_name_prefix="audio-loudness")
        try:
            power = await asyncio.get_running_loop().run_in_executor(self._pool, self._power, payload)
            if power is not None:
                self._powers.append(power)
                self._heard = self._clock()
        except av.FFmpegError as error:
            _log.debug("a packet of sound cannot be decoded: %s", error)
        finally:
            self._task = None

    def _power(self, payload: bytes) -> float | None:
        """Mean square relative to full scale; on the worker thread."""
        if self._decoder is None:
            context = av.CodecContext.create("libopus", "r")
            assert isinstance(context, AudioCodecContext)
            context.format, context.layout, context.sample_rate = "s16", "stereo", 48_000
            self._decoder = context
        powers = [
            float(np.mean(np.square(frame.to_ndarray().astype(np.float32) / 32768.0)))
            for frame in self._decoder.decode(av.Packet(payload))
        ]
        return sum(powers) / len(powers) if powers else None
