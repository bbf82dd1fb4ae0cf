"""Relays one publisher's sound: decoded once by aiortc, encoded once to Opus, delayed, fanned out to all viewers."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import av
import numpy as np
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError
from av.audio.codeccontext import AudioCodecContext

from server.media.audio_delay import DelayLine
from server.media.delayed_release import DelayedRelease
from server.media.queued_track import Packet, QueuedTrack

SAMPLE_RATE = 48_000
PACKET_SAMPLES = 960
"""20 ms, what browsers send and aiortc's receiver counts with (RFC 7587 section 4.2)."""

PACKET_SECONDS = PACKET_SAMPLES / SAMPLE_RATE

SILENT_DBOV = -127.0
_TIME_BASE = Fraction(1, SAMPLE_RATE)


class OpusEncoder:
    """Frames of any size, rate and layout in, 20 ms Opus packets out. One call at a time, on a worker thread."""

    def __init__(self, bit_rate: int = 48_000) -> None:
        context = av.CodecContext.create("libopus", "w")
        assert isinstance(context, AudioCodecContext)
        context.bit_rate = bit_rate
        context.format, context.layout, context.sample_rate = "s16", "stereo", SAMPLE_RATE
        context.time_base = _TIME_BASE
        # Complexity 5 of 10 takes half the time; the difference is inaudible at this rate.
        context.options = {"application": "voip", "compression_level": "5", "frame_duration": "20"}
        self._context = context
        self._resampler: av.AudioResampler | None = None
        self._input: tuple[str, str, int] | None = None
        self._expected: int | None = None  # input time of the next frame, in 48 kHz ticks
        self._pts = 0  # of the next packet

    def encode(self, frame: av.AudioFrame) -> list[Packet]:
        """Packets that this frame completes, with times in 48 kHz ticks that follow the frame's own."""
        shape = (frame.format.name, frame.layout.name, frame.sample_rate)
        time_base = frame.time_base or Fraction(1, frame.sample_rate)
        start = round(frame.pts * time_base * SAMPLE_RATE) if frame.pts is not None else self._expected or 0
        gap = self._expected is None or abs(start - self._expected) > PACKET_SAMPLES
        if self._resampler is None or shape != self._input or gap:
            # After lost packets time goes on where the sender's does; half a packet from before is dropped.
            self._resampler = av.AudioResampler("s16", "stereo", SAMPLE_RATE, PACKET_SAMPLES)
            self._input, self._pts = shape, start
        self._expected = start + frame.samples * SAMPLE_RATE // frame.sample_rate
        frame.pts = None
        packets: list[Packet] = []
        for piece in self._resampler.resample(frame):
            piece.pts, piece.time_base = self._pts, _TIME_BASE
            for packet in self._context.encode(piece):
                sent = av.Packet(bytes(packet))
                sent.pts, sent.time_base = self._pts, _TIME_BASE
                packets.append(sent)
            self._pts += PACKET_SAMPLES
        return packets


class AudioTrack(QueuedTrack):
    """One viewer's sound: Opus packets; a viewer that falls behind loses the oldest."""

    kind = "audio"

    def __init__(self, on_stop: Callable[[AudioTrack], None], capacity: int = 10) -> None:
        super().__init__(lambda: on_stop(self))
        self._packets: deque[Packet] = deque(maxlen=capacity)
        self._reading = False

    def offer(self, packet: Packet) -> None:
        """One more packet to send; ignored until the track is read for the first time."""
        if self._reading:
            self._packets.append(packet)
            self.wake()

    def take(self) -> Packet | None:
        """The oldest packet."""
        self._reading = True
        return self._packets.popleft() if self._packets else None


class AudioRelay:
    """Reads one track at a time and feeds any number of viewers. All methods belong to one event loop."""

    def __init__(self, clock: Callable[[], float], bit_rate: int = 48_000) -> None:
        self._clock = clock
        self._bit_rate = bit_rate
        self._delayed: DelayedRelease[Packet] = DelayedRelease(DelayLine(), self._release, clock)
        self._viewers: set[AudioTrack] = set()
        self._reader: asyncio.Task[None] | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._levels: deque[float] = deque(maxlen=5)
        self.released: Callable[[Packet], None] | None = None  # called with each packet as it leaves

    @property
    def attached(self) -> bool:
        """Whether a track is or was there."""
        return self._reader is not None

    @property
    def level(self) -> float:
        """Loudness of the last five frames (100 ms), dBov: -127 is silence, 0 the loudest (RFC 6464)."""
        power = sum(self._levels) / len(self._levels) if self._levels else 0.0
        return max(SILENT_DBOV, 10 * math.log10(power)) if power > 0 else SILENT_DBOV

    @property
    def delay(self) -> float:
        """Seconds that sound waits in the delay line now."""
        return self._delayed.line.delay

    def set_delay(self, seconds: float) -> None:
        """Seconds that sound should wait; approached smoothly."""
        self._delayed.line.set_delay(seconds)

    def attach(self, track: MediaStreamTrack) -> None:
        """Read this track from now on, instead of an earlier one."""
        if self._reader is not None:
            self._reader.cancel()
        self._reader = asyncio.ensure_future(self._read(track))

    def add(self) -> AudioTrack:
        """A viewer's track."""
        viewer = AudioTrack(self._viewers.discard)
        self._viewers.add(viewer)
        return viewer

    async def close(self) -> None:
        """End reading and all viewers' tracks; idempotent."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)
        self._delayed.cancel()
        for viewer in list(self._viewers):
            viewer.stop()
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=True)  # idle by now

    async def _read(self, track: MediaStreamTrack) -> None:
        loop = asyncio.get_running_loop()
        encoder = OpusEncoder(self._bit_rate)
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                self._levels.clear()
                return
            if not isinstance(frame, av.AudioFrame):
                continue
            self._levels.append(_power(frame))
            # The track is read whether or not anybody listens: its queue has no bound.
            if not self._viewers:
                continue
            if self._pool is None:
                self._pool = ThreadPoolExecutor(1, thread_name_prefix="audio-encoder")
            arrived = self._clock()
            self._delayed.push(await loop.run_in_executor(self._pool, encoder.encode, frame), arrived)

    def _release(self, packet: Packet, _: float) -> None:
        if self.released is not None:
            self.released(packet)
        for viewer in list(self._viewers):
            viewer.offer(packet)


def _power(frame: av.AudioFrame) -> float:
    """Mean square relative to full scale."""
    samples = frame.to_ndarray()
    scale = 1.0 if samples.dtype.kind == "f" else 32768.0  # aiortc decodes to 16 bits
    return float(np.mean(np.square(samples.astype(np.float32) / scale)))
