"""Which connection a datagram on a shared port belongs to, in constant time and with bounded memory.

A STUN request names its connection by the first half of its USERNAME, the user name fragment that the server gave out
(RFC 8445, section 7.2.2). A STUN response repeats the transaction that a connection began. All other datagrams, DTLS
and RTP, go by the address that they come from, which a connection owns once a check from there was authenticated.

Pure: bytes and addresses in, a connection out. Whatever cannot be told is dropped and counted, and leaves nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, Literal, TypeVar

Address = tuple[str, int]
"""IP address in its canonical form, and port."""

MAX_ADDRESSES = 64
"""Addresses that one connection may own, its peer's local candidates and NATs; more are refused."""
MAX_CONNECTIONS = 65_536
MAX_ATTRIBUTES = 32
"""Attributes of a STUN message among which USERNAME is looked for; browsers send it first."""

_HEADER = 20
_COOKIE = b"\x21\x12\xa4\x42"
_REQUEST = b"\x00\x01"  # a Binding request; ICE knows no other method
_RESPONSES = (b"\x01\x01", b"\x01\x11")  # success, error
_USERNAME = b"\x00\x06"

Owner = TypeVar("Owner")


@dataclass
class Counters:
    """Datagrams that were dropped since the start."""

    malformed: int = 0  # neither STUN nor DTLS nor RTP
    unknown: int = 0  # of no connection
    refused: int = 0  # of a connection that owns enough addresses, or reads too slowly
    unsent: int = 0  # that the system did not take


@dataclass
class Route(Generic[Owner]):
    """Whose an address is, and the local address that packets to it are sent from (None: the system's choice)."""

    owner: Owner
    local: bytes | None


@dataclass(frozen=True)
class Delivery(Generic[Owner]):
    """Where a datagram goes."""

    owner: Owner
    kind: Literal["request", "response", "data"]


@dataclass
class _Owned:
    fragment: bytes
    addresses: set[Address] = field(default_factory=set)
    transactions: set[bytes] = field(default_factory=set)


class Demultiplexer(Generic[Owner]):
    """The connections of one socket. An owner is any hashable object that stands for one connection."""

    def __init__(self) -> None:
        self.counters = Counters()
        self._owned: dict[Owner, _Owned] = {}
        self._fragments: dict[bytes, Owner] = {}
        self._transactions: dict[bytes, Owner] = {}
        self._routes: dict[Address, Route[Owner]] = {}

    def __len__(self) -> int:
        """Connections."""
        return len(self._owned)

    @property
    def entries(self) -> int:
        """Everything that is remembered: fragments, transactions and addresses."""
        return len(self._fragments) + len(self._transactions) + len(self._routes)

    # Connections

    def add(self, owner: Owner, fragment: str) -> None:
        """A connection whose peer will name `fragment`. Raises ValueError when that is taken or the port is full."""
        key = fragment.encode()
        if key in self._fragments:
            raise ValueError("the user name fragment is taken")
        if len(self._owned) >= MAX_CONNECTIONS:
            raise ValueError(f"the port has {MAX_CONNECTIONS} connections")
        self._fragments[key] = owner
        self._owned[owner] = _Owned(key)

    def remove(self, owner: Owner) -> None:
        """Forget a connection with all of its addresses and transactions; idempotent."""
        owned = self._owned.pop(owner, None)
        if owned is None:
            return
        del self._fragments[owned.fragment]
        for transaction in owned.transactions:
            del self._transactions[transaction]
        for address in owned.addresses:
            del self._routes[address]

    def expect(self, owner: Owner, transaction: bytes) -> None:
        """The connection has sent a request; its response is routed until `forget`."""
        owned = self._owned.get(owner)
        if owned is not None:
            owned.transactions.add(transaction)
            self._transactions[transaction] = owner

    def forget(self, owner: Owner, transaction: bytes) -> None:
        """No response is waited for any more."""
        owned = self._owned.get(owner)
        if owned is not None:
            owned.transactions.discard(transaction)
            self._transactions.pop(transaction, None)

    def learn(self, owner: Owner, address: Address, local: bytes | None = None, *, proven: bool = False) -> None:
        """A check of this connection came from `address` and was authenticated.

        An address of another connection changes hands only where it is `proven`: whoever is there has answered a
        request. The source address of a datagram can be forged, an answer to a random transaction cannot.
        """
        owned = self._owned.get(owner)
        if owned is None:
            return
        route = self._routes.get(address)
        if route is None:
            if len(owned.addresses) >= MAX_ADDRESSES:
                return
        elif route.owner == owner or not proven:
            return
        else:
            self._owned[route.owner].addresses.discard(address)
            local = local or route.local
        owned.addresses.add(address)
        self._routes[address] = Route(owner, local)

    # Datagrams

    def local_for(self, owner: Owner, address: Address) -> bytes | None:
        """The local address from which this connection sends to `address`."""
        route = self._routes.get(address)
        return route.local if route is not None and route.owner == owner else None

    def route(self, datagram: bytes, address: Address, local: bytes | None = None) -> Delivery[Owner] | None:
        """The connection that a datagram from `address` to `local` belongs to; None where it is to be dropped.

        The first byte tells STUN from DTLS and RTP (RFC 7983, section 7).
        """
        first = datagram[0] if datagram else 255
        if 20 <= first <= 63 or 128 <= first <= 191:
            route = self._routes.get(address)
            if route is None:
                self.counters.unknown += 1
                return None
            if local is not None:
                route.local = local  # the peer sends on the pair it has chosen: answer on the same
            return Delivery(route.owner, "data")
        if first > 3 or len(datagram) < _HEADER or datagram[4:8] != _COOKIE:
            self.counters.malformed += 1
            return None
        kind = datagram[:2]
        if kind == _REQUEST:
            return self._request(datagram, address)
        owner = self._transactions.get(datagram[8:_HEADER]) if kind in _RESPONSES else None
        if owner is None:
            self.counters.unknown += 1
            return None
        return Delivery(owner, "response")

    def _request(self, datagram: bytes, address: Address) -> Delivery[Owner] | None:
        fragment = username_fragment(datagram)
        if fragment is None:
            self.counters.malformed += 1
            return None
        owner = self._fragments.get(fragment)
        if owner is None:
            self.counters.unknown += 1
            return None
        if address not in self._routes and len(self._owned[owner].addresses) >= MAX_ADDRESSES:
            self.counters.refused += 1
            return None
        return Delivery(owner, "request")


def username_fragment(datagram: bytes) -> bytes | None:
    """What stands before the colon in the USERNAME of a STUN message (RFC 8489, section 5 and 14.3); None without."""
    end = min(len(datagram), _HEADER + int.from_bytes(datagram[2:4], "big"))
    place = _HEADER
    for _ in range(MAX_ATTRIBUTES):
        if place + 4 > end:
            return None
        length = int.from_bytes(datagram[place + 2 : place + 4], "big")
        if datagram[place : place + 2] == _USERNAME:
            colon = datagram.find(b":", place + 4, min(end, place + 4 + length))
            return datagram[place + 4 : colon] if colon > 0 else None
        place += 4 + (length + 3) // 4 * 4
    return None
