"""Webhooks: events of rooms, posted to one address in the order in which they happened, signed as LiveKit does.

The body is JSON. `Authorization` holds a JWT (HS256, without "Bearer") under the key of tokens; its claim `sha256` is
the body's hash in base64. An event that cannot be delivered is tried again with growing pauses and then given up. A
bounded number waits; more are dropped and counted.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import jwt

from server.auth import Authority
from server.metrics import Metrics
from server.signalling.room_events import RoomEvent

MAX_WAITING = 1000
"""Events that wait for their delivery."""
PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
"""Seconds before each further attempt."""
POST_SECONDS = 5.0
CLOSE_SECONDS = 5.0
"""Time for what still waits when the server stops."""
SIGNATURE_SECONDS = 300

Post = Callable[[bytes, dict[str, str]], Awaitable[int]]
"""Posts a body with these headers; its status. Raises ClientError, OSError or TimeoutError where there is none."""

logger = logging.getLogger(__name__)


def describe(event: RoomEvent, identifier: str, now: float) -> dict[str, Any]:
    """The event as JSON, in the fields that LiveKit's webhooks have."""
    description: dict[str, Any] = {
        "event": event.name,
        "id": identifier,
        "createdAt": int(now),
        "room": {"name": event.room},
    }
    if event.person is not None:
        person = event.person
        description["participant"] = {"sid": person.id, "identity": person.identity, "name": person.name}
    if event.track is not None:
        description["track"] = {"sid": event.track.id, "name": event.track.kind}
    if event.recording is not None:
        recording = event.recording
        description["recording"] = {"id": recording.id, "startedAt": int(recording.started)}
        if recording.ended is not None:
            description["recording"] |= {"endedAt": int(recording.ended), "reason": recording.reason}
    return description


def sign(authority: Authority, body: bytes) -> str:
    """The value of `Authorization` for a body."""
    now = int(authority.clock())
    claims = {
        "iss": authority.key,
        "nbf": now,
        "exp": now + SIGNATURE_SECONDS,
        "sha256": base64.b64encode(hashlib.sha256(body).digest()).decode(),
    }
    return jwt.encode(claims, authority.secret, algorithm="HS256")


class Webhooks:
    """Delivers events one after the other. `start` before use, `close` at the end; one event loop."""

    def __init__(
        self,
        post: Post,
        authority: Authority,
        metrics: Metrics,
        new_secret: Callable[[], str],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._post = post
        self._authority = authority
        self._metrics = metrics
        self._new_secret = new_secret
        self._sleep = sleep
        self._waiting: deque[bytes] = deque()
        self._queued = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to deliver."""
        self._task = asyncio.get_running_loop().create_task(self._deliver_all(), name="webhooks")

    def add(self, event: RoomEvent) -> None:
        """Queue an event; never blocks."""
        if len(self._waiting) >= MAX_WAITING:
            self._metrics.webhook("dropped")
            return
        description = describe(event, self._new_secret(), self._authority.clock())
        self._waiting.append(json.dumps(description, separators=(",", ":")).encode())
        self._empty.clear()
        self._queued.set()

    async def close(self) -> None:
        """Deliver what waits, within some seconds, and end; idempotent."""
        if self._task is None:
            return
        task, self._task = self._task, None
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._empty.wait()
        except TimeoutError:
            logger.warning("some webhooks were not delivered", extra={"count": len(self._waiting)})
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def _deliver_all(self) -> None:
        while True:
            await self._queued.wait()
            while self._waiting:
                outcome = await self._deliver(self._waiting[0])
                self._waiting.popleft()
                self._metrics.webhook(outcome)
            self._queued.clear()
            self._empty.set()

    async def _deliver(self, body: bytes) -> str:
        """What became of it: delivered, refused or failed."""
        for pause in (*PAUSES, None):
            # Signed anew each time: a signature lasts for minutes.
            headers = {"Content-Type": "application/webhook+json", "Authorization": sign(self._authority, body)}
            try:
                status = await self._post(body, headers)
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                logger.info("a webhook was not taken", extra={"error": type(error).__name__})
            else:
                if status < 300:
                    return "delivered"
                if status < 500 and status not in (408, 425, 429):
                    logger.warning("a webhook was refused", extra={"status": status})
                    return "refused"
            if pause is not None:
                await self._sleep(pause)
        logger.warning("a webhook was given up")
        return "failed"


def http_post(http: aiohttp.ClientSession, url: str) -> Post:
    """Posts to `url`; follows no redirect, since what is signed is for that address alone."""

    async def post(body: bytes, headers: dict[str, str]) -> int:
        timeout = aiohttp.ClientTimeout(total=POST_SECONDS)
        async with http.post(url, data=body, headers=headers, timeout=timeout, allow_redirects=False) as response:
            return response.status

    return post
