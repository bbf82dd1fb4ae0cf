"""What HTTP requests share, bounded in all and for each owner: open WebSockets and uploads, offers and new tokens."""

from __future__ import annotations

from dataclasses import dataclass, field

from aiohttp import web

from model.window import MAX_WINDOWS
from server.quota import Quota, RateQuota, subscriber
from server.settings import Settings

UPLOADS_AT_ONCE = 10
"""Uploads that one token's `sub` may make without a pause: a sender brings its source images when it connects."""

WINDOWS_AT_ONCE = 2 * MAX_WINDOWS
"""Windows that one `sub` may upload without a pause, those of a sender that connects anew at once; later as many a
minute as source images."""

UPLOAD_SHARE_OF_ONE_ROOM = 0.5

OFFERS_AT_ONCE = 100
"""Offers that one token's `sub` may make without a pause: a page that joins a full room subscribes to everybody, and
does so again when its network has changed."""

OFFERS_AT_ONCE_PER_ADDRESS = 400
"""The same of one address: an office behind one may join at one time."""

TOKENS_PER_MINUTE, TOKENS_AT_ONCE = 60.0, 100
"""Invitations that one address may exchange for tokens: each is an identity with shares of its own in every pool."""


@dataclass(frozen=True)
class Pools:
    """The pools of one process."""

    sockets: Quota
    uploads: Quota
    upload_rate: RateQuota
    window_rate: RateQuota  # of windows
    offer_rate: RateQuota  # by identity
    address_offer_rate: RateQuota
    token_rate: RateQuota  # by address
    proxies: frozenset[str] = field(default_factory=frozenset)  # many clients come from each of these

    def admit_offer(self, identity: str, address: str | None, now: float) -> None:
        """Count one offer at `now` (seconds), of WHIP, WHEP or a WebSocket. Raises TooManyRequestsError."""
        self._admit(self.address_offer_rate, address, now)
        self.offer_rate.admit(identity, now)

    def admit_token(self, address: str | None, now: float) -> None:
        """Count one token for somebody who has none. Raises TooManyRequestsError."""
        self._admit(self.token_rate, address, now)

    def _admit(self, rate: RateQuota, address: str | None, now: float) -> None:
        if address and address not in self.proxies:
            rate.admit(subscriber(address), now)

    @classmethod
    def from_settings(cls, settings: Settings) -> Pools:
        """Pools as large as the settings say."""
        room = max(1, round(UPLOAD_SHARE_OF_ONE_ROOM * settings.max_uploads))
        return cls(
            sockets=Quota("WebSockets", settings.max_connections, {"identity": settings.max_sockets_per_identity}),
            uploads=Quota("uploads at a time", settings.max_uploads, {"identity": settings.max_sources, "room": room}),
            upload_rate=RateQuota("uploads", settings.uploads_per_minute / 60.0, UPLOADS_AT_ONCE),
            offer_rate=RateQuota("offers", settings.offers_per_minute / 60.0, OFFERS_AT_ONCE),
            address_offer_rate=RateQuota(
                "offers from one address", settings.offers_per_minute_per_address / 60.0, OFFERS_AT_ONCE_PER_ADDRESS
            ),
            token_rate=RateQuota("tokens for one address", TOKENS_PER_MINUTE / 60.0, TOKENS_AT_ONCE),
            proxies=frozenset(settings.proxies),
            window_rate=RateQuota("windows", settings.uploads_per_minute / 60.0, WINDOWS_AT_ONCE),
        )


POOLS = web.AppKey("pools", Pools)


def pools_of(request: web.Request) -> Pools:
    """The application's pools."""
    return request.app[POOLS]
