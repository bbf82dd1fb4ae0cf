"""Sound as Opus packets: captured, encoded once on a thread of its own, queued for whichever connection there is."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer
from numpy.typing import NDArray

from model.errors import InputError
from model.media.container import decoded_sound, sound_stream
from server.sender.media.reader import Clock, ContainerReader, Timeline, Wait, media_time

logger = logging.getLogger(__name__)

RATE = 48_000
PACKET_SAMPLES = 960  # 20 ms, RFC 7587 section 4.2
PACKET_SECONDS = PACKET_SAMPLES / RATE
BITS_PER_SECOND = 24_000
"""Mono speech at 48 kHz; RFC 7587 section 3.1.1 names 28 to 40 kbit/s for fullband speech, 16 to 20 for wideband."""

WAITING_PACKETS = 10
"""Packets kept for the track: 200 ms. When it stalls the oldest go, so sound never trails the picture further."""

TIME_BASE = Fraction(1, RATE)


class OpusWriter:
    """Samples in, 20 ms Opus packets out (RFC 6716)."""

    def __init__(self, bits_per_second: int = BITS_PER_SECOND) -> None:
        codec = av.CodecContext.create("libopus", "w")
        assert isinstance(codec, av.AudioCodecContext)
        codec.bit_rate = bits_per_second
        codec.format = av.AudioFormat("s16")
        codec.layout = "mono"
        codec.sample_rate = RATE
        codec.time_base = TIME_BASE
        # In-band FEC (RFC 6716 section 2.1.7) bridges a lost packet; there is no time for a retransmission.
        codec.options = {"application": "voip", "fec": "1", "packet_loss": "5"}
        self._codec = codec
        self._samples = 0

    def write(self, samples: NDArray[np.int16]) -> list[bytes]:
        """Encode exactly `PACKET_SAMPLES` samples (960,)."""
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[None]), format="s16", layout="mono")
        frame.sample_rate = RATE
        frame.time_base = TIME_BASE
        frame.pts = self._samples
        self._samples += PACKET_SAMPLES
        return [bytes(packet) for packet in self._codec.encode(frame)]


@dataclass(frozen=True)
class SoundPacket:
    """20 ms of sound."""

    data: bytes  # one Opus packet
    index: int  # position in the stream, in packets


class SoundQueue:
    """Packets from the capture thread to whichever track plays; bounded, the oldest go first."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._packets: deque[SoundPacket] = deque(maxlen=WAITING_PACKETS)
        self._arrived = asyncio.Event()
        self._index = 0
        self.dropped = 0

    def put(self, data: bytes) -> None:
        """From any thread."""
        try:
            self._loop.call_soon_threadsafe(self._put, data)
        except RuntimeError:
            logger.debug("sound after the end")  # the loop has closed: the program is ending

    def _put(self, data: bytes) -> None:
        self._index += 1
        self.dropped += len(self._packets) == WAITING_PACKETS
        self._packets.append(SoundPacket(data, self._index))
        self._arrived.set()

    async def take(self) -> SoundPacket:
        """The oldest packet that waits, or the next to come."""
        while not self._packets:
            self._arrived.clear()
            await self._arrived.wait()
        return self._packets.popleft()

    def clear(self) -> None:
        """Forget what waits: a new connection starts with sound of now."""
        self._packets.clear()


class SoundCapture(ContainerReader):
    """Reads one audio stream, from a microphone or in real time from a file, and queues Opus packets.

    Sound is never worth ending a call for: an error goes to `on_problem`, once, and the call stays silent.
    """

    def __init__(
        self,
        open_container: Callable[[], InputContainer],
        queue: SoundQueue,
        *,
        clock: Clock,
        timeline: Timeline | None = None,
        loop: bool = False,
        on_problem: Callable[[str], None],
        wait: Wait | None = None,
    ) -> None:
        super().__init__("visavis-sound", open_container, clock=clock, timeline=timeline, loop=loop, wait=wait)
        self._queue = queue
        self._writer = OpusWriter()
        self._on_problem = on_problem

    def run(self) -> None:
        try:
            self.play()
        except InputError as error:
            self._on_problem(str(error))
        except (av.FFmpegError, OSError) as error:
            self._on_problem(f"the sound stopped: {error.strerror or error}")

    def play_lap(self, container: InputContainer, lap: int) -> bool:
        """Every 20 ms as a packet, into the queue."""
        stream = sound_stream(container)
        if stream is None:
            return False
        for begin, samples in _pieces(container, stream):
            # A packet is whole at its end.
            if self.stopping or self.wait(self.due(lap, begin + PACKET_SECONDS)):
                return False
            for packet in self._writer.write(samples):
                self._queue.put(packet)
        return True


def _pieces(container: InputContainer, stream: AudioStream) -> Iterator[tuple[float, NDArray[np.int16]]]:
    """The stream as mono int16 pieces of `PACKET_SAMPLES` samples at 48 kHz, each with its media time in seconds.

    A rest shorter than a piece is dropped.
    """
    resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE, frame_size=PACKET_SAMPLES)
    begin: float | None = None
    count = 0
    for frame in decoded_sound(container, stream):
        begin = media_time(container, frame) if begin is None else begin
        for piece in resampler.resample(frame):
            samples = np.asarray(piece.to_ndarray(), np.int16).reshape(-1)
            if samples.size == PACKET_SAMPLES:
                yield (begin or 0.0) + count * PACKET_SECONDS, samples
                count += 1
