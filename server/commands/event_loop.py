"""The event loop of `serve` and `send`: uvloop where it is installed. No command of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """What makes a new event loop, for `asyncio.Runner`."""
    try:
        import uvloop
    except ImportError:  # not on Windows; asyncio's own loop is about a tenth slower
        return asyncio.new_event_loop
    return uvloop.new_event_loop
