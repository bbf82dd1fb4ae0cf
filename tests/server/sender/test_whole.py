"""The sender as `send` builds it, from a video file to the receiver's door: decoding, head tracker, model, codec.

The film is a public-domain portrait that drifts a little; nothing here asks how fast it goes.
"""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from model.codec.decoder import MotionDecoder
from model.talking_head import WEIGHTS, TalkingHead
from server.benchmark.portrait import portrait_picture
from server.sender.build import make_daemon, parse_choices
from server.settings import load_settings
from tests.server.fakes import until
from tests.server.signalling import FakePublication, running_call

RATE = 48_000
FRAMES = 50


def write_film(path: Path) -> Path:
    picture = portrait_picture()
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", 25, options={"preset": "ultrafast"})
        assert isinstance(video, av.VideoStream)
        video.width, video.height, video.pix_fmt = 384, 384, "yuv420p"
        audio = container.add_stream("libopus", RATE, layout="mono")
        for i in range(FRAMES):
            left = round(32 + 6 * np.sin(2 * np.pi * i / FRAMES))
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture[:384, left : left + 384])))
            tone = (6000 * np.sin(np.arange(i * 1920, (i + 1) * 1920) / RATE * 2 * np.pi * 300)).astype(np.int16)
            sound = av.AudioFrame.from_ndarray(tone[None], "s16", "mono")
            sound.sample_rate, sound.pts, sound.time_base = RATE, i * 1920, Fraction(1, RATE)
            container.mux(audio.encode(sound))
        container.mux(video.encode(None))
        container.mux(audio.encode(None))
    return path


@pytest.fixture(autouse=True)
def _same_threads() -> Iterator[None]:
    """The daemon takes one thread for itself; the tests after this one get theirs back."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.mark.slow
@pytest.mark.asyncio
@pytest.mark.skipif(not WEIGHTS.exists(), reason="no trained weights yet")
async def test_a_film_becomes_motion_and_sound(tmp_path: Path) -> None:
    film = write_film(tmp_path / "film.mkv")
    async with running_call() as call:
        choices = parse_choices(
            server=str(call.client.make_url("")),
            room="lobby",
            name="Eileen",
            source=str(film),
            kbps=25.0,
            loop=True,
            token=call.token(identity="daemon"),
        )
        daemon = make_daemon(choices, load_settings(), io.StringIO())
        decoder = MotionDecoder(TalkingHead.load().statistics)
        yaws: list[float] = []
        running = asyncio.create_task(daemon.run())
        try:
            await until(lambda: running.done() or bool(daemon.identity.sources), seconds=50)
            await until(lambda: running.done() or len(_messages()) >= 3, seconds=50)
            yaws = [float(frame.vector[0]) for message in _messages() for frame in decoder.decode(message)]
        finally:
            daemon.stop()
            await running
        assert len(yaws) >= 3
        assert max(map(abs, yaws)) < 25.0, "she looks into the camera"
        assert list(daemon.identity.sources) == [0]
    assert not {thread.name for thread in threading.enumerate()} & {
        "visavis-capture",
        "visavis-sound",
        "visavis-extraction",
    }


def _messages() -> list[bytes]:
    """Motion messages that have arrived."""
    return [m for publication in FakePublication.alive for m in publication.messages if m[:1] in (b"\x41", b"\x44")]
