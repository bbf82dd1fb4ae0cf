"""Source cache (signatures; the body follows)."""

from __future__ import annotations

from server.receiver.render_engine import RenderEngine


class SourceCache:
    """One per process: `SourceCache(engine, limits)`; `await close()`."""

    def __init__(self, engine: RenderEngine) -> None: ...
    async def close(self) -> None: ...
