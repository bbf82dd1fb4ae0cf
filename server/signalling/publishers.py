"""Who publishes what: one connection for each publishing participant, and the publication behind it.

A publication outlives its connection: whoever publishes the same kind again soon goes on for its viewers.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Literal

from aiortc import MediaStreamTrack, RTCDataChannel

from server.errors import ConflictError, NotFoundError, SdpError
from server.signalling.connections import Connection, Offer, Outcome, parse_offer
from server.signalling.ports import PublicationFactory, PublicationPort
from server.signalling.rooms import Event, Kind, Rooms

EndReason = Literal["unpublished", "gone", "failed"]


@dataclass
class Published:
    """What one participant publishes."""

    participant: str
    publication: PublicationPort | None = None
    connection: Connection | None = None
    announced: bool = False  # the roster told of this publication
    lost_at: float | None = None  # when the connection ended by itself; the publication waits for another


class Publishing:
    """All publications of one process; one event loop.

    `act(events)` is called with what changes in the rooms, `ended(participant, reason)` before a publication closes,
    and `spawn(work)` with what takes time.
    """

    def __init__(
        self,
        rooms: Rooms,
        make: PublicationFactory,
        clock: Callable[[], float],
        gone_seconds: float,
        *,
        connect: Callable[[Callable[[Outcome], None]], Connection],
        act: Callable[[list[Event]], None],
        ended: Callable[[str, EndReason], None],
        spawn: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self._rooms = rooms
        self._make = make
        self._clock = clock
        self._gone_seconds = gone_seconds
        self._connect = connect
        self._act = act
        self._ended = ended
        self._spawn = spawn
        self._all: dict[str, Published] = {}

    @property
    def connections(self) -> int:
        """Participants whose publishing connection stands or is being made."""
        return sum(published.connection is not None for published in self._all.values())

    def of(self, participant: str) -> PublicationPort | None:
        """The participant's publication, announced or not."""
        published = self._all.get(participant)
        return None if published is None else published.publication

    def watchable(self, participant: str) -> PublicationPort:
        """The publication that the roster tells of; raises NotFoundError while there is none."""
        published = self._all.get(participant)
        if published is None or published.publication is None or not published.announced:
            raise NotFoundError("the participant does not publish")
        return published.publication

    async def publish(self, participant: str, sdp: str) -> str:
        """Answer the offer of the connection on which a present participant sends. Raises SdpError, ConflictError."""
        offer = parse_offer(sdp)
        if not (offer.has_data or offer.sends):
            raise SdpError("the offer sends neither motion nor sound nor pictures")
        kind = _expected_kind(offer)
        published = self._of(participant)
        previous, published.connection = published.connection, None
        if previous is not None:
            await previous.close()
        if published.publication is not None and published.publication.kind not in ("none", kind):
            await self._end(published, "unpublished")
        # Of the same kind it goes on, and its viewers with it: they see a pause and need not subscribe anew.
        publication = self._publication(published)
        connection = self._connect(lambda _outcome: self._connection_ended(published, connection))
        published.connection, published.lost_at = connection, None
        connection.on_channel(lambda channel: _attach_channel(publication, channel))
        connection.on_track(lambda track: _attach_track(publication, track))
        try:
            if not published.announced:
                for index, sha256 in self._rooms.get(participant).sources.items():
                    await publication.attach_cached_source(index, sha256)
            answer = await connection.answer(offer)
            if not self._present(published) or published.connection is not connection:
                raise ConflictError("the participant left or published again meanwhile")
        except BaseException:
            await connection.close()
            if not self._present(published):
                # It left while this went on, and nobody else knows of what was made since.
                await self._end(published, "gone")
            raise
        if not published.announced:
            published.announced = True
            self._act(self._rooms.published(participant, kind))
        return answer

    async def add_source(self, participant: str, index: int, image: bytes) -> str:
        """Enrol an uploaded source image; its SHA-256 in hex. Raises InputError, FaceError."""
        published = self._of(participant)
        sha256 = await self._publication(published).add_source(index, image)
        self._remember_source(published, index, sha256)
        return sha256

    async def attach_source(self, participant: str, index: int, sha256: str) -> None:
        """Use a source image that is still cached; NotFoundError when it must be uploaded."""
        published = self._of(participant)
        if not await self._publication(published).attach_cached_source(index, sha256):
            raise NotFoundError("no source image with that SHA-256 is cached: upload it")
        self._remember_source(published, index, sha256)

    def end(self, participant: str) -> None:
        """The participant is gone, and what it published with it."""
        published = self._all.pop(participant, None)
        if published is not None:
            self._spawn(self._end(published, "gone"))

    def tick(self) -> None:
        """Let the time that passed take effect: connections lost for too long, kinds that turned out different."""
        for published in list(self._all.values()):
            if published.lost_at is not None and self._clock() - published.lost_at >= self._gone_seconds:
                self._lose(published)
            elif published.announced and (kind := _kind(published)) != "none":
                self._act(self._rooms.update(published.participant, kind=kind))

    # Inside

    def _of(self, participant: str) -> Published:
        return self._all.setdefault(participant, Published(participant))

    def _publication(self, published: Published) -> PublicationPort:
        """The publication, made on first need: a source may be uploaded before the offer comes."""
        if published.publication is None:
            published.publication = self._make(published.participant)
            published.publication.on_gone = lambda: self._lose(published)
            published.publication.on_state = lambda state: self._media_state(published, state)
        return published.publication

    def _remember_source(self, published: Published, index: int, sha256: str) -> None:
        if self._present(published):
            self._rooms.get(published.participant).sources[index] = sha256

    def _present(self, published: Published) -> bool:
        return self._all.get(published.participant) is published

    def _media_state(self, published: Published, state: str) -> None:
        if self._present(published) and state in ("live", "lost", "waiting"):
            self._act(self._rooms.update(published.participant, media=state))  # type: ignore[arg-type]  # by `in`

    def _connection_ended(self, published: Published, connection: Connection) -> None:
        if not self._present(published) or published.connection is not connection:
            return
        if self._rooms.get(published.participant).client == "whip":
            self._lose(published)
        else:
            published.connection, published.lost_at = None, self._clock()
            self._act(self._rooms.update(published.participant, media="lost"))

    def _lose(self, published: Published) -> None:
        """The peer of a publication was silent for too long, or its connection ended and no other came."""
        if not self._present(published):
            return
        if self._rooms.get(published.participant).client == "whip":
            # Its media is all that a WHIP client has.
            self._act(self._rooms.leave(self._clock(), published.participant, "silent"))
        else:
            self._spawn(self._end(published, "failed"))
            self._act(self._rooms.update(published.participant, media="lost"))

    async def _end(self, published: Published, reason: EndReason) -> None:
        publication, published.publication = published.publication, None
        connection, published.connection = published.connection, None
        published.announced, published.lost_at = False, None
        if publication is not None:
            publication.on_gone = publication.on_state = None
            self._ended(published.participant, reason)
        if connection is not None:
            await connection.close()
        if publication is not None:
            await publication.close()


def _kind(published: Published) -> Kind:
    return "none" if published.publication is None else published.publication.kind


def _expected_kind(offer: Offer) -> Kind:
    """What the offer promises; the publication corrects it once media arrives."""
    if offer.has_video:
        return "camera"
    return "motion" if offer.has_data else "none"


def _attach_channel(publication: PublicationPort, channel: RTCDataChannel) -> None:
    if channel.label == "motion":
        publication.attach_motion_channel(channel)
    elif channel.label == "control":
        publication.attach_control_channel(channel)
    else:
        channel.close()


def _attach_track(publication: PublicationPort, track: MediaStreamTrack) -> None:
    if track.kind == "audio":
        publication.attach_audio(track)
    else:
        publication.attach_video(track)
