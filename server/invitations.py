"""Invitations: what a participant hands to others so that they get tokens of their own. Signed and limited in time.

An invitation is a JWT (HS256) under a key that is derived from the secret of tokens: neither passes for the other. It
travels in the fragment of the page's address, which browsers send to nobody (RFC 3986, section 3.5), and is exchanged
for a token. Nothing is remembered: an invitation serves any number of people until it expires.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass

import jwt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from server.auth import Authority
from server.errors import UnauthorizedError

MAX_INVITATION_BYTES = 1024

_PURPOSE = b"visavis invitation"


class Invitation(BaseModel):
    """The claims of a verified invitation; `iss` is the name of the key, `exp` in Unix seconds."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    iss: str
    exp: float
    room: str = Field(min_length=1, max_length=64)
    canPublish: bool = True  # noqa: N815
    canSubscribe: bool = True  # noqa: N815


@dataclass(frozen=True)
class Invitations:
    """Issues and redeems invitations with the key of one authority."""

    authority: Authority

    @property
    def _secret(self) -> bytes:
        return hmac.digest(self.authority.secret.encode(), _PURPOSE, hashlib.sha256)

    def issue(self, room: str, *, hours: float, publish: bool = True, subscribe: bool = True) -> str:
        """An invitation to `room` that is good for `hours`."""
        claims = {
            "iss": self.authority.key,
            "exp": int(self.authority.clock() + hours * 3600.0),
            "room": room,
            "canPublish": publish,
            "canSubscribe": subscribe,
        }
        return jwt.encode(claims, self._secret, algorithm="HS256")

    def redeem(self, text: str) -> Invitation:
        """What a good invitation says; raises UnauthorizedError for any other."""
        if not text or len(text) > MAX_INVITATION_BYTES:
            raise UnauthorizedError("the invitation is malformed")
        try:
            payload = jwt.decode(
                text, self._secret, algorithms=["HS256"], options={"verify_exp": False, "verify_aud": False}
            )
            invitation = Invitation.model_validate(payload)
        except jwt.InvalidSignatureError:
            raise UnauthorizedError("the invitation is of another server") from None
        except (jwt.InvalidTokenError, ValidationError):
            raise UnauthorizedError("the invitation is malformed") from None
        if invitation.iss != self.authority.key:
            raise UnauthorizedError("the invitation is of another key")
        if self.authority.clock() > invitation.exp:
            raise UnauthorizedError("the invitation has expired: ask for a new one")
        return invitation

    def token(self, invitation: Invitation, hours: float) -> str:
        """A token of its own, with a random identity, for somebody who was invited; it permits no more inviting."""
        return self.authority.mint(
            invitation.room, hours=hours, publish=invitation.canPublish, subscribe=invitation.canSubscribe
        )


def invitation_link(page: str, room: str, invitation: str) -> str:
    """The address that a person opens: of the page, with the room, and the invitation in its fragment."""
    return f"{page.rstrip('/')}/?room={room}#invitation={invitation}"
