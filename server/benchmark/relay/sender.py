"""The daemon with the talker that both network benches have: `python -m server.benchmark.relay.sender SERVER ROOM ...`.

It is what `python -m server send` runs, but that its voice is encoded as it is spoken, so that it follows the line, and
that it keeps what was said when. {"report"} is answered by {"spoken"}. Ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import sys
import time

from server.benchmark.network.talk import CallLog, Materials, talking_daemon
from server.benchmark.peer_lines import lines, tell
from server.commands.event_loop import loop_factory


async def sender(server: str, room: str, seed: int, voice: bool) -> None:
    """Publish until standard input ends."""
    log = CallLog() if voice else None
    daemon = talking_daemon(Materials.load(), server, room, time.monotonic, seed, log)
    reader = await lines()
    running = asyncio.create_task(daemon.run(), name="visavis-daemon")
    try:
        while text := await reader.readline():
            if json.loads(text).get("report"):
                spoken = [] if log is None else log.spoken
                packets = [(one.captured, one.pieces, base64.b64encode(one.payload).decode()) for one in spoken]
                tell(spoken=packets, reconnects=daemon.status().reconnects)
    finally:
        daemon.stop()
        await running


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt), asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(sender(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4] == "voice"))
