"""The sender's end of the WebSocket: requests with answers, and the messages that come unasked (docs/protocol.md)."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import aiohttp

from model.errors import InputError, VisavisError

logger = logging.getLogger(__name__)

MAX_MESSAGE = 1 << 20


class ConnectionLostError(VisavisError):
    """The server cannot be reached or went away: worth another attempt."""


class RefusedError(VisavisError):
    """The server answered with an error. `code` is its machine-readable name (docs/protocol.md, "Errors")."""

    PERMANENT = frozenset(
        {
            *("unauthorized", "forbidden", "protocol", "sdp", "unsupported_media", "too_large", "weights"),
            *("removed", "room_closed"),  # what the server says as it closes the connection
        }
    )

    def __init__(self, code: str, message: str, address: str | None = None, request: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.request = request
        """Type of the message that was answered so; None where none was."""
        self.address = address
        """The node that has the room, where the code is `moved`."""

    @property
    def permanent(self) -> bool:
        """Whether asking again would be answered the same."""
        return self.code in self.PERMANENT


def server_address(text: str) -> str:
    """Normalised address of a server without a trailing slash. Raises InputError unless it is http(s)://host[:port]."""
    parts = urlsplit(text if "://" in text else f"http://{text}")
    try:
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise InputError(f"--server must look like http://host:8080, not {text!r}")
    return urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/"), "", ""))


def node_address(given: object) -> str | None:
    """The address of a node as a message gives it, without a trailing slash; None where that is none."""
    try:
        return server_address(given) if isinstance(given, str) else None
    except InputError:
        return None


class Signalling:
    """One WebSocket. Use from one event loop; `closed` is done when the connection is over."""

    def __init__(self, http: aiohttp.ClientSession, server: str, token: str, patience: float) -> None:
        """`patience`: seconds that connecting, and then each answer, may take."""
        self._patience = patience
        self._http = http
        self._address = server + "/ws"
        self._token = token
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._count = 0
        self._reader: asyncio.Task[None] | None = None
        self.closed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """Result: why."""
        self.on_message: Callable[[dict[str, Any]], None] | None = None
        """Called with every message that answers no request."""

    async def connect(self) -> None:
        """Open the socket. Raises ConnectionLostError, or RefusedError for a bad token."""
        try:
            async with asyncio.timeout(self._patience):
                self._socket = await self._http.ws_connect(
                    self._address, params={"token": self._token}, heartbeat=5.0, max_msg_size=MAX_MESSAGE
                )
        except aiohttp.WSServerHandshakeError as error:
            if error.status in (401, 403):
                code = "unauthorized" if error.status == 401 else "forbidden"
                raise RefusedError(code, "the server refuses the token") from None
            raise ConnectionLostError(f"the server answered {error.status}") from None
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise ConnectionLostError(f"cannot reach the server: {str(error) or type(error).__name__}") from None
        self._reader = asyncio.create_task(self._read(self._socket), name="visavis-signalling")

    async def request(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Ask and wait for the answer. Raises RefusedError with the server's words, or ConnectionLostError."""
        if self._socket is None or self.closed.done():
            raise ConnectionLostError("the connection is closed")
        self._count += 1
        number = self._count
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        try:
            await self._socket.send_json({"type": kind, "id": number, **fields})
            async with asyncio.timeout(self._patience):
                message: dict[str, Any] = await answer
        except TimeoutError:
            raise ConnectionLostError(f"the server does not answer {kind}") from None
        except (aiohttp.ClientError, OSError, RuntimeError) as error:
            raise ConnectionLostError(f"the connection broke: {error}") from None
        finally:
            self._answers.pop(number, None)
        if message.get("type") == "error":
            raise RefusedError(
                str(message.get("code", "")),
                str(message.get("message", "refused")),
                node_address(message.get("address")),
                kind,
            )
        return message

    async def close(self, code: int = aiohttp.WSCloseCode.OK) -> None:
        """Close the socket with that code and end the reader; may be called twice."""
        if self._socket is not None:
            with suppress(TimeoutError, aiohttp.ClientError, OSError):
                async with asyncio.timeout(2.0):  # a dead network must not hold up the next attempt
                    await self._socket.close(code=code)
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
        self._end("closed")

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for frame in socket:
            if frame.type is aiohttp.WSMsgType.TEXT:
                self._dispatch(frame.data)
        self._end("the server closed the connection")

    def _dispatch(self, text: str) -> None:
        try:
            message = json.loads(text)
        except ValueError:
            logger.debug("a message that is no JSON")
            return
        if not isinstance(message, dict):
            return
        answer = self._answers.get(message["id"]) if isinstance(message.get("id"), int) else None
        if answer is not None and message.get("type") in ("ok", "error"):
            if not answer.done():
                answer.set_result(message)
        elif self.on_message is not None:
            self.on_message(message)

    def _end(self, reason: str) -> None:
        if not self.closed.done():
            self.closed.set_result(reason)
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(ConnectionLostError(reason))
