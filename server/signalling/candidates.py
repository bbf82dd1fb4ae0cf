"""Which ICE candidates of an offer are tried: a client's own addresses, and nothing that somebody else would get. Pure.

Every candidate makes this server send checks to an address that the client chose (RFC 8445, section 19.5.1). Those
left out cost nobody a call: the client's own checks reach this server, and its address is learnt from them (section
7.3.1.3).
"""

from __future__ import annotations

import ipaddress
import re

MAX_CANDIDATES = 16
"""Of one offer that are tried; a machine with several cards, two families and a relay has about ten."""

_CANDIDATE = re.compile(r"(?:\S+ ){4}(\S+) (\d+) ")


def usable_address(address: str, private: bool) -> bool:
    """Whether checks may go to this address.

    `private`: whether addresses count that are reached from this network or this machine alone; a server on a local
    network needs them. Names never count: a browser hides its addresses behind mDNS names, and resolving others would
    let a client choose what this server asks for.
    """
    try:
        # Without the zone: it names a card of the client's.
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    if ip.is_unspecified or ip.is_multicast:
        return False
    if isinstance(ip, ipaddress.IPv4Address) and ip.is_reserved:
        return False  # 240.0.0.0/4, the broadcast address among them
    return private or not (ip.is_private or ip.is_loopback or ip.is_link_local)


def is_usable(candidate: str, private: bool) -> bool:
    """Whether a candidate is tried, given as after `a=candidate:` (RFC 8839, section 5.1); `private` as above."""
    match = _CANDIDATE.match(candidate)
    return match is not None and usable_address(match.group(1), private) and match.group(2) != "0"


def with_usable_candidates(sdp: str, private: bool) -> str:
    """The session description with the first `MAX_CANDIDATES` candidates to try, and without all others.

    Where some are left out, so is the statement that the list is complete: more are learnt from checks.
    """
    lines = sdp.splitlines()
    kept: list[str] = []
    candidates = 0
    for line in lines:
        if line.startswith("a=candidate:"):
            if not is_usable(line.removeprefix("a=candidate:"), private):
                continue
            candidates += 1
            if candidates > MAX_CANDIDATES:
                continue
        kept.append(line)
    if len(kept) < len(lines):
        kept = [line for line in kept if line != "a=end-of-candidates"]
    return "\r\n".join(kept) + "\r\n"
