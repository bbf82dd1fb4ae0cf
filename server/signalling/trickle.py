"""Fragments of SDP by which a client adds candidates after its offer (RFC 8840, section 9; RFC 9725, section 4.3.1).

Pure: text in, `Fragment` out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from server.errors import SdpError, UnprocessableError
from server.signalling.candidates import is_usable
from server.signalling.offer import MAX_CANDIDATES, Offer

MAX_FRAGMENT_CHARACTERS = 16_384


@dataclass(frozen=True)
class Fragment:
    """What a fragment holds of use to a connection whose sections are bundled."""

    ufrag: str | None
    password: str | None
    candidates: tuple[str, ...]  # that are tried, as after `a=candidate:`


def parse_fragment(text: str, private_candidates: bool = True) -> Fragment:
    """Check a fragment. Raises SdpError.

    private_candidates: whether candidates in private and loopback ranges are tried
    """
    ufrag = password = None
    candidates: list[str] = []
    for line in text.splitlines():
        name, _, value = line.partition(":")
        match name:
            case "a=ice-ufrag":
                ufrag = ufrag or value.strip()
            case "a=ice-pwd":
                password = password or value.strip()
            case "a=candidate":
                if not re.match(r"(?:\S+ ){5}\d+ ", value):
                    raise SdpError("a candidate cannot be read")
                candidates.append(value.strip())
            case _:
                if not re.match(r"[a-z]=", line):
                    raise SdpError("the body is no fragment of a session description")
    if len(candidates) > MAX_CANDIDATES:
        raise SdpError(f"the fragment has more than {MAX_CANDIDATES} candidates")
    return Fragment(ufrag, password, tuple(c for c in candidates if is_usable(c, private_candidates)))


def belonging(fragment: Fragment, offer: Offer) -> tuple[str, ...]:
    """The candidates of a fragment that belongs to the ICE session of this offer.

    Raises UnprocessableError for one that would restart ICE: nothing here is renegotiated.
    """
    if fragment.ufrag not in (None, offer.ufrag) or fragment.password not in (None, offer.password):
        raise UnprocessableError("ICE restarts are not supported: begin a new session")
    return fragment.candidates
