"""The daemon: keeps one session alive for one feed, until the feed ends, the user stops it or the server refuses."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import aiohttp

from server.sender.connection.access import Access
from server.sender.connection.loss import why_lost
from server.sender.connection.motion_publisher import Encoder
from server.sender.connection.reconnect import Reconnect, Why
from server.sender.connection.session import Identity, Session
from server.sender.connection.signalling import ConnectionLostError, RefusedError
from server.sender.media.feed import Feed, FeedListener
from server.sender.media.reader import Clock
from server.sender.media.samples import MotionSample, SourceImage, StageTimes, WindowUpload
from server.sender.media.voice_order import VOICE_KBPS
from server.sender.status_line import Status, StatusLine

logger = logging.getLogger(__name__)

STATUS_SECONDS = 1.0

FEED_SECONDS = 20.0
"""A feed that has nothing to send after that long is joined without: others should see that somebody is there."""

FeedFactory = Callable[[FeedListener], Feed]


@dataclass(frozen=True)
class Destination:
    """Where to publish, and as whom."""

    server: str  # address without a trailing slash
    room: str
    name: str
    avatar: bool = False


class Daemon:
    """`run` returns when the feed is over or `stop` was called; it raises what cannot be cured by reconnecting."""

    def __init__(
        self,
        destination: Destination,
        access: Access,
        make_feed: FeedFactory,
        make_encoder: Callable[[], Encoder],
        *,
        weights: str,
        clock: Clock,
        voice_kbps: float = VOICE_KBPS,
        status_line: StatusLine | None = None,
        chance: Callable[[], float] = random.random,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`weights`: SHA-256 of those whose motion the feed gives, hexadecimal; a receiver with others refuses it."""
        self._destination = destination
        self._access = access
        self._make_feed = make_feed
        self._make_encoder = make_encoder
        self._weights = weights
        self._clock = clock
        self._voice_kbps = voice_kbps
        self._status_line = status_line
        self._sleep = sleep
        self.identity = Identity(destination.room, destination.name, avatar=destination.avatar)
        self.reconnect = Reconnect(chance)
        self.session: Session | None = None
        """The connection of now, opening or open."""
        self._feed: Feed | None = None
        self._problem: str | None = None
        self._why: str | None = None
        self._dropped = 0
        self._error: BaseException | None = None
        self._stop = asyncio.Event()
        self._live = asyncio.Event()
        self._fed = asyncio.Event()

    # What the feed reports

    def on_source(self, source: SourceImage) -> None:
        """Keep the source for this and every later connection."""
        self._fed.set()
        self.identity.sources[source.index] = source
        if self.session is not None:
            self.session.offer_source(source)

    def on_window(self, window: WindowUpload) -> None:
        """Keep the window for this and every later connection; those of another scene are history."""
        windows = self.identity.windows
        for slot in [slot for slot, before in windows.items() if before.scene != window.scene]:
            del windows[slot]
        windows[window.slot] = window
        if self.session is not None:
            self.session.offer_window(window)

    def on_motion(self, sample: MotionSample, stages: StageTimes) -> None:
        """Publish, or count as dropped while there is no connection."""
        if self.session is not None and self._live.is_set():
            self.session.publish(sample, stages)
        else:
            self._dropped += 1

    def on_presence(self, problem: str | None) -> None:
        """The face is gone, or back."""
        if problem is not None:
            self._fed.set()  # nobody to show, which is worth knowing
        self._problem = problem
        if self.session is not None:
            self.session.pause(problem is not None)

    def on_end(self, error: BaseException | None) -> None:
        """The feed is over."""
        self._error = self._error or error
        self.stop()

    def on_notice(self, text: str) -> None:
        """Log it."""
        logger.warning(text)

    # Life

    def stop(self) -> None:
        """Leave the call; `run` returns soon after. Call on the event loop."""
        self._stop.set()

    async def wait_live(self) -> None:
        """Return when a connection stands."""
        await self._live.wait()

    async def run(self) -> None:
        """Publish until the end."""
        feed = self._feed = self._make_feed(self)
        status = asyncio.create_task(self._show(), name="visavis-status") if self._status_line else None
        try:
            async with aiohttp.ClientSession() as http:
                feed.start()
                await self._wait_for_feed()
                while not self._stop.is_set():
                    await self._attempt(http, feed)
        finally:
            self.reconnect.end()
            if status is not None:
                status.cancel()
                await asyncio.gather(status, return_exceptions=True)
            await feed.close()
            if self._status_line is not None:
                self._status_line.clear()
        if self._error is not None:
            raise self._error

    async def _wait_for_feed(self) -> None:
        """Until there is something to send: what compiles before would keep this process from answering."""
        waits = [asyncio.create_task(event.wait()) for event in (self._fed, self._stop)]
        try:
            await asyncio.wait(waits, timeout=FEED_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    async def _attempt(self, http: aiohttp.ClientSession, feed: Feed) -> None:
        """One connection from its first word to its end, then the pause before the next one."""
        self.reconnect.start()
        before = self._why
        why: Why = "failed"
        try:
            token = await self._access.token(http)
            session = self.session = Session(
                http,
                self.identity.node or self._destination.server,
                token,
                self.identity,
                encoder=self._make_encoder(),
                weights=self._weights,
                sound=feed.sound,
                clock=self._clock,
                on_source=self._on_source_answer,
                voice_kbps=self._voice_kbps,
                patience=self.reconnect.patience,
            )
            try:
                await self._live_through(session)
            finally:
                self._live.clear()
                self.session = None
                if session.publisher is not None:
                    self._dropped += session.publisher.dropped
                await session.close(coming_back=not self._stop.is_set())
        except (RefusedError, ConnectionLostError) as error:
            why = why_lost(error, self.identity, self._access, live=self.reconnect.state == "live")
            self._why = str(error)
        if self._stop.is_set():
            return
        delay = self.reconnect.lost(self._clock(), why)
        if self._why != before:
            logger.info("not connected: %s; next attempt in %.1f s", self._why, delay)
        await self._pause(delay)

    async def _live_through(self, session: Session) -> None:
        """Open the session and stay with it until it is lost or the daemon stops. Raises like `Session.open`."""
        stopped = asyncio.create_task(self._stop.wait(), name="visavis-stop")
        opening = asyncio.create_task(session.open(), name="visavis-open")
        try:
            await asyncio.wait((opening, stopped), return_when=asyncio.FIRST_COMPLETED)
            if not opening.done():
                return
            try:
                opening.result()
            except ConnectionLostError as error:
                # What the server said as it closed the connection may end a request first.
                raise session.refused or error from None
            self.reconnect.connected(self._clock())
            self._live.set()
            self._why = None
            if self._problem is not None:
                session.pause(True)
            await asyncio.wait((session.lost, stopped), return_when=asyncio.FIRST_COMPLETED)
            if not self._stop.is_set():
                await session.hear_why()
            if session.refused is not None:
                raise session.refused
            if self._stop.is_set():
                await session.leave()
            else:
                raise ConnectionLostError(session.lost.result())
        finally:
            for task in (opening, stopped):
                task.cancel()
            await asyncio.gather(opening, stopped, return_exceptions=True)

    async def _pause(self, seconds: float) -> None:
        """Wait, or less when the daemon is stopped."""
        waits = [asyncio.ensure_future(self._sleep(seconds)), asyncio.create_task(self._stop.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    def _on_source_answer(self, index: int, error: RefusedError | None) -> None:
        """The receiver has taken a source image, or cannot use it."""
        assert self._feed is not None
        if error is None:
            self._feed.source_taken(index)
            return
        self.identity.sources.pop(index, None)
        logger.info("source image refused: %s", error)
        self._feed.source_refused(index, error)

    # Status

    def status(self) -> Status:
        """The numbers of now."""
        now = self._clock()
        state, problem = self.reconnect.state, self._why
        if state == "connecting" and problem is not None:
            state = "waiting"  # attempt after attempt, for the same reason
        dropped = self._dropped + (self._feed.dropped if self._feed is not None else 0)
        session = self.session
        sources, reconnects = len(self.identity.sources), self.reconnect.reconnects
        if state != "live" or session is None or session.publisher is None:
            return Status(state, problem, dropped=dropped, sources=sources, reconnects=reconnects)
        publisher = session.publisher
        return Status(
            state="paused" if self._problem else "live",
            problem=self._problem,
            fps=publisher.pace.rate(now),
            motion_kbps=8 * publisher.payload.rate(now) / 1000,
            wire_kbps=8 * publisher.wire.rate(now) / 1000,
            sound_kbps=session.sound_kbps,
            sound_wire_kbps=session.sound_wire_kbps,
            round_trip_ms=None if session.round_trip is None else 1000 * session.round_trip,
            dropped=dropped + publisher.dropped,
            sources=sources,
            reconnects=reconnects,
            overloaded=session.overloaded,
        )

    async def _show(self) -> None:
        assert self._status_line is not None
        while True:
            self._status_line.show(self.status(), self._clock())
            await asyncio.sleep(STATUS_SECONDS)
