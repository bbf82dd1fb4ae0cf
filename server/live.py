"""Opens the real receiver: model, render engine and source cache, and the factory of publications over them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import torch

from model.codec.source_image import SourceLimits
from model.device import choose_device
from model.errors import InputError
from model.talking_head import TalkingHead
from server.awake_clock import AwakeClock
from server.errors import SettingsError
from server.media.broadcast import BroadcastSettings
from server.media.rtp_feedback import BitrateSettings
from server.metrics import Metrics
from server.receiver.playout import PlayoutSettings
from server.receiver.publication import Publication, PublicationSettings
from server.receiver.render_capacity import RenderCapacity
from server.receiver.render_engine import EngineSettings, RenderEngine
from server.receiver.source_cache import CacheSettings, SourceCache
from server.settings import Settings
from server.signalling.ports import PublicationFactory

logger = logging.getLogger(__name__)

GRAPHS = ("landmarks", "rendering", "eyes")
"""What a receiver runs compiled: the one for source images, the other for every picture."""


@asynccontextmanager
async def live_receiver(
    settings: Settings, metrics: Metrics, clock: Callable[[], float], capacity: RenderCapacity
) -> AsyncIterator[PublicationFactory]:
    """Load the model and run the engine as long as the context is open. Raises WeightsError, SettingsError."""
    model = await asyncio.to_thread(load_model, settings)
    await asyncio.to_thread(warm_up, model)
    logger.info(
        "model loaded",
        extra={"device": str(model.device), "engine": model.engine, "weights": model.weights_hash[:12]},
    )
    if model.device.type == "cuda":
        metrics.watch_gpu(lambda: torch.cuda.mem_get_info(model.device))
    engine = RenderEngine(
        model,
        EngineSettings(max_batch=settings.render_batch, threads=settings.torch_threads),
        clock,
        metrics,
        capacity,
    )
    await engine.start()
    sources = SourceCache(
        engine,
        CacheSettings(
            max_bytes=settings.source_cache_mb * 1024 * 1024,
            limits=SourceLimits(max_bytes=settings.source_max_bytes, max_pixels=settings.source_max_pixels),
        ),
    )
    awake = AwakeClock(clock)
    publication_settings = PublicationSettings(
        fps=settings.render_fps,
        max_sources=settings.max_sources,
        gone_after_s=settings.gone_seconds,
        mark_rendered=settings.mark_rendered,
        broadcast=BroadcastSettings(bitrate=BitrateSettings(maximum=settings.video_kbps * 1000)),
        playout=PlayoutSettings(
            minimum_depth=settings.playout_min_ms / 1000.0, maximum_depth=settings.playout_max_ms / 1000.0
        ),
    )

    def make(participant: str) -> Publication:
        return Publication(participant, engine, sources, publication_settings, clock, metrics, awake)

    try:
        yield make
    finally:
        await sources.close()
        await engine.close()


def warm_up(model: TalkingHead) -> None:
    """Run once what a receiver runs, so that the first caller does not wait for a compiler."""
    sharp = model.profile.sizes[-1]
    state = model.enrol(torch.zeros(3, sharp, sharp, dtype=torch.uint8))
    model.render([state], state.motion, size=sharp)


def load_model(settings: Settings) -> TalkingHead:
    """The model that the settings name, on their device and engine. Raises WeightsError, SettingsError."""
    try:
        device = choose_device(settings.device)
    except InputError as error:
        raise SettingsError(f"VISAVIS_DEVICE: {error}") from None
    if settings.random_weights:
        logger.warning("untrained weights: faces will not look like faces")
        return TalkingHead.random(device=device, engine=settings.engine, threads=settings.graph_threads)
    return TalkingHead.load(settings.weights, device, settings.engine, settings.graph_threads, GRAPHS)
