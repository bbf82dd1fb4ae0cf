"""Who publishes: one connection for each publisher, and the publication behind it.

A publication outlives its connection: whoever publishes the same kind again soon goes on for its viewers.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from aiortc import RTCDataChannel

from model.errors import WeightsError
from server.errors import ConflictError, NotFoundError, SdpError
from server.media.aiortc_private import PacketInlet
from server.signalling.connection import Connection, Outcome
from server.signalling.offer import Offer, parse_offer, publishing
from server.signalling.participant import Kind
from server.signalling.ports import PublicationFactory, PublicationPort
from server.signalling.rooms import Event, Rooms

EndReason = Literal["unpublished", "gone", "failed"]


@dataclass
class Publisher:
    """One participant that publishes, and what it publishes."""

    participant: str
    publication: PublicationPort | None = None
    connection: Connection | None = None
    offer: Offer | None = None  # that the connection answered
    announced: bool = False  # the roster shows this publication
    lost_at: float | None = None  # when the connection ended by itself; the publication waits for another


class Publishers:
    """All publishers of one process; one event loop.

    `admit(participant)` raises CapacityError when the machine cannot render one more face.
    `act(events)` is called with what changes in the rooms, `ended(participant, reason)` before a publication closes,
    and `spawn(work)` with what takes time.
    """

    def __init__(
        self,
        rooms: Rooms,
        make_publication: PublicationFactory,
        clock: Callable[[], float],
        gone_seconds: float,
        video_codecs: Sequence[str],
        private_candidates: bool,
        *,
        admit: Callable[[str], None],
        connect: Callable[[Callable[[Outcome], None]], Connection],
        act: Callable[[list[Event]], None],
        ended: Callable[[str, EndReason], None],
        spawn: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self._rooms = rooms
        self._make_publication = make_publication
        self._clock = clock
        self._gone_seconds = gone_seconds
        self._video_codecs = video_codecs  # that cameras may send, in the order of preference
        self._private_candidates = private_candidates
        self._admit = admit
        self._connect = connect
        self._act = act
        self._ended = ended
        self._spawn = spawn
        self._all: dict[str, Publisher] = {}
        self.weights: str | None = None
        """SHA-256 of the weights that render motion, hexadecimal; None while they are not known."""

    @property
    def connections(self) -> int:
        """Participants whose publishing connection stands or is being made."""
        return sum(publisher.connection is not None for publisher in self._all.values())

    def of(self, participant: str) -> PublicationPort | None:
        """The participant's publication, in the roster or not."""
        publisher = self._all.get(participant)
        return None if publisher is None else publisher.publication

    def visible(self, participant: str) -> PublicationPort:
        """The publication that the roster shows; raises NotFoundError while there is none."""
        publisher = self._all.get(participant)
        if publisher is None or publisher.publication is None or not publisher.announced:
            raise NotFoundError("the participant does not publish")
        return publisher.publication

    async def publish(self, participant: str, sdp: str, weights: str | None = None) -> str:
        """Answer the offer of the connection on which a present participant sends.

        weights   SHA-256 of those whose motion it sends, hexadecimal; None where it does not say
        Raises WeightsError where they are not the receiver's, SdpError, ConflictError, and CapacityError when the
        machine cannot render one more face.
        """
        self._check_weights(weights)
        offer = parse_offer(sdp, self._private_candidates)
        publishing(offer)
        kind = _expected_kind(offer)
        screen = self._rooms.get(participant).owner is not None
        if screen and (kind != "camera" or offer.has_data):
            raise SdpError("a screen is shared as pictures, with sound or without")
        publisher = self._of(participant)
        previous, publisher.connection = publisher.connection, None
        if previous is not None:
            await previous.close()
        if publisher.publication is not None and publisher.publication.kind not in ("none", kind):
            await self._end(publisher, "unpublished")
        # Of the same kind it goes on, and its viewers with it: they see a pause and need not subscribe anew.
        publication = self._publication(publisher)
        if kind == "motion":
            self._admit(participant)
        connection = self._connect(lambda _outcome: self._connection_ended(publisher, connection))
        publisher.connection, publisher.offer, publisher.lost_at = connection, offer, None
        connection.on_channel(lambda channel: _attach_channel(publication, channel))
        connection.on_source(lambda source: _attach_source(publication, source))
        if offer.has_audio:
            connection.receive("audio", ["opus"])
        if offer.has_video:
            connection.receive("video", self._video_codecs)
        try:
            if not publisher.announced:
                for index, sha256 in self._rooms.get(participant).sources.items():
                    await publication.attach_cached_source(index, sha256)
            answer = await connection.answer(offer)
            if not self._present(publisher) or publisher.connection is not connection:
                raise ConflictError("the participant left or published again meanwhile")
        except BaseException:
            await connection.close()
            if not self._present(publisher):
                # It left while this went on, and nobody else can close what was made since.
                await self._end(publisher, "gone")
            raise
        if not publisher.announced:
            publisher.announced = True
            self._act(self._rooms.published(participant, "screen" if screen else kind))
        return answer

    async def add_source(self, participant: str, index: int, image: bytes, scene: int = 0) -> str:
        """Enrol an uploaded source image; its SHA-256 in hex. Raises InputError, FaceError."""
        publisher = self._of(participant)
        sha256 = await self._publication(publisher).add_source(index, image, scene)
        self._remember_source(publisher, index, sha256)
        return sha256

    async def attach_source(self, participant: str, index: int, sha256: str, scene: int = 0) -> None:
        """Use a source image that is still cached; NotFoundError when it must be uploaded."""
        publisher = self._of(participant)
        if not await self._publication(publisher).attach_cached_source(index, sha256, scene):
            raise NotFoundError("no source image with that SHA-256 is cached: upload it")
        self._remember_source(publisher, index, sha256)

    async def add_window(self, participant: str, slot: int, data: bytes, scene: int = 0) -> None:
        """Put a window beside the participant's source images of that scene. Raises InputError."""
        await self._publication(self._of(participant)).add_window(slot, data, scene)

    def connection(self, participant: str) -> tuple[Connection, Offer]:
        """The connection on which a participant publishes, and its offer; raises NotFoundError."""
        publisher = self._all.get(participant)
        if publisher is None or publisher.connection is None or publisher.offer is None:
            raise NotFoundError("no such session")
        return publisher.connection, publisher.offer

    def end(self, participant: str) -> None:
        """The participant is gone, and what it published with it."""
        publisher = self._all.pop(participant, None)
        if publisher is not None:
            self._spawn(self._end(publisher, "gone"))

    def tick(self) -> None:
        """Let the time that passed take effect: connections lost for too long, kinds that turned out different."""
        for publisher in list(self._all.values()):
            if publisher.lost_at is not None and self._clock() - publisher.lost_at >= self._gone_seconds:
                self._lose(publisher)
            elif publisher.announced and (kind := self._kind(publisher)) != "none":
                self._act(self._rooms.update(publisher.participant, kind=kind))

    # Inside

    def _check_weights(self, weights: str | None) -> None:
        """Raise WeightsError for others than the receiver's: under these motion would mean another face."""
        if weights is not None and self.weights is not None and weights != self.weights:
            raise WeightsError(
                f"the sender's weights ({weights[:12]}) are not the receiver's ({self.weights[:12]}): "
                "give both the same VISAVIS_WEIGHTS"
            )

    def _of(self, participant: str) -> Publisher:
        return self._all.setdefault(participant, Publisher(participant))

    def _publication(self, publisher: Publisher) -> PublicationPort:
        """The publication, made on first need: a source may be uploaded before the offer comes."""
        if publisher.publication is None:
            publisher.publication = self._make_publication(publisher.participant)
            publisher.publication.on_gone = lambda: self._lose(publisher)
            publisher.publication.on_state = lambda state: self._media_state(publisher, state)
        return publisher.publication

    def _remember_source(self, publisher: Publisher, index: int, sha256: str) -> None:
        if self._present(publisher):
            self._rooms.get(publisher.participant).sources[index] = sha256

    def _kind(self, publisher: Publisher) -> Kind:
        """What it turned out to publish. A screen comes as a camera's pictures do."""
        kind = "none" if publisher.publication is None else publisher.publication.kind
        return "screen" if kind == "camera" and self._rooms.get(publisher.participant).owner is not None else kind

    def _present(self, publisher: Publisher) -> bool:
        return self._all.get(publisher.participant) is publisher

    def _media_state(self, publisher: Publisher, state: str) -> None:
        if not self._present(publisher):
            return
        if state == "lost" and self._rooms.get(publisher.participant).owner is not None:
            return  # a screen on which nothing moves sends nothing
        if state in ("live", "lost", "waiting"):
            self._act(self._rooms.update(publisher.participant, media=state))  # type: ignore[arg-type]  # by `in`

    def _connection_ended(self, publisher: Publisher, connection: Connection) -> None:
        if not self._present(publisher) or publisher.connection is not connection:
            return
        if self._rooms.get(publisher.participant).media_alone:
            self._lose(publisher)
        else:
            publisher.connection, publisher.lost_at = None, self._clock()
            self._act(self._rooms.update(publisher.participant, media="lost"))

    def _lose(self, publisher: Publisher) -> None:
        """The peer of a publication was silent for too long, or its connection ended and no other came."""
        if not self._present(publisher):
            return
        if self._rooms.get(publisher.participant).media_alone:
            self._act(self._rooms.leave(self._clock(), publisher.participant, "silent"))
        else:
            self._spawn(self._end(publisher, "failed"))
            self._act(self._rooms.update(publisher.participant, media="lost"))

    async def _end(self, publisher: Publisher, reason: EndReason) -> None:
        publication, publisher.publication = publisher.publication, None
        connection, publisher.connection = publisher.connection, None
        publisher.announced, publisher.lost_at = False, None
        if publication is not None:
            publication.on_gone = publication.on_state = None
            self._ended(publisher.participant, reason)
        if connection is not None:
            await connection.close()
        if publication is not None:
            await publication.close()


def _expected_kind(offer: Offer) -> Kind:
    """What the offer promises; the publication corrects it once media arrives."""
    if "video" in offer.sends:
        return "camera"
    return "motion" if offer.has_data else "none"


def _attach_channel(publication: PublicationPort, channel: RTCDataChannel) -> None:
    if channel.label == "motion":
        publication.attach_motion_channel(channel)
    elif channel.label == "control":
        publication.attach_control_channel(channel)
    else:
        channel.close()


def _attach_source(publication: PublicationPort, source: PacketInlet) -> None:
    if source.kind == "audio":
        publication.attach_audio(source)
    else:
        publication.attach_video(source)
