"""What is watched as a stream of raw pictures, for a program at the end of a pipe: YUV4MPEG2, or NUT with sound."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, BinaryIO

import av
import av.error
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

AUDIO_RATE = 48_000


def _planar(picture: NDArray[np.uint8]) -> VideoFrame:
    return VideoFrame.from_ndarray(np.ascontiguousarray(picture), "rgb24").reformat(format="yuv420p")


class Yuv4Mpeg:
    """Pictures alone, as mjpegtools and FFmpeg read them (`ffmpeg -i -`). A `server.viewer.sink.Sink`."""

    hears = False

    def __init__(self, file: BinaryIO, size: tuple[int, int], fps: float) -> None:
        self.fps: float | None = fps
        self._file = file
        rate = Fraction(fps).limit_denominator(1001)
        header = f"YUV4MPEG2 W{size[0]} H{size[1]} F{rate.numerator}:{rate.denominator} Ip A1:1 C420mpeg2\n"
        self._waiting = header.encode()

    def picture(self, picture: NDArray[np.uint8], at: float) -> None:
        """The next picture."""
        del at  # one after the other at the stream's rate
        planes = np.asarray(_planar(picture).to_ndarray(), np.uint8)
        self._file.write(self._waiting + b"FRAME\n" + planes.tobytes())
        self._file.flush()
        self._waiting = b""

    def sound(self, frame: AudioFrame, at: float) -> None:
        """There is none."""

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Nut:
    """Raw pictures and PCM (`ffplay -i -`). A `server.viewer.sink.Sink`."""

    hears = True

    def __init__(self, file: BinaryIO, size: tuple[int, int], fps: float) -> None:
        self.fps: float | None = fps
        self._file = file
        self._container = av.open(file, "w", format="nut", options={"max_interleave_delta": "200000"})
        video = self._container.add_stream("rawvideo", rate=Fraction(fps).limit_denominator(1001))
        assert isinstance(video, VideoStream)
        video.width, video.height, video.pix_fmt = *size, "yuv420p"
        video.codec_context.time_base = Fraction(1, 1000)
        audio = self._container.add_stream("pcm_s16le", rate=AUDIO_RATE, layout="mono")
        assert isinstance(audio, AudioStream)
        self._video, self._audio = video, audio
        self._resampler = AudioResampler("s16", "mono", AUDIO_RATE)
        self._shown = self._heard = -1
        self._closed = False

    def picture(self, picture: NDArray[np.uint8], at: float) -> None:
        """The next picture."""
        frame = _planar(picture)
        self._shown = frame.pts = max(round(at * 1000), self._shown + 1)
        frame.time_base = Fraction(1, 1000)
        self._write(self._video.encode(frame))

    def sound(self, frame: AudioFrame, at: float) -> None:
        """The next sound."""
        frame.pts = None
        start = max(round(at * AUDIO_RATE), self._heard)
        for part in self._resampler.resample(frame):
            part.pts, part.time_base = start, Fraction(1, AUDIO_RATE)
            start = self._heard = start + part.samples
            self._write(self._audio.encode(part))

    def close(self) -> None:
        """Write the end and close the file; idempotent."""
        if not self._closed:
            self._closed = True
            try:
                self._container.close()
            except (av.error.FFmpegError, OSError):
                return  # nobody reads any more
            finally:
                self._file.close()

    def _write(self, packets: list[Any]) -> None:
        self._container.mux(packets)
        self._file.flush()
