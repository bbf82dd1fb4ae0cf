"""The sound of a recorded call: everybody's, mixed, as one stretch without gaps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import av
import av.error
import numpy as np
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler

from model.arrays import Floats
from model.codec.vav import AUDIO_RATE, AudioPacket
from model.media.container import decoded_sound, file_address, sound_stream

LONGEST = 24 * 3600
"""Seconds of a film; what lies beyond is damage."""

Piece = tuple[int, Floats]
"""Samples (n,) at 48 kHz, and where the first lies, in samples after the film's start."""


def packets_sound(packets: Sequence[AudioPacket], shift: int) -> Iterator[Piece]:
    """Opus packets decoded, each `shift` samples later than it says. Those that cannot be decoded are silent."""
    decoder = av.CodecContext.create("libopus", "r")
    assert isinstance(decoder, AudioCodecContext)
    decoder.sample_rate, decoder.layout = AUDIO_RATE, "mono"
    for packet in packets:
        try:
            frames = decoder.decode(av.Packet(packet.data))
        except av.error.FFmpegError:
            continue
        start = packet.start + shift
        for frame in frames:
            samples = _floats(frame)
            yield start, samples
            start += len(samples)


def film_sound(path: Path, shift: int) -> Iterator[Piece]:
    """The sound of a film, each sample `shift` samples later than it says."""
    with av.open(file_address(path)) as container:
        stream = sound_stream(container)
        if stream is None:
            return
        resampler = AudioResampler("flt", "mono", AUDIO_RATE)
        for frame in decoded_sound(container, stream):
            if frame.pts is None or frame.time_base is None:
                continue
            start = round(frame.pts * frame.time_base * AUDIO_RATE) + shift
            frame.pts = None
            for part in resampler.resample(frame):
                samples = _floats(part)
                yield start, samples
                start += len(samples)


def _floats(frame: AudioFrame) -> Floats:
    samples = frame.to_ndarray()
    if samples.dtype == np.int16:
        return (samples.reshape(-1).astype(np.float32) / 32768).astype(np.float32)
    return samples.reshape(-1).astype(np.float32)


def mixed(sources: Sequence[Iterator[Piece]]) -> Iterator[Floats]:
    """The sum of all, (48000, 1) a second from the film's start on, until the last of them ends.

    Each source's pieces come in the order of time; the louder of two people who speak at once is not held back, and
    what is too loud for the film is cut.
    """
    waiting: list[Piece | None] = [next(source, None) for source in sources]
    second = 0
    rest = np.zeros(0, np.float32)  # beyond the second that was given out last
    while second < LONGEST and (any(piece is not None for piece in waiting) or rest.any()):
        first, end = second * AUDIO_RATE, (second + 1) * AUDIO_RATE
        sound = np.zeros(max(AUDIO_RATE, len(rest)), np.float32)
        sound[: len(rest)] = rest
        for number, source in enumerate(sources):
            piece = waiting[number]
            while piece is not None and piece[0] < end:
                sound = _added(sound, piece[0] - first, piece[1])
                piece = next(source, None)
            waiting[number] = piece
        rest = sound[AUDIO_RATE:]
        yield np.clip(sound[:AUDIO_RATE], -1, 1)[:, None]
        second += 1


def _added(sound: Floats, place: int, samples: Floats) -> Floats:
    """`samples` added from `place` on, which may lie before the beginning; longer where they go beyond the end."""
    if place < 0:
        samples, place = samples[-place:], 0
    end = place + len(samples)
    if end > len(sound):
        sound = np.concatenate([sound, np.zeros(end - len(sound), np.float32)])
    sound[place:end] += samples
    return sound
