"""Errors of the live side, and the one mapping from any expected error to the code that clients see.

Each class names its HTTP status; `code_of` names its machine-readable code (docs/protocol.md, "Errors").
"""

from __future__ import annotations

import re

from model.errors import VisavisError


class SettingsError(VisavisError):
    """The settings cannot be used together, or one is out of range. Exit status 2."""

    http_status = 500


class ProtocolError(VisavisError):
    """A message or a request has the wrong type, shape or order."""

    http_status = 400


class UnauthorizedError(VisavisError):
    """No token, or one that is malformed, expired or signed with another key."""

    http_status = 401


class ForbiddenError(VisavisError):
    """The token is good but does not permit this."""

    http_status = 403


class NotFoundError(VisavisError):
    """The room, participant, subscription or source does not exist (any more)."""

    http_status = 404


class ConflictError(VisavisError):
    """The request does not fit the present state, such as joining twice on one socket."""

    http_status = 409


class RequestTimeoutError(VisavisError, TimeoutError):
    """The request's body did not come in time.

    A TimeoutError as well: aiohttp meets it once more when it reads on after the answer, and takes that in its stride.
    """

    http_status = 408


class TooLargeError(VisavisError):
    """A body or a message exceeds its bound."""

    http_status = 413


class UnsupportedMediaError(VisavisError):
    """The content type or the codecs offered are none that this server handles."""

    http_status = 415


class SdpError(VisavisError):
    """A session description cannot be parsed or answered (RFC 8866, RFC 9429)."""

    http_status = 400


class UnusableImageError(VisavisError):
    """The source image was read but cannot be used."""

    http_status = 422


class UnprocessableError(VisavisError):
    """The request is understood and well formed, but asks for what is not supported."""

    http_status = 422


class PreconditionError(VisavisError):
    """A precondition that the request names does not hold."""

    http_status = 412


class TooManyRequestsError(VisavisError):
    """One client asks more often than it may."""

    http_status = 429


class CapacityError(VisavisError):
    """A bound on rooms, participants, subscriptions or connections is reached, or the machine has no time left."""

    http_status = 503


class DrainingError(VisavisError):
    """The server is shutting down and takes no new work."""

    http_status = 503


class MovedError(VisavisError):
    """The room lives on another node; `address` is that node's."""

    http_status = 307

    def __init__(self, address: str) -> None:
        super().__init__(f"the room is at {address}")
        self.address = address


class NodesUnavailableError(VisavisError):
    """Where a room lives, or should, cannot be told now."""

    http_status = 503


class StartingError(VisavisError):
    """The server is still loading its model, without which it takes neither a recording nor a source image."""

    http_status = 503


def code_of(error: VisavisError) -> str:
    """Machine-readable code: the class name without `Error`, in snake case (`too_large`, `several_faces`)."""
    name = type(error).__name__.removesuffix("Error")
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
