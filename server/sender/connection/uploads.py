"""What a sender uploads beside its media, to the node that has the room: source images and windows.

Both go in pieces, as the line takes them beside voice and motion. Windows go one after the other, slowly, and none of
them ends a call: the picture is as good as before.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable

import aiohttp

from model.codec.window import WINDOW_TYPE
from model.window import MAX_WINDOWS
from server.sender.connection.rate_control import FIRST_SOURCE_KBPS, RateControl
from server.sender.connection.signalling import ConnectionLostError, RefusedError
from server.sender.media.samples import SourceImage, WindowUpload

logger = logging.getLogger(__name__)

UPLOAD_SECONDS = 20.0
"""Time that the server has for an answer; sending the image comes on top."""

LONGEST_UPLOAD = 15.0
"""Seconds that sending a body takes at most, however narrow the line is: a server waits 20."""

UPLOAD_BYTES = 1200
"""Of a body that are sent at once."""

WINDOW_SECONDS_PER_BYTE = 8 / 4000
"""Pause after a window on a congested line. Else they go at the pace of a source image: their choice keeps within
4 kbit/s over a minute (`model/source/window_choice.py`)."""

AGAIN_SECONDS, LONGEST_AGAIN_SECONDS = 0.5, 8.0
"""Until a window is offered again to a receiver that has no time for it: at first, and at most."""

MOST_OFFERS = 6
"""Times that a window is offered."""

_TOO_MANY = "too_many_requests"  # code of the one refusal that passes
_CALLED = {"source": "source image", "mouth": "window"}


class Uploads:
    """One participant's on one connection; always `close`."""

    def __init__(
        self, http: aiohttp.ClientSession, participant: str, token: str, rates: RateControl, first: Callable[[], bool]
    ) -> None:
        """`participant`: address of its resources. `first()`: whether the receiver waits for its first source image."""
        self._http, self._participant, self._token, self._rates, self._first = http, participant, token, rates, first
        self._windows: dict[int, WindowUpload] = {}  # that wait, the newest of each slot
        self._scene: int | None = None  # of the newest window
        self._sender: asyncio.Task[None] | None = None

    async def source(self, source: SourceImage, *, attach: bool) -> bool:
        """Bring a source image; with `attach` only its name. False when the receiver does not have it.

        Raises ConnectionLostError, RefusedError.
        """
        params = {"index": str(source.index), "scene": str(source.scene)}
        if not attach:
            return await self._put("source", params, source.content_type, source.data)
        return await self._put("source", params | {"sha256": source.sha256})

    def window(self, window: WindowUpload) -> None:
        """Bring a window in the background; one that waits for the same slot is history."""
        # What waits of another scene is history. Source images say nothing of that: a recording's come ahead.
        self._scene = window.scene
        self._windows = {slot: waiting for slot, waiting in self._windows.items() if waiting.scene == window.scene}
        self._windows[window.slot] = window
        if self._sender is None or self._sender.done():
            self._sender = asyncio.create_task(self._send_windows(), name="visavis-windows")

    async def close(self) -> None:
        """Bring nothing more; may be called twice."""
        self._windows.clear()
        if self._sender is not None:
            self._sender.cancel()
            await asyncio.gather(self._sender, return_exceptions=True)

    async def _send_windows(self) -> None:
        again = AGAIN_SECONDS
        offers: Counter[WindowUpload] = Counter()
        while self._windows:
            slot = next(iter(self._windows))
            window = self._windows.pop(slot)
            try:
                await self._put("mouth", {"slot": str(slot), "scene": str(window.scene)}, WINDOW_TYPE, window.data)
                again = AGAIN_SECONDS
            except (RefusedError, ConnectionLostError) as error:
                logger.info("window %d of %d: %s", slot + 1, MAX_WINDOWS, error)
                if isinstance(error, ConnectionLostError) or error.code == _TOO_MANY:
                    offers[window] += 1
                    if window.scene == self._scene and offers[window] < MOST_OFFERS:
                        self._windows.setdefault(slot, window)
                    await asyncio.sleep(again)
                    again = min(2 * again, LONGEST_AGAIN_SECONDS)
            if self._rates.congested:
                await asyncio.sleep(WINDOW_SECONDS_PER_BYTE * len(window.data))

    async def _put(self, what: str, params: dict[str, str], content_type: str | None = None, data: bytes = b"") -> bool:
        """PUT a body, or with none only its name: False when the receiver does not have that."""
        headers = {"Authorization": f"Bearer {self._token}"}
        if content_type is not None:
            headers |= {"Content-Type": content_type, "Content-Length": str(len(data))}
        try:
            async with (
                asyncio.timeout(UPLOAD_SECONDS + (LONGEST_UPLOAD if data else 0.0)),
                self._http.put(
                    f"{self._participant}/{what}",
                    params=params,
                    headers=headers,
                    data=self._paced(data) if data else b"",
                ) as response,
            ):
                if response.status == 201:
                    return True
                if content_type is None and response.status == 404:
                    return False
                body = await response.json(content_type=None) if response.status < 500 else {}
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            reason = str(error) or type(error).__name__
            raise ConnectionLostError(f"the upload of a {_CALLED[what]} failed: {reason}") from None
        if not isinstance(body, dict) or response.status >= 500:
            raise ConnectionLostError(f"the upload of a {_CALLED[what]} was answered {response.status}")
        reason = body.get("message", response.status)
        raise RefusedError(str(body.get("code", "")), f"{_CALLED[what]} refused: {reason}")

    async def _paced(self, data: bytes) -> AsyncIterator[bytes]:
        for start in range(0, len(data), UPLOAD_BYTES):
            piece = data[start : start + UPLOAD_BYTES]
            yield piece
            kbps = self._rates.decision.source_kbps
            if self._first() and not self._rates.congested:
                kbps = FIRST_SOURCE_KBPS
            await asyncio.sleep(min(8e-3 * len(piece) / kbps, LONGEST_UPLOAD * len(piece) / len(data)))
