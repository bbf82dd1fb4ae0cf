"""Resume tokens: who a returning client was. Signed, not remembered: every server with the same key takes them.

A token is a JWT (HS256) under a key that is derived from the secret of tokens. It says all that a server needs to take
its holder for the same participant, also one that never saw it. It is short-lived, and renewed as long as the
participant is connected.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from itertools import islice

import jwt
from pydantic import BaseModel, ConfigDict, Field

from server.auth import Authority
from server.signalling.participant import Participant

MAX_RESUME_CHARACTERS = 4096

MAX_SOURCES = 16
"""Source images that a token names; a client brings any others again."""

_PURPOSE = b"visavis resume"


@dataclass(frozen=True)
class Resume:
    """What a good token says of the participant that its holder was."""

    participant: str
    room: str
    identity: str
    name: str
    publication: int = 0
    sources: dict[int, str] = field(default_factory=dict)  # index -> SHA-256
    in_time: bool = True  # else it serves only while the participant is still in the room


class _Claims(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    iss: str
    exp: float
    sub: str = Field(min_length=1, max_length=128)
    room: str
    id: str = Field(min_length=1, max_length=64)
    name: str = Field(min_length=1)
    publication: int = Field(ge=0)
    sources: dict[int, str]


@dataclass(frozen=True)
class ResumeTokens:
    """Issues and reads resume tokens with the key of one authority; each is good for `seconds`."""

    authority: Authority
    seconds: float

    @property
    def _secret(self) -> bytes:
        return hmac.digest(self.authority.secret.encode(), _PURPOSE, hashlib.sha256)

    def issue(self, participant: Participant) -> str:
        """A token for the participant as it is now."""
        claims = {
            "iss": self.authority.key,
            "exp": self.authority.clock() + self.seconds,
            "sub": participant.identity,
            "room": participant.room,
            "id": participant.id,
            "name": participant.name,
            "publication": participant.publication,
            "sources": dict(islice(participant.sources.items(), MAX_SOURCES)),
        }
        return jwt.encode(claims, self._secret, algorithm="HS256")

    def read(self, text: str | None) -> Resume | None:
        """What a token says; None for one that is not of this key or malformed."""
        if not text or len(text) > MAX_RESUME_CHARACTERS:
            return None
        try:
            payload = jwt.decode(
                text, self._secret, algorithms=["HS256"], options={"verify_exp": False, "verify_aud": False}
            )
            claims = _Claims.model_validate(payload)
        except (jwt.InvalidTokenError, ValueError):  # of pydantic, and of text that is no UTF-8
            return None
        if claims.iss != self.authority.key:
            return None
        return Resume(
            participant=claims.id,
            room=claims.room,
            identity=claims.sub,
            name=claims.name,
            publication=claims.publication,
            sources=claims.sources,
            in_time=self.authority.clock() <= claims.exp,
        )
