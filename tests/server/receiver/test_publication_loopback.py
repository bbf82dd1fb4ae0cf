"""A whole call over real connections on loopback: sender, receiver, viewer; and nothing left of it afterwards."""

from __future__ import annotations

import asyncio
from fractions import Fraction
from typing import Any

import av
import msgpack
import numpy as np
import pytest
from aiortc import MediaStreamTrack, RTCDataChannel

from model.codec.encoder import MotionEncoder
from server.media.aiortc_private import inlet_of
from server.receiver.publication import Publication
from server.receiver.source_cache import SourceCache
from tests.server.fakes import SIZE, PaintingModel, motion, render_engine, until
from tests.server.loopback import connect, nothing_leaks, peers
from tests.server.receiver.test_publication import WholeCrop, png


class Tone(MediaStreamTrack):
    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self._start: float | None = None
        self._sent = 0

    async def recv(self) -> av.AudioFrame:
        now = asyncio.get_running_loop().time()
        self._start = self._start or now
        await asyncio.sleep(max(0.0, self._start + self._sent * 0.02 - now))
        wave = 9000 * np.sin(np.arange(self._sent * 960, self._sent * 960 + 960) * 2 * np.pi * 440 / 48_000)
        frame = av.AudioFrame.from_ndarray(wave.astype(np.int16)[None], format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48_000, self._sent * 960, Fraction(1, 48_000)
        self._sent += 1
        return frame


@pytest.mark.e2e
@pytest.mark.asyncio
async def test_motion_and_sound_reach_a_viewer_and_nothing_is_left() -> None:
    async with nothing_leaks(90):
        engine = render_engine(PaintingModel())
        await engine.start()
        cache = SourceCache(engine, find_crop=lambda _: WholeCrop(float(SIZE)))
        clock = asyncio.get_running_loop().time
        publication = Publication("p", engine, cache, clock=clock)
        await publication.add_source(0, png(100))
        async with peers() as (sending, receiving), peers() as (watching, serving):
            attach = {"motion": publication.attach_motion_channel, "control": publication.attach_control_channel}
            receiving.on("datachannel", lambda channel: attach[channel.label](channel))
            receiving.on("track", lambda track: publication.attach_audio(inlet_of(receiving, track, clock)))
            channel = sending.createDataChannel("motion", ordered=False, maxRetransmits=0)
            control = sending.createDataChannel("control")
            sending.addTrack(Tone())
            encoder = MotionEncoder(engine.known.statistics)
            channel.on("message", encoder.on_acknowledgement)

            def pong(data: bytes, control: RTCDataChannel = control) -> None:
                fields = msgpack.unpackb(data)
                if fields["t"] == "ping":
                    answer = {"t": "pong", "n": fields["n"], "ms": fields["ms"], "peer_ms": 1000 * clock() + 5e6}
                    control.send(msgpack.packb(answer))

            control.on("message", pong)
            await connect(sending, receiving)

            async def talk() -> None:
                while True:
                    if channel.readyState == "open":
                        message = encoder.encode(motion(30.0).to_vector(), int(1000 * clock() + 5e6) & 0xFFFFFFFF)
                        channel.send(message or encoder.flush() or b"")
                    await asyncio.sleep(0.04)

            talking = asyncio.create_task(talk())
            subscription = publication.subscribe("v", "VP8")
            transceiver = serving.addTransceiver(subscription.video, direction="sendonly")
            sound_transceiver = serving.addTransceiver(subscription.audio, direction="sendonly")
            subscription.bind(transceiver.sender, sound_transceiver.sender)
            tracks: dict[str, Any] = {}
            watching.on("track", lambda track: tracks.setdefault(track.kind, track))
            watching.addTransceiver("video", direction="recvonly")
            watching.addTransceiver("audio", direction="recvonly")
            await connect(watching, serving)
            await until(lambda: len(tracks) == 2)
            pictures = [await tracks["video"].recv() for _ in range(10)]
            assert (pictures[-1].width, pictures[-1].height) == (SIZE, SIZE)
            assert abs(float(pictures[-1].to_ndarray()[:SIZE].mean()) - (16 + 130 * 219 / 255)) < 4
            sound = [await tracks["audio"].recv() for _ in range(20)]
            assert np.abs(sound[-1].to_ndarray()).max() > 3000
            # The sender's clock is known after its first pong; stages that span both clocks are told from then on.
            stages = {"network", "playout", "queue", "render", "video_encode", "total"}
            await until(lambda: stages <= set(publication.statistics()["stages"]))
            await until(lambda: publication.statistics()["latency_ms_p95"] is not None)
            await asyncio.wait_for(tracks["video"].recv(), 20)
            figures = publication.statistics()
            assert figures["state"] == "live"
            assert abs(figures["clock_offset_ms"] - 5e6) < 1000
            assert {"network", "playout", "queue", "render", "video_encode", "total"} <= set(figures["stages"])
            frames = subscription.sent_frames()
            assert len({timestamp for timestamp, _ in frames}) == len(frames) > 0
            assert all(clock() - 60 < captured < clock() for _, captured in frames)
            assert publication.audio_level > -20
            talking.cancel()
            subscription.close()
            await publication.close()
        assert cache.in_use == 0
        await cache.close()
        await engine.close()
        # The loop's default pool (aiortc encodes the test's tone on it) is no concern of the receiver's.
        await asyncio.get_running_loop().shutdown_default_executor()
