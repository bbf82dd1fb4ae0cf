"""Tokens: HS256 JWT (RFC 7519) in the shape that LiveKit made common, minted and verified.

Claims: `iss` the key's name, `sub` the identity, `exp` and `nbf` in Unix seconds, `name` (optional) and
`video: {room, roomJoin, canPublish, canSubscribe, canInvite, roomRecord, roomAdmin, admin}`. A missing `canPublish` or
`canSubscribe` is granted, as LiveKit does; what else is missing is not.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import jwt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from server.errors import ForbiddenError, UnauthorizedError
from server.settings import Settings

LEEWAY_SECONDS = 10.0
"""Tolerated difference between the clocks of the minting and the verifying machine."""

MAX_TOKEN_BYTES = 4096

MINTED_EARLIER_SECONDS = 60.0
"""A minted token is good from that long ago on: the clock of whoever verifies it may be behind."""

UnixSeconds = Annotated[float, Field(allow_inf_nan=False)]


class VideoGrant(BaseModel):
    """The `video` claim; the field names are LiveKit's."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    room: str = Field(default="", max_length=64)
    roomJoin: bool = False  # noqa: N815
    canPublish: bool = True  # noqa: N815
    canSubscribe: bool = True  # noqa: N815
    canInvite: bool = False  # noqa: N815
    roomRecord: bool = False  # noqa: N815
    roomAdmin: bool = False  # noqa: N815
    admin: bool = False  # of all rooms


class Claims(BaseModel):
    """The claims of a verified token."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    sub: str = Field(min_length=1, max_length=128)
    exp: UnixSeconds
    nbf: UnixSeconds = 0.0
    iss: str
    name: str = Field(default="", max_length=64)
    video: VideoGrant = VideoGrant()

    def may_join(self, room: str) -> None:
        """Raise ForbiddenError unless the token opens `room`."""
        if not self.video.roomJoin or self.video.room != room:
            raise ForbiddenError(f"the token does not open room {room!r}")

    def may_publish(self) -> None:
        """Raise ForbiddenError unless the token permits publishing."""
        if not self.video.canPublish:
            raise ForbiddenError("the token does not permit publishing")

    def may_subscribe(self) -> None:
        """Raise ForbiddenError unless the token permits watching."""
        if not self.video.canSubscribe:
            raise ForbiddenError("the token does not permit watching")

    def may_invite(self, room: str) -> None:
        """Raise ForbiddenError unless the token permits inviting others into `room`."""
        if not self.administers(room) and not (self.video.canInvite and self.video.room == room):
            raise ForbiddenError(f"the token does not permit inviting to room {room!r}")

    def records(self, room: str) -> bool:
        """Whether the token permits recording `room`."""
        return self.administers(room) or (self.video.roomRecord and self.video.room == room)

    def may_record(self, room: str) -> None:
        """Raise ForbiddenError unless the token permits recording `room`."""
        if not self.records(room):
            raise ForbiddenError(f"the token does not permit recording room {room!r}")

    def administers(self, room: str) -> bool:
        """Whether the token administers `room`: the one that it names, or all."""
        return self.video.admin or (self.video.roomAdmin and self.video.room == room)

    def may_administer(self, room: str) -> None:
        """Raise ForbiddenError unless the token administers `room`."""
        if not self.administers(room):
            raise ForbiddenError(f"the token does not administer room {room!r}")


@dataclass(frozen=True)
class Authority:
    """Mints and verifies tokens with one key; `clock` gives Unix seconds."""

    key: str
    secret: str
    clock: Callable[[], float]

    @classmethod
    def from_settings(cls, settings: Settings, clock: Callable[[], float]) -> Authority:
        """The key of the settings, or in development mode one that lives as long as the process."""
        if settings.development:
            return cls("development", secrets.token_hex(32), clock)
        return cls(settings.api_key, settings.api_secret.get_secret_value(), clock)

    def mint(
        self,
        room: str,
        identity: str | None = None,
        *,
        hours: float = 6.0,
        name: str = "",
        publish: bool = True,
        subscribe: bool = True,
        invite: bool = False,
        record: bool = False,
        room_admin: bool = False,
        admin: bool = False,
    ) -> str:
        """A token for `room`; without `identity` a random one. Without a room it opens none (`admin`)."""
        now = self.clock()
        granted = {"canInvite": invite, "roomRecord": record, "roomAdmin": room_admin, "admin": admin}
        claims: dict[str, object] = {
            "iss": self.key,
            "sub": identity or f"guest-{secrets.token_hex(6)}",
            "nbf": int(now - MINTED_EARLIER_SECONDS),
            "exp": int(now + hours * 3600.0),
            "video": {"room": room, "roomJoin": bool(room), "canPublish": publish, "canSubscribe": subscribe}
            | {grant: True for grant, given in granted.items() if given},
        }
        if name:
            claims["name"] = name
        return jwt.encode(claims, self.secret, algorithm="HS256")

    def expired(self, claims: Claims) -> bool:
        """Whether a token that was good once is so no longer."""
        return self.clock() > claims.exp + LEEWAY_SECONDS

    def verify(self, token: str) -> Claims:
        """The claims of a good token; raises UnauthorizedError for any other."""
        if not token:
            raise UnauthorizedError("a token is needed")
        if len(token) > MAX_TOKEN_BYTES:
            raise UnauthorizedError("the token is malformed")
        try:
            # Only HS256, or the token's own header would choose how it is checked (RFC 8725, section 3.1).
            # The times are checked below, against the clock that was passed in.
            payload = jwt.decode(
                token,
                self.secret,
                algorithms=["HS256"],
                options={"verify_exp": False, "verify_nbf": False, "verify_iat": False, "verify_aud": False},
            )
            claims = Claims.model_validate(payload)
        except jwt.InvalidSignatureError:
            raise UnauthorizedError("the token is signed with another key") from None
        except (jwt.InvalidTokenError, ValidationError):
            raise UnauthorizedError("the token is malformed") from None
        if claims.iss != self.key:
            raise UnauthorizedError("the token is of another key")
        if self.expired(claims):
            raise UnauthorizedError("the token has expired")
        if self.clock() < claims.nbf - LEEWAY_SECONDS:
            raise UnauthorizedError("the token is not valid yet")
        return claims
