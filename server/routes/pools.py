"""What HTTP requests share: open WebSockets and uploads, bounded in all and for each owner."""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web

from server.quota import Quota, RateQuota
from server.settings import Settings

UPLOADS_AT_ONCE = 10
"""Uploads that one token's `sub` may make without a pause: a sender brings its source images when it connects."""

WINDOWS_AT_ONCE = 16
"""Mouth windows that one `sub` may upload without a pause; later as many a minute as source images."""

UPLOAD_SHARE_OF_ONE_ROOM = 0.5


@dataclass(frozen=True)
class Pools:
    """The pools of one process."""

    sockets: Quota
    uploads: Quota
    upload_rate: RateQuota
    window_rate: RateQuota

    @classmethod
    def from_settings(cls, settings: Settings) -> Pools:
        """Pools as large as the settings say."""
        room = max(1, round(UPLOAD_SHARE_OF_ONE_ROOM * settings.max_uploads))
        return cls(
            sockets=Quota("WebSockets", settings.max_connections, {"identity": settings.max_sockets_per_identity}),
            uploads=Quota("uploads at a time", settings.max_uploads, {"identity": settings.max_sources, "room": room}),
            upload_rate=RateQuota("uploads", settings.uploads_per_minute / 60.0, UPLOADS_AT_ONCE),
            window_rate=RateQuota("mouth windows", settings.uploads_per_minute / 60.0, WINDOWS_AT_ONCE),
        )


POOLS = web.AppKey("pools", Pools)


def pools_of(request: web.Request) -> Pools:
    """The application's pools."""
    return request.app[POOLS]
