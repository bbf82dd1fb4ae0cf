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

from model.codec.opus_packet import SILENCE
from model.errors import InputError
from model.media.container import decoded_sound, sound_stream
from server.sender.media.reader import Clock, ContainerReader, Timeline, Wait, media_time
from server.sender.media.voice_activity import VoiceActivity
from server.sender.media.voice_order import PACKET_PIECES, VoiceOrder

logger = logging.getLogger(__name__)

RATE = 48_000
PIECE_SAMPLES = 960
"""20 ms: in which sound is read, and looked through for a voice."""

PIECE_SECONDS = PIECE_SAMPLES / RATE

PACKET_SAMPLES = PACKET_PIECES * PIECE_SAMPLES
PACKET_SECONDS = PACKET_SAMPLES / RATE

WAITING_SECONDS = 0.2
"""Sound kept for the track. When it stalls the oldest go, so sound never trails the picture further."""

TIME_BASE = Fraction(1, RATE)


class OpusWriter:
    """Samples in, Opus packets out (RFC 6716)."""

    def __init__(self, order: VoiceOrder | None = None) -> None:
        self._order = order or VoiceOrder()
        self._samples = 0
        self._open()

    @property
    def order(self) -> VoiceOrder:
        """How it encodes. libopus is told when it is opened alone, so a change costs its memory: a packet that is a
        little worse.
        """
        return self._order

    @order.setter
    def order(self, order: VoiceOrder) -> None:
        if order != self._order:
            self._order = order
            self._open()

    def write(self, samples: NDArray[np.int16]) -> list[bytes]:
        """Encode exactly one packet's samples (960 times the order's pieces,)."""
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[None]), format="s16", layout="mono")
        frame.sample_rate = RATE
        frame.time_base = TIME_BASE
        frame.pts = self._samples
        self._samples += len(samples)
        return [bytes(packet) for packet in self._codec.encode(frame)]

    def _open(self) -> None:
        codec = av.CodecContext.create("libopus", "w")
        assert isinstance(codec, av.AudioCodecContext)
        codec.bit_rate = round(1000 * self._order.kbps)
        codec.format = av.AudioFormat("s16")
        codec.layout = "mono"
        codec.sample_rate = RATE
        codec.time_base = TIME_BASE
        codec.options = {
            "application": "voip",
            "frame_duration": str(round(1000 * self._order.pieces * PIECE_SECONDS)),
            "fec": "1",
            "packet_loss": str(self._order.loss_percent),
        }
        self._codec = codec


@dataclass(frozen=True)
class SoundPacket:
    """A piece of the stream, whole at its end."""

    data: bytes  # one Opus packet
    start: int  # place in the stream, samples at 48 kHz
    samples: int = PACKET_SAMPLES
    silent: bool = False  # nothing is to be heard: it need not be sent


class VoicePackets:
    """Pieces of 20 ms in, packets out: as ordered while somebody speaks, 20 ms of nothing otherwise."""

    def __init__(self, writer: OpusWriter) -> None:
        self._writer = writer
        self._activity = VoiceActivity()
        self._pieces: list[NDArray[np.int16]] = []
        self._active = False  # in any of these pieces
        self._speaks = False
        self._start = 0

    def add(self, samples: NDArray[np.int16], order: VoiceOrder) -> list[SoundPacket]:
        """One piece (960,), which follows on the one before. `order` holds from the next packet on."""
        if not self._pieces:
            self._writer.order = order
        active = self._activity.active(samples, PIECE_SECONDS)
        if not self._speaks and not active:
            packet = SoundPacket(SILENCE, self._start, PIECE_SAMPLES, silent=True)
            self._start += PIECE_SAMPLES
            return [packet]
        self._speaks = True
        self._active |= active
        self._pieces.append(samples)
        if len(self._pieces) < self._writer.order.pieces:
            return []
        length = len(self._pieces) * PIECE_SAMPLES
        coded = self._writer.write(np.concatenate(self._pieces))
        packets = [SoundPacket(data, self._start, length) for data in coded]
        self._start += length
        self._speaks, self._active, self._pieces = self._active, False, []
        return packets


class SoundQueue:
    """Packets from the capture thread to whichever track plays; bounded, the oldest go first."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._packets: deque[SoundPacket] = deque()
        self._arrived = asyncio.Event()
        self.order = VoiceOrder()
        """How the voice is to be encoded; read by the capture thread."""
        self.dropped = 0
        """Packets that nobody took in time."""

    def put(self, packet: SoundPacket) -> None:
        """From any thread."""
        try:
            self._loop.call_soon_threadsafe(self._put, packet)
        except RuntimeError:
            logger.debug("sound after the end")  # the loop has closed: the program is ending

    def _put(self, packet: SoundPacket) -> None:
        self._packets.append(packet)
        while len(self._packets) > 1 and sum(p.samples for p in self._packets) > WAITING_SECONDS * RATE:
            self._packets.popleft()
            self.dropped += 1
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
        self._voice = VoicePackets(OpusWriter())
        self._on_problem = on_problem

    def run(self) -> None:
        try:
            self.play()
        except InputError as error:
            self._on_problem(str(error))
        except (av.FFmpegError, OSError) as error:
            self._on_problem(f"the sound stopped: {error.strerror or error}")

    def play_lap(self, container: InputContainer, lap: int) -> bool:
        """Every packet, once it is whole, into the queue."""
        stream = sound_stream(container)
        if stream is None:
            return False
        for begin, samples in _pieces(container, stream):
            # A piece is whole at its end.
            if self.stopping or self.wait(self.due(lap, begin + PIECE_SECONDS)):
                return False
            for packet in self._voice.add(samples, self._queue.order):
                self._queue.put(packet)
        return True


def _pieces(container: InputContainer, stream: AudioStream) -> Iterator[tuple[float, NDArray[np.int16]]]:
    """The stream as mono int16 pieces of `PIECE_SAMPLES` samples at 48 kHz, each with its media time in seconds.

    A rest shorter than a piece is dropped.
    """
    resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE, frame_size=PIECE_SAMPLES)
    begin: float | None = None
    count = 0
    for frame in decoded_sound(container, stream):
        begin = media_time(container, frame) if begin is None else begin
        for piece in resampler.resample(frame):
            samples = np.asarray(piece.to_ndarray(), np.int16).reshape(-1)
            if samples.size == PIECE_SAMPLES:
                yield (begin or 0.0) + count * PIECE_SECONDS, samples
                count += 1
