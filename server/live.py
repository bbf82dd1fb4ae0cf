"""Opens the real receiver: render engine and source cache, and the factory of publications over them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from model.codec.source_image import SourceLimits
from model.description import random_description, read_description
from server.awake_clock import AwakeClock
from server.media.broadcast import BroadcastSettings
from server.media.rtp_feedback import BitrateSettings
from server.metrics import Metrics
from server.receiver.playout import PlayoutSettings
from server.receiver.publication import Publication, PublicationSettings
from server.receiver.render_capacity import RenderCapacity
from server.receiver.render_engine import EngineSettings, RenderEngine
from server.receiver.source_cache import CacheSettings, SourceCache
from server.settings import Settings

if TYPE_CHECKING:
    from server.receiver.torch_renderer import TorchRenderer


@dataclass(frozen=True)
class LiveReceiver:
    """A receiver that takes publications, and renders them once its model is loaded."""

    engine: RenderEngine
    make_publication: Callable[[str], Publication]

    @property
    def weights(self) -> str:
        """SHA-256 of those that it renders with, hexadecimal."""
        return self.engine.known.weights_hash

    async def loaded(self) -> None:
        """Return when the model is there. Raises WeightsError, SettingsError."""
        await self.engine.loaded()


@asynccontextmanager
async def live_receiver(
    settings: Settings, metrics: Metrics, clock: Callable[[], float], capacity: RenderCapacity
) -> AsyncIterator[LiveReceiver]:
    """Run the engine as long as the context is open; its thread loads the model meanwhile. Raises WeightsError."""
    # On the loop, which answers nobody meanwhile: who asked would be told to come again.
    known = random_description() if settings.random_weights else read_description(settings.weights)[0]

    def load() -> TorchRenderer:
        from server.model_loading import load_renderer  # torch: a second in which calls can begin

        return load_renderer(settings, metrics)

    engine = RenderEngine(known, load, EngineSettings(max_batch=settings.render_batch), clock, metrics, capacity)
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
        yield LiveReceiver(engine, make)
    finally:
        await sources.close()
        await engine.close()
