"""Render engine (signatures; the body follows)."""

from __future__ import annotations


class RenderEngine:
    """One per process: `RenderEngine(model, settings, clock, metrics)`; `await start()`, `await close()`."""

    async def start(self) -> None: ...
    async def close(self) -> None: ...
