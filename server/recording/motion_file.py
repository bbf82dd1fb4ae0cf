"""A `.vav` file of one participant: motion messages as they came, source images, sound.

Messages that refer to what the file does not hold are left out, so that a reader can take every one that is in it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from model.codec.history import HISTORY
from model.codec.packet import MotionMessage
from model.codec.vav import MAX_LIVE_WINDOWS, AudioPacket, CaptureClock, VavHeader, VavWriter
from server.recording.output import Output

CLOCK_TOLERANCE_MS = 20
"""By which the relation of the sender's clock to the recording's may move before the file says it anew: a sixth of what
one notices between lips and voice.
"""

MOST_SOUND = 60
"""Packets of one block."""


class Decodable:
    """Which frames a reader of the file holds, and so which messages it can decode. Pure."""

    def __init__(self) -> None:
        self._epoch: int | None = None
        self._frames: OrderedDict[int, None] = OrderedDict()  # sequence numbers, the newest `HISTORY`

    def take(self, message: MotionMessage) -> bool:
        """Whether a message can be decoded by whoever has all that were taken before; it is taken then."""
        if message.reference:
            if not self._goes_on(message) or (message.sequence - message.reference) & 0xFFFF not in self._frames:
                return False
        elif message.epoch != self._epoch:
            self._epoch = message.epoch
            self._frames.clear()
        for number in range(message.frames):
            self._frames[(message.sequence + number) & 0xFFFF] = None
        while len(self._frames) > HISTORY:
            self._frames.popitem(last=False)
        return True

    def _goes_on(self, message: MotionMessage) -> bool:
        if self._epoch is None:
            return False
        return message.epoch == (self._epoch & 0xFF if message.short else self._epoch)


class MotionFile(VavWriter):
    """The thread's side."""

    def __init__(self, path: Path, header: VavHeader) -> None:
        super().__init__(path, header)
        self._frames, self._end_ms, self._ended = 0, 0, False

    def frames(self, count: int, end_ms: int) -> None:
        """So many frames more, up to that time."""
        self._frames += count
        self._end_ms = max(self._end_ms, end_ms)

    def close(self) -> None:
        """Write the last block and close; idempotent."""
        if not self._ended:
            self._ended = True
            self.end(self._frames, max(0, self._end_ms))
            super().close()


@dataclass(frozen=True)
class RecordedSource:
    """A source image and the windows beside it by their slots, as they were uploaded."""

    image: bytes
    windows: Mapping[int, bytes] = field(default_factory=dict)


class MotionRecorder:
    """The event loop's side. Times are milliseconds, or samples at 48 kHz, after the recording's start."""

    def __init__(self, executor: Executor, path: Path, header: VavHeader, failed: Callable[[str], None]) -> None:
        self._output: Output[MotionFile] = Output(executor, lambda: MotionFile(path, header), failed)
        # The header goes to the disk with the first flush, whatever else there is.
        self._output.write(lambda _file: None, 0)
        self._decodable = Decodable()
        self._sources: dict[int, bytes] = {}  # what the file holds
        self._windows: dict[int, bytes] = {}  # what its slots hold; b"": nothing
        self._windows_written = 0
        self._clock: CaptureClock | None = None
        self._newest_ms = 0  # of the sender's clock, the last frame's
        self._epoch: int | None = None
        self._sound: list[AudioPacket] = []

    @property
    def written(self) -> int:
        """Bytes on the disk."""
        return self._output.written

    def motion(self, data: bytes, source: int, driven: RecordedSource, capture_ms: int, at_ms: int) -> bool:
        """A message whose first frame drives `source`, which is `driven`; whether the file can hold it.

        The frame was captured at `capture_ms` of the sender's clock, which is `at_ms`.
        """
        message = MotionMessage.parse(data)
        if not self._decodable.take(message):
            return False
        self._put_sound()
        if self._sources.get(source) != driven.image:
            self._sources[source] = driven.image
            self._output.write(lambda file: file.source(source, driven.image), len(driven.image))
        self._put_windows(driven.windows)
        clock, restarted = self._clock, not message.short and message.epoch != self._epoch
        if clock is None or restarted or abs(clock.at(capture_ms) - at_ms) > CLOCK_TOLERANCE_MS:
            self._put_clock(CaptureClock(capture_ms, at_ms))
        if not message.short:
            self._epoch = message.epoch
        assert self._clock is not None
        self._newest_ms, shown = capture_ms, self._clock.at(capture_ms)

        def write(file: MotionFile) -> None:
            file.motion(data)
            file.frames(message.frames, shown)

        self._output.write(write, len(data))
        return True

    def sound(self, packet: AudioPacket) -> None:
        """The next Opus packet; what follows on the one before it shares its block."""
        before = self._sound[-1] if self._sound else None
        if before is not None and (before.start + before.duration != packet.start or len(self._sound) >= MOST_SOUND):
            self._put_sound()
        self._sound.append(packet)

    def flush(self) -> None:
        """Begin to write what has come, up to where the clock is said anew: most messages have no time of their own."""
        self._put_sound()
        if self._clock is not None and self._clock.capture_ms != self._newest_ms:
            self._put_clock(CaptureClock(self._newest_ms, self._clock.at(self._newest_ms)))
        self._output.flush()

    async def close(self) -> None:
        """Write the rest, and the end."""
        self._put_sound()
        await self._output.close()

    def _put_clock(self, clock: CaptureClock) -> None:
        self._clock = clock
        self._output.write(lambda file: file.clock(clock), 24)

    def _put_windows(self, windows: Mapping[int, bytes]) -> None:
        slots = sorted({*windows, *self._windows})
        # Where a file can hold no more of them, all slots are emptied: what stands there may show somebody else.
        full = self._windows_written + 2 * len(slots) > MAX_LIVE_WINDOWS
        for slot in slots:
            window = b"" if full else windows.get(slot, b"")
            if self._windows.get(slot, b"") != window:
                self._windows[slot] = window
                self._windows_written += 1
                self._output.write(partial(MotionFile.window, place=slot, data=window), len(window))

    def _put_sound(self) -> None:
        sound, self._sound = self._sound, []
        if not sound:
            return

        def write(file: MotionFile) -> None:
            file.audio(sound)
            file.frames(0, (sound[-1].start + sound[-1].duration) // 48)

        self._output.write(write, sum(len(packet.data) for packet in sound))
