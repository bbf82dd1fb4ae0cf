"""Who watches whom: one recvonly connection for each pair of viewer and publisher."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from server.errors import CapacityError, ConflictError, NotFoundError
from server.settings import Settings
from server.signalling import protocol
from server.signalling.connection import Connection, Outcome
from server.signalling.offer import Offer, choose_codec, parse_offer, watching
from server.signalling.participant import Participant
from server.signalling.ports import PublicationPort, SubscriptionPort

RENDERED_LABEL = "rendered"
"""Label of a video section whose pictures no camera took (docs/protocol.md, "Rendered pictures")."""


@dataclass(frozen=True)
class Outside:
    """Where a viewer comes from who is no participant."""

    room: str
    identity: str | None


@dataclass
class Subscription:
    """One viewer's connection to one participant."""

    id: str
    viewer: str | None  # participant; None when it came by WHEP
    target: str
    port: SubscriptionPort
    connection: Connection
    offer: Offer
    outside: Outside | None = None
    report: dict[str, Any] = field(default_factory=dict)  # what the viewer measured last


class Subscriptions:
    """All subscriptions of one process.

    `ended(subscription, reason)` is called once for each that ended; reason is None when its viewer asked for it or
    went. The connection is still open then and is the callee's to close.
    """

    def __init__(
        self,
        settings: Settings,
        new_secret: Callable[[], str],
        connect: Callable[[Callable[[Outcome], None]], Connection],
        ended: Callable[[Subscription, str | None], None],
    ) -> None:
        self._settings = settings
        self._new_secret = new_secret
        self._connect = connect
        self._ended = ended
        self._all: dict[str, Subscription] = {}

    def __len__(self) -> int:
        return len(self._all)

    def of_target(self, target: str) -> list[Subscription]:
        """Everybody who watches that participant."""
        return [subscription for subscription in self._all.values() if subscription.target == target]

    def get(self, viewer: str | None, identifier: str) -> Subscription:
        """The viewer's subscription of that name; raises NotFoundError."""
        subscription = self._all.get(identifier)
        if subscription is None or subscription.viewer != viewer:
            raise NotFoundError("no such subscription")
        return subscription

    async def subscribe(
        self, viewer: str, target: Participant, publication: PublicationPort, sdp: str, codec: str | None
    ) -> tuple[str, str]:
        """Answer a viewer's offer to watch `target`; returns (subscription, answer).

        Raises SdpError, UnsupportedMediaError, CapacityError, and ConflictError when the publication ended meanwhile.
        """
        bound = self._settings.max_subscriptions
        if sum(subscription.viewer == viewer for subscription in self._all.values()) >= bound:
            raise CapacityError(f"at most {bound} subscriptions")
        return await self._subscribe(viewer, target, publication, sdp, codec, None)

    async def subscribe_outside(
        self, identity: str | None, target: Participant, publication: PublicationPort, sdp: str
    ) -> tuple[str, str]:
        """The same for a viewer who is no participant (WHEP): bounded in all, for each room and for each identity."""
        settings = self._settings
        outside = [subscription.outside for subscription in self._all.values() if subscription.outside is not None]
        for owner, held, bound in (
            ("server", len(outside), settings.max_whep_viewers),
            ("room", sum(o.room == target.room for o in outside), settings.max_whep_viewers_per_room),
            ("identity", sum(o.identity == identity for o in outside), settings.max_whep_viewers_per_identity),
        ):
            if held >= bound:
                raise CapacityError(f"one {owner} has at most {bound} WHEP viewers")
        return await self._subscribe(None, target, publication, sdp, None, Outside(target.room, identity))

    async def _subscribe(
        self,
        viewer: str | None,
        target: Participant,
        publication: PublicationPort,
        sdp: str,
        codec: str | None,
        outside: Outside | None,
    ) -> tuple[str, str]:
        offer = parse_offer(sdp, self._settings.takes_private_candidates)
        watching(offer)
        preference: tuple[str, ...] = tuple(self._settings.video_codecs)
        if publication.video_codec is not None:
            # What a camera sends already costs nothing to send on.
            preference = (publication.video_codec, *preference)
        chosen = choose_codec(offer, preference, codec) if offer.has_video else None
        identifier = self._new_secret()[:16]
        port = publication.subscribe(identifier, chosen or "VP8")  # without pictures the codec is never used
        connection = self._connect(lambda _outcome: self._connection_ended(identifier))
        subscription = Subscription(identifier, viewer, target.id, port, connection, offer, outside)
        self._all[identifier] = subscription
        try:
            video = None if chosen is None else connection.send_track(port.video, chosen)
            audio = connection.send_track(port.audio) if offer.has_audio and port.audio is not None else None
            port.bind(video, audio)
            answer = await connection.answer(offer, RENDERED_LABEL if target.rendered else None)
        except BaseException:
            self.end(subscription, None)
            raise
        if identifier not in self._all:
            raise ConflictError("the participant stopped publishing meanwhile")
        return identifier, answer

    def set_view(self, viewer: str, message: protocol.SetView) -> None:
        """Another free view on one subscription."""
        # Not at the top: it loads torch, for which a server that has just bound its port does not wait.
        from model.motion import View

        view = View() if message.reset else View(yaw=message.yaw, pitch=message.pitch, roll=message.roll)
        self.get(viewer, message.subscription).port.set_view(view)

    def report(self, viewer: str, message: protocol.Report) -> None:
        """Keep what a viewer measured."""
        subscription = self.get(viewer, message.subscription)
        subscription.report = message.model_dump(exclude={"id", "type", "subscription"}, exclude_none=True)

    def sent_frames(self, viewer: str) -> dict[str, list[list[float]]]:
        """By subscription of a participant: pictures sent since it asked last.

        Each is [RTP timestamp, capture time in milliseconds of the server's clock].
        """
        return {
            subscription.id: [[timestamp, round(1000 * at, 1)] for timestamp, at in subscription.port.sent_frames()]
            for subscription in self._all.values()
            if subscription.viewer == viewer
        }

    def end(self, subscription: Subscription, reason: str | None) -> None:
        """End one subscription; idempotent."""
        if self._all.pop(subscription.id, None) is not None:
            subscription.port.close()
            self._ended(subscription, reason)

    def end_viewer(self, viewer: str) -> None:
        """End all that a participant watches."""
        for subscription in [s for s in self._all.values() if s.viewer == viewer]:
            self.end(subscription, None)

    def end_target(self, target: str, reason: str) -> None:
        """End all that watch a participant."""
        for subscription in self.of_target(target):
            self.end(subscription, reason)

    def end_all(self) -> None:
        """End everything, for shutdown."""
        for subscription in list(self._all.values()):
            self.end(subscription, None)

    def _connection_ended(self, identifier: str) -> None:
        subscription = self._all.get(identifier)
        if subscription is not None:
            self.end(subscription, "failed")
