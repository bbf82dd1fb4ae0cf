"""The two senders that a call over the relay can have, each a process of its own."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Protocol

from model.codec.vav import read_vav
from server.benchmark.network.figures import Spoken
from server.benchmark.processes import BenchmarkError, PeerProcess, ended, peer_process
from server.benchmark.relay.recorded_speech import recorded_speech
from server.sender.media.inputs import PORTRAIT
from server.sender.media.recording import repacked


@dataclass(frozen=True)
class Sent:
    """What a sender knows of the call."""

    spoken: list[Spoken]
    reconnects: int
    clocked: bool  # whether times of speech are those of its capture, and not as of the fastest packet's arrival


class Sender(Protocol):
    """A sender that runs."""

    async def sent(self, arrivals: Sequence[tuple[float, bytes]]) -> Sent:
        """Until now. arrivals: (when, Opus packet) at the viewer. Raises BenchmarkError where the sender is gone."""


class _Talker:
    """`sender.py`, which keeps what was said."""

    def __init__(self, process: PeerProcess) -> None:
        self._process = process

    async def sent(self, arrivals: Sequence[tuple[float, bytes]]) -> Sent:
        await self._process.say(report=True)
        fields = await self._process.hear_all("spoken")
        spoken = [Spoken(captured, pieces, base64.b64decode(data)) for captured, pieces, data in fields["spoken"]]
        return Sent(spoken, fields["reconnects"], clocked=True)


class _SendCommand:
    """The command as it is. It tells its status once a second; its speech is the recording's."""

    def __init__(self, process: asyncio.subprocess.Process, voice: bool) -> None:
        vav = read_vav(PORTRAIT)
        self._process = process
        self._voice = voice
        self._packets, self._seconds = list(repacked(vav.audio)), vav.seconds
        self._status: dict[str, Any] = {}

    async def read(self) -> None:
        """Keep the newest status."""
        output = self._process.stdout
        assert output is not None
        while line := await output.readline():
            self._status = json.loads(line)

    async def sent(self, arrivals: Sequence[tuple[float, bytes]]) -> Sent:
        if self._process.returncode is not None:
            raise BenchmarkError("the sender ended before the call did")
        until = time.monotonic()
        spoken = recorded_speech(self._packets, self._seconds, arrivals, until) if self._voice else []
        return Sent(spoken, self._status.get("reconnects", 0), clocked=False)


@asynccontextmanager
async def talker(server: str, room: str, seed: int, voice: bool) -> AsyncIterator[Sender]:
    """The daemon with a voice that follows the line."""
    async with peer_process("relay.sender", server, room, str(seed), "voice" if voice else "silent") as process:
        yield _Talker(process)


@asynccontextmanager
async def send_command(server: str, room: str, voice: bool) -> AsyncIterator[Sender]:
    """`python -m server send --source portrait`."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "server", "send", "--source", "portrait", "--json"),
        *("--server", server, "--room", room),
        *(() if voice else ("--no-audio",)),
        stdout=asyncio.subprocess.PIPE,
    )
    sender = _SendCommand(process, voice)
    reading = asyncio.create_task(sender.read())
    try:
        yield sender
    finally:
        with suppress(ProcessLookupError):
            await ended(process, 15.0)
        await asyncio.gather(reading, return_exceptions=True)
