"""What a client is told of everybody who publishes in its room."""

from __future__ import annotations

from typing import Any

from server.signalling.publishers import Publishers
from server.signalling.rooms import Rooms
from server.signalling.subscriptions import Subscriptions


def room_statistics(
    room: str, rooms: Rooms, publishers: Publishers, subscriptions: Subscriptions
) -> dict[str, dict[str, Any]]:
    """Numbers of each publication by participant, with how many watch it and what these report."""
    result: dict[str, dict[str, Any]] = {}
    for participant in rooms.roster(room):
        publication = publishers.of(participant.id)
        if publication is not None:
            watching = subscriptions.of_target(participant.id)
            reports = [subscription.report for subscription in watching if subscription.report]
            result[participant.id] = publication.statistics() | {"viewers": len(watching), "reports": reports}
    return result
