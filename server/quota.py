"""Shares of a pool: how much of it each key holds, so that a few cannot drain what is there for all. Pure."""

from __future__ import annotations

import ipaddress
from collections import Counter, OrderedDict
from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from server.errors import CapacityError, TooManyRequestsError
from server.rate_limit import RateLimit

MAX_REMEMBERED = 10_000
"""Keys whose rate is remembered; the one that asked longest ago is forgotten first."""


IPV6_SUBSCRIBER_BITS = 64
"""Of an IPv6 address what tells one subscriber from another (RFC 6177, section 2): the rest each makes up at will."""


def subscriber(address: str) -> str:
    """What bounds per address count by: an IPv4 address, or the first 64 bits of an IPv6 one. Other text stays."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.version == 6 and parsed.ipv4_mapped is None:
        return str(ipaddress.ip_network((parsed, IPV6_SUBSCRIBER_BITS), strict=False))
    return str(getattr(parsed, "ipv4_mapped", None) or parsed)


@dataclass
class Quota:
    """Units held at a time: in all, and by each kind of owner (`identity`, `room`) up to its own bound."""

    what: str  # as an error says it
    total: int
    bounds: Mapping[str, int] = field(default_factory=dict)  # kind of owner -> most that one such owner holds
    _held: Counter[tuple[str, Hashable]] = field(default_factory=Counter)
    _all: int = 0

    def __len__(self) -> int:
        return self._all

    def take(self, **owners: Hashable) -> None:
        """One unit for these owners. Raises CapacityError, and nothing is taken then."""
        if self._all >= self.total:
            raise CapacityError(f"the server holds no more than {self.total} {self.what}")
        for kind, owner in owners.items():
            bound = self.bounds.get(kind, self.total)
            if self._held[kind, owner] >= bound:
                raise CapacityError(f"one {kind} holds at most {bound} {self.what}")
        self._all += 1
        self._held.update(owners.items())

    def release(self, **owners: Hashable) -> None:
        """Give a unit back that these owners took."""
        assert self._all > 0, "released more often than taken"
        self._all -= 1
        for key in owners.items():
            self._held[key] -= 1
            if self._held[key] <= 0:
                del self._held[key]

    @contextmanager
    def held(self, **owners: Hashable) -> Iterator[None]:
        """One unit while the block runs. Raises CapacityError."""
        self.take(**owners)
        try:
            yield
        finally:
            self.release(**owners)


class RateQuota:
    """How often each key may ask: `rate` a second sustained, `burst` at once."""

    def __init__(self, what: str, rate: float, burst: float) -> None:
        self._what = what
        self._rate = rate
        self._burst = burst
        self._limits: OrderedDict[Hashable, RateLimit] = OrderedDict()

    def __len__(self) -> int:
        return len(self._limits)

    def admit(self, key: Hashable, now: float) -> None:
        """Count one request at `now` (seconds). Raises TooManyRequestsError."""
        limit = self._limits.setdefault(key, RateLimit(self._rate, self._burst))
        self._limits.move_to_end(key)
        while len(self._limits) > MAX_REMEMBERED:
            self._limits.popitem(last=False)
        if not limit.admit(now):
            raise TooManyRequestsError(f"too many {self._what}: at most {60 * self._rate:.0f} a minute")
