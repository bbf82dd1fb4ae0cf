"""The conference: joins rooms, publishers, subscriptions and their connections, and informs clients of changes.

It drives `Rooms` and acts on its events; `publishers.py` knows who publishes, `subscriptions.py` who watches,
`seats.py` the signalling connections. One event loop; every method that is not `async` returns at once, and what takes
time runs in tasks that `close` waits for.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Literal

from server.auth import Claims
from server.awake_clock import AwakeClock
from server.errors import CapacityError, DrainingError, NotFoundError, StartingError
from server.metrics import Metrics
from server.settings import Settings
from server.signalling import protocol
from server.signalling.administration import Administration
from server.signalling.connection import Connection, Outcome, SharePort
from server.signalling.participant import Client, Participant
from server.signalling.ports import CapacityPort, PublicationFactory, PublicationPort
from server.signalling.publishers import Publishers
from server.signalling.resumption import Resume
from server.signalling.room_events import RoomEvent, RoomEvents
from server.signalling.rooms import Event, Gone, Reason, RoomLimits, Rooms
from server.signalling.seats import Listener, Seats
from server.signalling.source_share import check_sources
from server.signalling.speaker import Speakers
from server.signalling.subscriptions import Subscription, Subscriptions

logger = logging.getLogger(__name__)

TICK_SECONDS = 0.2
SHUTDOWN_SECONDS = 30.0
"""Time that closing everything may take before the process goes on to end."""


class Conference:
    """All calls of one process. `start` before use, `close` at the end.

    Without `make_publication` it takes no calls until `open`. It is ready once faces can be rendered, too.
    """

    def __init__(
        self,
        settings: Settings,
        make_publication: PublicationFactory | None,
        metrics: Metrics,
        clock: Callable[[], float],
        new_secret: Callable[[], str],
        capacity: CapacityPort | None = None,
        share_port: SharePort | None = None,
    ) -> None:
        self.settings = settings
        self._make_publication = make_publication
        self.loaded = asyncio.Event()
        """Whether the model is loaded, so that new calls are to be sent here."""
        if make_publication is not None:
            self.loaded.set()
        self._capacity = capacity
        self._media_clock = clock
        self.rooms = Rooms(
            RoomLimits(
                rooms=settings.max_rooms,
                participants=settings.max_participants,
                gone_seconds=settings.gone_seconds,
                resume_seconds=settings.resume_token_seconds,
            ),
            new_secret,
        )
        self.draining = False
        self._metrics = metrics
        # Participants are silent only while this process could have heard them.
        self._clock = AwakeClock(clock)
        self._share_port = share_port
        self._seats = Seats()
        self._room_events = RoomEvents()
        self.on_roster: Callable[[str], None] | None = None  # told of each change of a room; must not block
        self.on_room_event: Callable[[RoomEvent], None] | None = None  # told what happens in rooms; must not block
        self.administration = Administration(self.rooms, self._seats, self.act, self._clock)
        self.subscriptions = Subscriptions(settings, new_secret, self._connect, self._subscription_ended)
        self.publishers = Publishers(
            self.rooms,
            self._new_publication,
            self._clock,
            settings.gone_seconds,
            settings.video_codecs,
            settings.takes_private_candidates,
            admit=self._admit_face,
            connect=self._connect,
            act=self.act,
            ended=self.subscriptions.end_target,
            spawn=self._spawn,
        )
        self._speakers = Speakers()
        self._connections: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._ticker: asyncio.Task[None] | None = None

    # Life

    async def start(self) -> None:
        """Begin to let time pass."""
        self._ticker = asyncio.create_task(self._tick_forever(), name="conference ticker")

    def open(self, make_publication: PublicationFactory, weights: str | None = None) -> None:
        """Take calls; faces are shown once the model is loaded. `weights`: SHA-256 of the receiver's, None for any."""
        self._make_publication, self.publishers.weights = make_publication, weights

    @property
    def readiness(self) -> Literal["ready", "starting", "full", "draining"]:
        """Whether new calls are taken, or why not."""
        if self.draining:
            return "draining"
        if not self.loaded.is_set():
            return "starting"
        if self._capacity is not None and not self._capacity.admits(self._media_clock()):
            return "full"
        return "ready"

    @property
    def takes_rooms(self) -> bool:
        """Whether one more room could be opened now."""
        return self.readiness == "ready" and len(self.rooms.names()) < self.settings.max_rooms

    def load(self) -> tuple[int, float]:
        """Views that are promised, and how many this machine can render."""
        if self._capacity is None:
            return 0, 1.0
        return self._capacity.promised, self._capacity.capacity(self._media_clock())

    @property
    def overloaded(self) -> bool:
        """Whether pictures come slower than promised."""
        return self._capacity is not None and self._capacity.overloaded

    async def close(self) -> None:
        """Inform everybody, close everything and wait for it; idempotent."""
        self.draining = True
        if self._ticker is not None:
            self._ticker.cancel()
            await asyncio.gather(self._ticker, return_exceptions=True)
            self._ticker = None
        for participant in self._seats.participants():
            if participant not in self._seats:
                continue  # a screen, which went with its owner
            self._seats.close(participant, "shutdown")
            self.act(self.rooms.leave(self._clock(), participant, "closed"))
        self.subscriptions.end_all()
        try:
            async with asyncio.timeout(SHUTDOWN_SECONDS):
                while self._tasks:
                    await asyncio.gather(*self._tasks, return_exceptions=True)
        except TimeoutError:
            logger.error("some connections did not close")

    @property
    def busy(self) -> bool:
        """Whether anybody is here."""
        return bool(self._seats or self.subscriptions)

    # Participants

    def join(
        self,
        claims: Claims,
        room: str,
        name: str,
        client: Client,
        resume: Resume | None,
        listener: Listener | None,
        *,
        preview: bool = False,
    ) -> tuple[Participant, bool]:
        """Let a client in; also returns whether it was resumed.

        Raises CapacityError, ForbiddenError, DrainingError, StartingError.

        preview   it is in no roster, and means to watch itself alone
        """
        claims.may_join(room)
        self.administration.check(room, claims.sub)
        self._check_open()
        participant, events = self.rooms.join(self._clock(), room, claims.sub, name, client, resume, preview=preview)
        self._seats.take(participant.id, listener)
        resumed = resume is not None and participant.id == resume.participant
        self._metrics.joined(client, resumed)
        logger.info("joined", extra={"room": room, "participant": participant.id, "client": client, "resumed": resumed})
        self.act(events)
        return participant, resumed

    def heard(self, participant: str, listener: Listener) -> None:
        """The participant's signalling connection gave a sign of life."""
        if self._seats.is_of(participant, listener):
            self.rooms.heard(self._clock(), participant)

    def disconnected(self, participant: str, listener: Listener) -> None:
        """The signalling connection broke. Nothing when another took its place meanwhile."""
        if self._seats.is_of(participant, listener):
            self._seats.empty(participant)
            self.act(self.rooms.disconnected(self._clock(), participant))

    def leave(self, participant: str, listener: Listener | None = None, reason: Reason = "left") -> None:
        """The participant goes. With `listener`: nothing when another took its place meanwhile."""
        if participant in self._seats and (listener is None or self._seats.is_of(participant, listener)):
            self.act(self.rooms.leave(self._clock(), participant, reason))

    def move(self, room: str, address: str) -> None:
        """The room goes on at the node with that address: everybody is sent there, and leaves here."""
        events: list[Event] = []
        for participant in self.rooms.everybody(room):
            self._seats.close(participant.id, "moved", address)
            events += self.rooms.leave(self._clock(), participant.id, "moved")
        self.act(events)

    def set_state(self, participant: str, message: protocol.SetState) -> None:
        """What the others are shown of the participant."""
        self.act(
            self.rooms.update(
                participant,
                muted=message.muted,
                camera_off=message.camera_off,
                name=message.name,
                avatar=message.avatar,
            )
        )

    # Publishers

    async def publish(self, participant: str, sdp: str, weights: str | None = None) -> str:
        """Answer the offer of the connection on which the participant sends. Raises SdpError, WeightsError."""
        self._check_open()
        self._seats.check(participant)
        return await self.publishers.publish(participant, sdp, weights)

    async def share(self, owner: str, sdp: str) -> tuple[str, str]:
        """Answer the offer of the connection on which a participant shares its screen; returns (its id, answer).

        Offered again it replaces the connection. Raises SdpError, ConflictError.
        """
        self._check_open()
        self._seats.check(owner)
        screen, events = self.rooms.share(self._clock(), owner)
        if events:
            self._seats.take(screen.id, None)
        try:
            answer = await self.publishers.publish(screen.id, sdp)
        except BaseException:
            self.leave(screen.id, reason="closed")
            raise
        return screen.id, answer

    def unshare(self, owner: str) -> None:
        """The participant shares its screen no longer. Raises NotFoundError when it does not."""
        screen = self.rooms.screen_of(owner)
        if screen is None:
            raise NotFoundError("no screen is shared")
        self.leave(screen.id)

    async def add_source(self, participant: str, index: int, image: bytes, scene: int = 0) -> str:
        """Enrol an uploaded source image; its SHA-256 in hex. Raises InputError, FaceError."""
        self._seats.check(participant)
        check_sources(self.rooms, self.settings, participant, index)
        return await self.publishers.add_source(participant, index, image, scene)

    async def attach_source(self, participant: str, index: int, sha256: str, scene: int = 0) -> None:
        """Use a source image that is still cached; NotFoundError when it must be uploaded."""
        self._seats.check(participant)
        check_sources(self.rooms, self.settings, participant, index)
        await self.publishers.attach_source(participant, index, sha256, scene)

    async def add_window(self, participant: str, slot: int, data: bytes, scene: int = 0) -> None:
        """Put a window beside the participant's source images of that scene. Raises InputError."""
        self._seats.check(participant)
        await self.publishers.add_window(participant, slot, data, scene)

    # Subscriptions

    async def subscribe(
        self,
        viewer: str | None,
        room: str,
        target: str,
        sdp: str,
        codec: str | None = None,
        identity: str | None = None,
    ) -> tuple[str, str]:
        """Answer the offer of a connection on which to watch `target`; returns (subscription, answer).

        viewer: a participant, or None for one that came by WHEP with a token of `identity`
        Raises NotFoundError while the target does not publish, SdpError, UnsupportedMediaError, CapacityError.
        """
        self._check_open()
        watched = self.rooms.find(room, target)
        if viewer is not None:
            self._seats.check(viewer)
        publication = self.publishers.visible(target)
        if viewer is None:
            return await self.subscriptions.subscribe_outside(identity, watched, publication, sdp)
        return await self.subscriptions.subscribe(viewer, watched, publication, sdp, codec)

    def announce_recording(self, room: str, active: bool) -> None:
        """Let everybody in a room know whether it is recorded."""
        self._seats.send(self.rooms.everybody(room), protocol.recording(active))

    def tell(self, event: RoomEvent) -> None:
        """Let whoever asked for it know what happened in a room."""
        if self.on_room_event is not None:
            self.on_room_event(event)

    def active_speaker(self, room: str) -> str | None:
        """Who speaks now: a client that joins late hears only of the next change."""
        return self._speakers.active(room)

    # Acting on events

    def act(self, events: list[Event]) -> None:
        """Carry out what changed in the rooms, and send everybody in them the new roster."""
        changed: dict[str, None] = {}
        for event in events:
            changed[event.room] = None
            if isinstance(event, Gone):
                self._metrics.left(event.reason)
                logger.info("gone", extra={"room": event.room, "participant": event.participant, "why": event.reason})
                self._vacate(event.participant, event.reason)
        for room in changed:
            everybody, roster = self.rooms.everybody(room), self.rooms.roster(room)
            self._seats.send(everybody, protocol.roster(self.rooms.version(room), roster))
            for participant in everybody:
                publication = self.publishers.of(participant.id)
                if publication is not None:
                    publication.silence(participant.muted)  # whom the roster shows as muted nobody hears
                    publication.mark_avatar(participant.avatar)  # viewers by WHEP see no roster
            if self.on_roster is not None:
                self.on_roster(room)
            if not everybody:
                self._speakers.forget(room)
                self.administration.emptied(room)
            for happened in self._room_events.update(room, roster):
                self.tell(happened)

    def _vacate(self, participant: str, reason: Reason) -> None:
        if reason != "left":
            self._seats.close(participant, reason)
        self._seats.remove(participant)
        self.subscriptions.end_viewer(participant)
        self.publishers.end(participant)

    def _subscription_ended(self, subscription: Subscription, reason: str | None) -> None:
        """Close the connection of a subscription that ended; with a reason its viewer is informed."""
        self._spawn(subscription.connection.close())
        if reason is not None:
            self._seats.send_to(subscription.viewer, protocol.ended(subscription.id, reason))

    # Inside: time

    async def _tick_forever(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            try:
                self.tick()
            except Exception:
                # One participant's trouble must not stop the clock of all the others.
                logger.exception("tick failed")

    def tick(self) -> None:
        """Let the time that passed take effect: silent participants, kinds, speakers, occupancy."""
        self.act(self.rooms.tick(self._clock()))
        self.publishers.tick()
        for room in self.rooms.names():
            self._detect_speaker(room)
        self._look_at_load()
        for connection in self._connections:
            self._metrics.traffic(*connection.take_bytes())
        self._metrics.occupancy(
            rooms=len(self.rooms.names()),
            participants=len(self.rooms),
            publications=self.publishers.connections,
            subscriptions=len(self.subscriptions),
        )

    def _look_at_load(self) -> None:
        """Measure how much there is to render, and tell everybody when it becomes too much, or is no longer."""
        capacity, now = self._capacity, self._media_clock()
        if capacity is None:
            return
        before = capacity.overloaded
        capacity.tick(now)
        share, possible = capacity.rate_share(capacity.promised, now), capacity.capacity(now)
        self._metrics.load(capacity.promised, possible, capacity.cost(now), share, capacity.overloaded)
        if capacity.overloaded != before:
            log = logger.warning if capacity.overloaded else logger.info
            log("overloaded" if capacity.overloaded else "no longer overloaded", extra={"rate_share": round(share, 2)})
            for participant in self._seats.participants():
                self._seats.send_to(participant, protocol.load(capacity.overloaded))

    def _admit_face(self, participant: str) -> None:
        if self._capacity is not None and not self._capacity.admit(participant, self._media_clock()):
            raise CapacityError("the server has no time to render one more face")

    def _new_publication(self, participant: str) -> PublicationPort:
        self._check_open()
        assert self._make_publication is not None
        return self._make_publication(participant)

    def _detect_speaker(self, room: str) -> None:
        levels: dict[str, float] = {}
        for participant in self.rooms.roster(room):
            publication = self.publishers.of(participant.id)
            if publication is not None and not participant.muted and participant.owner is None:
                levels[participant.id] = publication.audio_level
        if self._speakers.update(room, self._clock(), levels):
            self._seats.send(self.rooms.everybody(room), protocol.speaking(self._speakers.active(room)))

    # Inside: connections and tasks

    def _check_open(self) -> None:
        if self.draining:
            raise DrainingError("the server is shutting down")
        if self._make_publication is None:
            raise StartingError("the server is starting; try again in a moment")

    def _connect(self, on_end: Callable[[Outcome], None]) -> Connection:
        def ended(outcome: Outcome) -> None:
            self._connections.discard(connection)
            self._metrics.traffic(*connection.take_bytes())
            self._metrics.connection_ended(outcome)
            on_end(outcome)

        connection = Connection(
            connect_seconds=self.settings.connect_seconds,
            public_address=self.settings.public_address,
            share_port=self._share_port,
            on_end=ended,
        )
        self._connections.add(connection)
        return connection

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            logger.error("closing failed", exc_info=task.exception())
