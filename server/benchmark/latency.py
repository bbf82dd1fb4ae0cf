"""Latency from capture to encoded packet and lip sync, by the pipeline's own stage clocks, with a real sender process.

Sender, receiver and viewer run on one machine; all read the same monotonic clock, so the sound's age can be checked
against the picture's without trusting the clock synchronisation that is measured.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from aiortc import RTCConfiguration, RTCPeerConnection

from model.errors import WeightsError
from model.graphs.engine import Engine
from model.talking_head import TalkingHead
from server.benchmark.portrait import SIZE, still_png
from server.benchmark.processes import answer, answer_viewer, peer_process
from server.media.aiortc_private import inlet_of
from server.media.media_packet import MediaPacket
from server.model_loading import warm_up
from server.receiver.measures import Percentiles
from server.receiver.publication import Publication, PublicationSettings
from server.receiver.render_engine import RenderEngine
from server.receiver.source_cache import SourceCache
from server.receiver.torch_renderer import TorchRenderer

_SETTLE = 8.0
"""Seconds until the playout depth, the clock offset and the sound's delay have settled."""


class _WholeImage:
    """A crop that takes all: the portrait is a head crop already."""

    side = float(SIZE)

    def cut(self, frame: Any, size: int) -> Any:
        return frame


def load_model(device: str, engine: Engine, threads: int) -> tuple[TalkingHead, bool]:
    """The embedded model, or an untrained one of the same cost; and whether it is trained."""
    try:
        return TalkingHead.load(None, device, engine, threads), True
    except WeightsError:
        return TalkingHead.random(device=device, engine=engine, threads=threads), False


async def measure(seconds: float, fps: float, device: str, engine: Engine, threads: int) -> dict[str, Any]:
    """Run a call of one sender and one viewer for `seconds` after it has settled; JSON-ready figures.

    engine: what runs the networks on both sides; threads: of the receiver's compiled graphs, 0 takes every core.
    """
    model, trained = load_model(device, engine, threads)
    warm_up(model)
    clock = time.monotonic
    renderer = RenderEngine(model, lambda: TorchRenderer(model), clock=clock)
    await renderer.start()
    cache = SourceCache(renderer, find_crop=lambda _: _WholeImage())
    publication = Publication("talker", renderer, cache, PublicationSettings(fps=fps), clock)
    receiving = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    watching: RTCPeerConnection | None = None
    try:
        await publication.add_source(0, still_png())
        async with peer_process("talker", engine) as talker, peer_process("viewer") as viewer:
            attach = {"motion": publication.attach_motion_channel, "control": publication.attach_control_channel}
            receiving.on("datachannel", lambda channel: attach[channel.label](channel))
            receiving.on("track", lambda track: publication.attach_audio(inlet_of(receiving, track, clock)))
            await answer(talker, receiving)
            subscription = publication.subscribe("viewer", "VP8")
            sound, first = Percentiles(10_000), -1

            def released(packet: MediaPacket) -> None:
                nonlocal first
                first = packet.timestamp if first < 0 else first
                sound.add(clock() - (packet.timestamp - first) % (1 << 32) / 48_000)

            publication.audio.released = released
            watching, _ = await answer_viewer(viewer, subscription.video, subscription.audio, subscription.bind)
            origin = await talker.hear("audio_origin")
            await asyncio.sleep(_SETTLE)
            sound.clear()
            publication.latency.clear()
            await asyncio.sleep(seconds)
            figures = publication.statistics()
            picture = publication.latency.total
            subscription.close()
    finally:
        await asyncio.gather(*(peer.close() for peer in (receiving, watching) if peer is not None))
        await publication.close()
        await cache.close()
        await renderer.close()
    sound_age = None if sound.median is None else sound.median - origin
    return {
        "trained_weights": trained,
        "engine": model.engine,
        "latency_ms_p50": None if picture is None else round(1000 * picture, 1),
        "latency_ms_p95": figures["latency_ms_p95"],
        "lip_sync_ms": None if picture is None or sound_age is None else round(1000 * (sound_age - picture), 1),
        "audio_ms_p50": None if sound_age is None else round(1000 * sound_age, 1),
        "stages_ms": figures["stages"],
        "fps": figures["fps"],
        "freezes": figures["freezes"],
        "playout_depth_ms": figures["playout_depth_ms"],
        "kbps_payload": figures["kbps_payload"],
        "kbps_wire": figures["kbps_wire"],
        "render_stale": renderer.statistics.stale,
    }
