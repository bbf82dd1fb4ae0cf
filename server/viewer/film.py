"""What is watched as a film: H.264 or VP9 by the file's name, with its sound."""

from __future__ import annotations

from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from numpy.typing import NDArray

from model.media.atomic_file import complete_file
from model.media.video import AUDIO_RATE, OPUS_BIT_RATES, OPUS_FRAME, VideoWriter

_GAP = AUDIO_RATE // 10
"""Samples by which sound may lie beside where it would follow; more is a pause."""


class Film:
    """A `server.viewer.sink.Sink`. The file is there, whole, once this is closed."""

    fps: float | None = None
    hears = True

    def __init__(self, path: Path, size: tuple[int, int]) -> None:
        self._stack = ExitStack()
        part = self._stack.enter_context(complete_file(path))
        self._writer = self._stack.enter_context(VideoWriter(part, size, None, audio_channels=1))
        encoder = av.CodecContext.create("libopus", "w")
        assert isinstance(encoder, AudioCodecContext)
        encoder.sample_rate, encoder.layout, encoder.format = AUDIO_RATE, "mono", "flt"
        encoder.bit_rate, encoder.time_base = OPUS_BIT_RATES[1], Fraction(1, AUDIO_RATE)
        self._encoder = encoder
        self._resampler = AudioResampler("flt", "mono", AUDIO_RATE)
        self._held = np.zeros(0, np.float32)
        self._next = 0  # sample with which what is held begins
        self._shown = 0.0

    def picture(self, picture: NDArray[np.uint8], at: float) -> None:
        """The next picture."""
        self._writer.frame(picture, Fraction(round(at * 1000), 1000))
        self._shown = at

    def sound(self, frame: AudioFrame, at: float) -> None:
        """The next sound; a pause before it becomes silence."""
        start = round(at * AUDIO_RATE)
        frame.pts = None
        samples = np.concatenate(
            [part.to_ndarray().reshape(-1) for part in self._resampler.resample(frame)] or [np.zeros(0, np.float32)]
        )
        gap = start - (self._next + len(self._held))
        if gap > _GAP:
            samples = np.concatenate([np.zeros(gap, np.float32), samples])
        self._held = np.concatenate([self._held, samples.astype(np.float32)])
        while len(self._held) >= OPUS_FRAME:
            piece, self._held = self._held[:OPUS_FRAME], self._held[OPUS_FRAME:]
            self._encode(piece)

    def close(self) -> None:
        """Put the file in its place."""
        self._stack.close()

    def _encode(self, piece: NDArray[np.float32]) -> None:
        frame = AudioFrame.from_ndarray(np.ascontiguousarray(piece[None]), "flt", "mono")
        frame.sample_rate, frame.pts, frame.time_base = AUDIO_RATE, self._next, Fraction(1, AUDIO_RATE)
        self._next += len(piece)
        for packet in self._encoder.encode(frame):
            assert packet.pts is not None
            self._writer.sound(packet.pts, packet.duration or OPUS_FRAME, bytes(packet))
