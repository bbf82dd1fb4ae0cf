"""Who watches: `python -m server.benchmark.relay.viewer SERVER ROOM`. Keeps when everything came.

Says {"watching"} with the first picture; {"report"} is answered by what came. Ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import sys
import time

import aiohttp

from server.benchmark.network.viewer import Viewer
from server.benchmark.peer_lines import lines, tell


async def watch(server: str, room: str) -> None:
    """Watch until standard input ends."""
    async with aiohttp.ClientSession() as http:
        viewer = Viewer(http, server, room, time.monotonic)
        reader = await lines()
        tasks = [asyncio.create_task(viewer.run()), asyncio.create_task(_first_picture(viewer))]
        try:
            while text := await reader.readline():
                if json.loads(text).get("report"):
                    tell(
                        report={
                            "pictures": viewer.pictures,
                            "captured": list(viewer.captured.items()),
                            "sound": [(at, base64.b64encode(payload).decode()) for at, payload in viewer.sound],
                            "keyframes_asked": viewer.keyframes_asked,
                        }
                    )
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await viewer.close()


async def _first_picture(viewer: Viewer) -> None:
    await viewer.watching.wait()
    tell(watching=True)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(watch(sys.argv[1], sys.argv[2]))
