"""A film of one camera: its own frames and its own sound, muxed and never encoded again.

VP8 goes to WebM, H.264 to fragmented MP4. Both are written in pieces of a quarter and half a second, so that a file
whose end was never written can be played up to the last piece.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from concurrent.futures import Executor
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import av
import av.error
from av.audio.stream import AudioStream

from model.codec.vav import AUDIO_RATE, AudioPacket
from server.media.frame_assembly import FrameAssembly
from server.media.media_packet import MediaPacket
from server.media.rtp_payload import KeyframeStart, h264_keyframes, vp8_keyframe
from server.media.stream_clock import StreamClock
from server.recording.output import Output

SUFFIXES = {"VP8": ".webm", "H264": ".mp4"}

RATE = 90_000
"""Ticks of a timestamp a second."""

_MILLISECOND = Fraction(1, 1000)
_OPTIONS = {
    "VP8": {"cluster_time_limit": "250"},
    "H264": {"movflags": "empty_moov+default_base_moof", "frag_duration": "500000"},
}
_ALWAYS = {"flush_packets": "1", "max_interleave_delta": "200000"}  # the other stream may be silent


class CameraFile:
    """The thread's side. Times are seconds after the file's first picture."""

    def __init__(self, path: Path, codec: str, start: KeyframeStart, first: bytes) -> None:
        """`first`: the keyframe that the file begins with."""
        self._file: BinaryIO = path.open("wb")
        try:
            self._container = av.open(self._file, "w", format=path.suffix[1:], options=_OPTIONS[codec] | _ALWAYS)
            self._video: Any
            if codec == "VP8":
                self._video = self._container.add_mux_stream("vp8", width=start.width, height=start.height)
            else:
                # MP4 wants the parameter sets in front; FFmpeg's own parser reads them.
                with av.open(io.BytesIO(first), format="h264") as parsed:
                    self._video = self._container.add_stream_from_template(parsed.streams.video[0])
            self._video.time_base = _MILLISECOND
            # Opened as an encoder only for the codec's header (RFC 7845, section 5.1).
            audio = self._container.add_stream("libopus", rate=AUDIO_RATE)
            assert isinstance(audio, AudioStream)
            audio.codec_context.layout = "mono"
            audio.codec_context.time_base = Fraction(1, AUDIO_RATE)
            self._audio = audio
        except BaseException:
            self._file.close()
            raise
        self._shown = self._heard = -1
        self._closed = False

    @property
    def written(self) -> int:
        """Bytes so far."""
        return 0 if self._file.closed else self._file.tell()

    def picture(self, data: bytes, seconds: float, keyframe: bool) -> None:
        """The next frame."""
        packet = av.Packet(data)
        packet.stream, packet.time_base = self._video, _MILLISECOND
        self._shown = max(round(seconds * 1000), self._shown + 1)  # each later than the one before
        packet.pts = packet.dts = self._shown
        packet.is_keyframe = keyframe
        self._container.mux(packet)

    def sound(self, sound: AudioPacket) -> None:
        """The next Opus packet; what comes before the first picture, or twice, is left out."""
        if sound.start <= self._heard or sound.start < 0:
            return
        packet = av.Packet(sound.data)
        packet.stream, packet.time_base = self._audio, Fraction(1, AUDIO_RATE)
        packet.pts = packet.dts = self._heard = sound.start
        packet.duration = sound.duration
        self._container.mux(packet)

    def flush(self) -> None:
        """Hand everything to the disk."""
        self._file.flush()

    def close(self) -> None:
        """Write the end and close; idempotent."""
        if not self._closed:
            self._closed = True
            try:
                self._container.close()
            finally:
                self._file.close()


class CameraRecorder:
    """The event loop's side."""

    def __init__(
        self, executor: Executor, path: Path, codec: str, start: KeyframeStart, failed: Callable[[str], None]
    ) -> None:
        self.codec = codec
        self.start = start
        self.begin: float | None = None
        """When the first picture was taken, seconds of the recorder's clock."""
        self._path, self._executor, self._failed = path, executor, failed
        self._output: Output[CameraFile] | None = None
        self._assembly = FrameAssembly()
        self._clock = StreamClock(RATE)

    @property
    def written(self) -> int:
        """Bytes on the disk."""
        return 0 if self._output is None else self._output.written

    def picture(self, packet: MediaPacket, arrived: float, keyframe: bool) -> bool:
        """One more packet of pictures; `keyframe`: one begins with it. Returns whether a keyframe is wanted."""
        try:
            frames = self._assembly.add(packet, keyframe)
        except ValueError:
            self._assembly.restart()
            return True
        for frame in frames:
            at = self._clock.at(frame.timestamp, arrived) / RATE
            self._frame(frame.data, at, self._is_keyframe(frame.data))
        return self._assembly.needs_keyframe

    def sound(self, packet: AudioPacket, captured: float) -> None:
        """An Opus packet whose sound began then."""
        if self._output is None or self.begin is None:
            return
        placed = AudioPacket(round((captured - self.begin) * AUDIO_RATE), packet.duration, packet.data)
        self._output.write(lambda file: file.sound(placed), len(packet.data))

    def flush(self) -> None:
        """Begin to write what has come."""
        if self._output is not None:
            self._output.flush()

    async def close(self) -> None:
        """Write the rest, and the end."""
        if self._output is not None:
            await self._output.close()

    def _is_keyframe(self, data: bytes) -> bool:
        try:
            if self.codec == "VP8":
                return vp8_keyframe(data) is not None
            return next(h264_keyframes(data), None) is not None
        except ValueError:
            return False

    def _frame(self, data: bytes, at: float, keyframe: bool) -> None:
        if self._output is None or self.begin is None:
            self.begin = at
            path, codec, start = self._path, self.codec, self.start
            self._output = Output(self._executor, lambda: CameraFile(path, codec, start, data), self._failed)
        seconds = at - self.begin
        self._output.write(lambda file: file.picture(data, seconds, keyframe), len(data))
