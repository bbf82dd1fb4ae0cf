"""Who watches whom: one recvonly connection for each viewer and watched participant."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from model.motion import View
from server.errors import CapacityError, ConflictError, NotFoundError
from server.settings import Settings
from server.signalling import protocol
from server.signalling.connections import Connection, Outcome, choose_codec, parse_offer
from server.signalling.ports import PublicationPort, SubscriptionPort


@dataclass
class Watching:
    """One viewer's connection to one participant."""

    id: str
    viewer: str | None  # participant; None when it came by WHEP
    target: str
    subscription: SubscriptionPort
    connection: Connection
    report: dict[str, Any] = field(default_factory=dict)  # what the viewer measured last


class Viewing:
    """All subscriptions of one process.

    `ended(watching, reason)` is called once for each that ended; reason is None when its viewer asked for it or went.
    The connection is still open then and is the callee's to close.
    """

    def __init__(
        self,
        settings: Settings,
        new_secret: Callable[[], str],
        connect: Callable[[Callable[[Outcome], None]], Connection],
        ended: Callable[[Watching, str | None], None],
    ) -> None:
        self._settings = settings
        self._new_secret = new_secret
        self._connect = connect
        self._ended = ended
        self._all: dict[str, Watching] = {}

    def __len__(self) -> int:
        return len(self._all)

    def of_target(self, target: str) -> list[Watching]:
        """Everybody who watches that participant."""
        return [watching for watching in self._all.values() if watching.target == target]

    def get(self, viewer: str | None, subscription: str) -> Watching:
        """The viewer's subscription of that name; raises NotFoundError."""
        watching = self._all.get(subscription)
        if watching is None or watching.viewer != viewer:
            raise NotFoundError("no such subscription")
        return watching

    async def subscribe(
        self, viewer: str | None, target: str, publication: PublicationPort, sdp: str, codec: str | None
    ) -> tuple[str, str]:
        """Answer a viewer's offer; returns (subscription, answer).

        Raises SdpError, UnsupportedMediaError, CapacityError, and ConflictError when the publication ended meanwhile.
        """
        bound = self._settings.max_whep_viewers if viewer is None else self._settings.max_subscriptions
        if sum(watching.viewer == viewer for watching in self._all.values()) >= bound:
            raise CapacityError(f"at most {bound} subscriptions")
        offer = parse_offer(sdp)
        chosen = choose_codec(offer, self._settings.video_codecs, codec)
        identifier = self._new_secret()[:16]
        subscription = publication.subscribe(identifier, chosen)
        connection = self._connect(lambda _outcome: self._connection_ended(identifier))
        watching = self._all[identifier] = Watching(identifier, viewer, target, subscription, connection)
        try:
            sender = connection.send_track(subscription.video, chosen)
            if offer.has_audio and subscription.audio is not None:
                connection.send_track(subscription.audio)
            subscription.bind(sender)
            answer = await connection.answer(offer)
        except BaseException:
            self.end(watching, None)
            raise
        if identifier not in self._all:
            raise ConflictError("the participant stopped publishing meanwhile")
        return identifier, answer

    def set_view(self, viewer: str, message: protocol.SetView) -> None:
        """Another free view on one subscription."""
        view = View() if message.reset else View(yaw=message.yaw, pitch=message.pitch, roll=message.roll)
        self.get(viewer, message.subscription).subscription.set_view(view)

    def report(self, viewer: str, message: protocol.Report) -> None:
        """Keep what a viewer measured."""
        watching = self.get(viewer, message.subscription)
        watching.report = message.model_dump(exclude={"id", "type", "subscription"}, exclude_none=True)

    def sent_frames(self, viewer: str) -> dict[str, list[list[float]]]:
        """By subscription of a participant: pictures sent since it asked last.

        Each is [RTP timestamp, capture time in milliseconds of the server's clock].
        """
        return {
            watching.id: [[timestamp, round(1000 * at, 1)] for timestamp, at in watching.subscription.sent_frames()]
            for watching in self._all.values()
            if watching.viewer == viewer
        }

    def end(self, watching: Watching, reason: str | None) -> None:
        """End one subscription; idempotent."""
        if self._all.pop(watching.id, None) is not None:
            watching.subscription.close()
            self._ended(watching, reason)

    def end_viewer(self, viewer: str) -> None:
        """End all that a participant watches."""
        for watching in [w for w in self._all.values() if w.viewer == viewer]:
            self.end(watching, None)

    def end_target(self, target: str, reason: str) -> None:
        """End all that watch a participant."""
        for watching in self.of_target(target):
            self.end(watching, reason)

    def end_all(self) -> None:
        """End everything, for shutdown."""
        for watching in list(self._all.values()):
            self.end(watching, None)

    def _connection_ended(self, identifier: str) -> None:
        watching = self._all.get(identifier)
        if watching is not None:
            self.end(watching, "failed")
