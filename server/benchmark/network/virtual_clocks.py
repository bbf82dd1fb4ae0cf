"""Puts the loop's time in place of the clocks that aiortc, aioice and OpenSSL read themselves. For a bench alone.

aiortc takes times of RTCP, SCTP and its bandwidth estimate from `time.time` and the date; timers it sets on the loop.
OpenSSL measures the timeouts of a DTLS handshake by the machine's clock and cannot be told another one.
"""

from __future__ import annotations

import contextlib
import datetime
import time
from collections.abc import Callable, Iterator
from typing import Any, cast
from unittest import mock

import aioice.ice
import aiortc.clock
import aiortc.mediastreams
import aiortc.rtcdtlstransport
import aiortc.rtcrtpreceiver
import aiortc.rtcrtpsender
import aiortc.rtcsctptransport
from OpenSSL import SSL

from server.benchmark.network.datagrams import HOST

_EPOCH = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)

_FIRST_TIMEOUT = 1.0
"""Seconds until DTLS sends a flight again (RFC 6347 section 4.2.4.1); each time twice as long."""


class _Time:
    """What is used of the module `time`."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now

    def time(self) -> float:
        """Unix seconds."""
        return _EPOCH.timestamp() + self._now()


class _Connection(SSL.Connection):
    """DTLS whose timeouts are the same on each run, and are real only where one has passed."""

    _timeout = _FIRST_TIMEOUT

    def DTLSv1_get_timeout(self) -> Any:  # noqa: N802 (OpenSSL's name)
        return None if super().DTLSv1_get_timeout() is None else self._timeout

    def DTLSv1_handle_timeout(self) -> bool:  # noqa: N802
        while (left := super().DTLSv1_get_timeout()) is not None and left > 0:
            time.sleep(left)
        self._timeout *= 2
        return bool(super().DTLSv1_handle_timeout())


def _host_addresses(**_: bool) -> list[str]:
    return [HOST.get()]


@contextlib.contextmanager
def virtual_clocks(now: Callable[[], float]) -> Iterator[None]:
    """Until the end of the context, `now` (seconds) is the time of these libraries, and `HOST` the only address."""
    clock = _Time(now)

    def current_datetime() -> datetime.datetime:
        return _EPOCH + datetime.timedelta(seconds=now())

    readers = (aiortc.mediastreams, aiortc.rtcrtpreceiver, aiortc.rtcrtpsender, aiortc.rtcsctptransport)
    with contextlib.ExitStack() as stack:
        for module in readers:
            stack.enter_context(mock.patch.object(module, "time", clock))
        stack.enter_context(mock.patch.object(aiortc.clock, "current_datetime", current_datetime))
        stack.enter_context(mock.patch.object(cast(Any, aiortc.rtcdtlstransport).SSL, "Connection", _Connection))
        stack.enter_context(mock.patch.object(aioice.ice, "get_host_addresses", _host_addresses))
        yield
