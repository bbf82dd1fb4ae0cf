"""Where the sender's token comes from: given, minted with the server's own key, or handed out in development mode."""

from __future__ import annotations

import time
from typing import Any

import aiohttp

from server.auth import Authority
from server.errors import UnauthorizedError
from server.sender.connection.signalling import ConnectionLostError
from server.settings import Settings


class Access:
    """Gives one token, the same each time: a resume token is good only together with the identity it was given to."""

    def __init__(self, server: str, room: str, token: str | None, settings: Settings) -> None:
        self._server = server
        self._room = room
        self._settings = settings
        self._given = token is not None
        self._token = token

    @property
    def renewable(self) -> bool:
        """Whether another token can be had when this one is refused."""
        return not self._given

    def forget(self) -> None:
        """The server refused the token; the next one will be new."""
        if self.renewable:
            self._token = None

    async def token(self, http: aiohttp.ClientSession) -> str:
        """The token. Raises UnauthorizedError when none can be had, ConnectionLostError without a server."""
        if self._token is None:
            self._token = await self._new(http)
        return self._token

    async def _new(self, http: aiohttp.ClientSession) -> str:
        if not self._settings.development:
            authority = Authority.from_settings(self._settings, time.time)
            return authority.mint(self._room, hours=self._settings.token_hours)
        try:
            async with http.get(
                f"{self._server}/api/config", params={"room": self._room}, timeout=aiohttp.ClientTimeout(10)
            ) as response:
                if response.status != 200:
                    raise ConnectionLostError(f"the server answered {response.status}")
                config: Any = await response.json(content_type=None)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise ConnectionLostError(f"cannot reach the server: {str(error) or type(error).__name__}") from None
        token = config.get("token") if isinstance(config, dict) else None
        if not isinstance(token, str):
            raise UnauthorizedError(
                "this server wants a token: pass --token (python -m server token), or set VISAVIS_TOKEN"
            )
        return token
