"""The sender as `send` builds it, from a video file to the receiver's door: decoding, head tracker, model, codec.

The film is a public-domain portrait that drifts a little; nothing here asks how fast it goes.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from fractions import Fraction
from itertools import groupby
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from model.codec.decoder import MotionDecoder
from model.codec.encoder import MotionEncoder
from model.codec.packet import MotionMessage
from model.codec.rate import Rate
from model.codec.source_image import decode_source, encode_source
from model.codec.vav import VavWriter, read_vav
from model.description import WEIGHTS
from model.talking_head import TalkingHead
from server.benchmark.portrait import portrait_picture
from server.sender.build import make_daemon, parse_choices
from server.sender.daemon import Daemon
from server.sender.media.inputs import PORTRAIT
from server.sender.media.recording import read_recording
from server.settings import load_settings
from tests.server.fakes import until
from tests.server.signalling import FakePublication, running_call

RATE = 48_000
FRAMES = 50


def write_film(path: Path, cut_after: int = FRAMES) -> Path:
    """The portrait; from a frame on mirrored, in another light and elsewhere in the picture, as if somebody else."""
    picture, other = portrait_picture(), portrait_picture()[:, ::-1] // 2
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", 25, options={"preset": "ultrafast"})
        assert isinstance(video, av.VideoStream)
        video.width, video.height, video.pix_fmt = 384, 384, "yuv420p"
        audio = container.add_stream("libopus", RATE, layout="mono")
        for i in range(FRAMES):
            left = round(32 + 6 * np.sin(2 * np.pi * i / FRAMES))
            shown = picture[:384, left : left + 384] if i < cut_after else other[40:424, left : left + 384]
            container.mux(video.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(shown))))
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


@asynccontextmanager
async def sending(film: Path, *, loop: bool = True) -> AsyncIterator[tuple[Daemon, Callable[[], bool]]]:
    """The daemon that sends a film to a receiver with fake publications, and whether it has ended by itself."""
    async with running_call() as call:
        call.parts.conference.open(FakePublication, TalkingHead.load().weights_hash)
        choices = parse_choices(
            server=str(call.client.make_url("")),
            room="lobby",
            name="Eileen",
            source=str(film),
            kbps=25.0,
            loop=loop,
            token=call.token(identity="daemon"),
        )
        daemon = make_daemon(choices, load_settings(), io.StringIO())
        running = asyncio.create_task(daemon.run())
        try:
            yield daemon, running.done
        finally:
            daemon.stop()
            await running


@pytest.mark.slow
@pytest.mark.asyncio
@pytest.mark.skipif(not WEIGHTS.exists(), reason="no trained weights yet")
async def test_a_film_becomes_motion_and_sound(tmp_path: Path) -> None:
    decoder = MotionDecoder(TalkingHead.load().statistics)
    async with sending(write_film(tmp_path / "film.mkv")) as (daemon, over):
        await until(lambda: over() or bool(daemon.identity.sources), seconds=50)
        await until(lambda: over() or len(_messages()) >= 3, seconds=50)
        yaws = [float(frame.vector[0]) for message in _messages() for frame in decoder.decode(message)]
        assert len(yaws) >= 3
        assert max(map(abs, yaws)) < 25.0, "she looks into the camera"
        assert list(daemon.identity.sources) == [0]
    assert not {thread.name for thread in threading.enumerate()} & {
        "visavis-capture",
        "visavis-sound",
        "visavis-extraction",
    }


@pytest.mark.slow
@pytest.mark.asyncio
@pytest.mark.skipif(not WEIGHTS.exists(), reason="no trained weights yet")
async def test_a_cut_of_the_film_begins_a_source_image(tmp_path: Path) -> None:
    async with sending(write_film(tmp_path / "film.mkv", FRAMES // 2)) as (daemon, over):
        await until(lambda: over() or len(daemon.identity.sources) >= 3, seconds=50)
        brightness = {i: float(decode_source(s.data).mean()) for i, s in daemon.identity.sources.items()}
    assert max(brightness.values()) > 1.5 * min(brightness.values()), f"pictures of both: {brightness}"


def write_scenes(path: Path, scenes: int) -> Path:
    """The built-in talker's first second over and over, each time with a source image of its own."""
    talker, statistics = read_vav(PORTRAIT), TalkingHead.load().statistics
    recording = read_recording(PORTRAIT, statistics, talker.header.weights.hex())
    picture = decode_source(talker.images[0])
    encoder = MotionEncoder(statistics, Rate(frames_per_message=5, header_bytes=0), chain=True)
    frames = [(scene, recording.vectors[frame]) for scene in range(scenes) for frame in range(25)]
    with VavWriter(path, replace(talker.header, rate=Fraction(25), audio_channels=0, audio_pre_skip=0)) as writer:
        for scene in range(scenes):
            writer.source(scene, encode_source((picture * (1 - 0.1 * scene)).astype(np.uint8), speed=10))
        messages = [encoder.encode(vector, 40 * number, scene) for number, (scene, vector) in enumerate(frames)]
        for message in (*messages, encoder.flush()):
            if message is not None:
                writer.motion(message)
        writer.end(len(frames), 40 * len(frames))
    return path


@pytest.mark.slow
@pytest.mark.asyncio
@pytest.mark.skipif(not WEIGHTS.exists(), reason="no trained weights yet")
async def test_a_recording_of_more_scenes_than_the_receiver_has_places_is_sent(tmp_path: Path) -> None:
    film = write_scenes(tmp_path / "film.vav", 6)
    images = {hashlib.sha256(data).hexdigest(): index for index, data in enumerate(read_vav(film).images)}
    seen: list[int] = []  # scenes of which the receiver has the image while frames of it come
    async with sending(film, loop=False) as (_, over):
        taken, source = 0, 0  # messages, and the source image of the last one: most do not say theirs

        def watch() -> bool:
            nonlocal taken, source
            for publication in FakePublication.alive:
                for data in publication.messages[taken:]:
                    taken += 1
                    if data[:1] in (b"\x41", b"\x44"):  # what is no motion belongs to the control channel
                        message = MotionMessage.parse(data)
                        source = source if message.source is None else message.source
                        seen.append(images[publication.sources[source]])
            return over() or len(set(seen)) == 6

        await until(watch, seconds=50)
    order = [scene for scene, _ in groupby(seen)]
    assert order[:6] == list(range(6)), order


def _messages() -> list[bytes]:
    """Motion messages that have arrived."""
    return [m for publication in FakePublication.alive for m in publication.messages if m[:1] in (b"\x41", b"\x44")]
