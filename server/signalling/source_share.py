"""How many source images one identity and one room may hold, so that few cannot use up the cache of all."""

from __future__ import annotations

from server.errors import CapacityError
from server.settings import Settings
from server.signalling.rooms import Rooms


def check_sources(rooms: Rooms, settings: Settings, participant: str, index: int) -> None:
    """Raise CapacityError when one more image would be more than its owner's, or its room's, share of the cache."""
    me = rooms.get(participant)
    if index in me.sources:
        return  # it takes the place of another
    everybody = [other for name in rooms.names() for other in rooms.everybody(name)]
    for owner, bound, holders in (
        ("room", settings.max_sources_per_room, rooms.everybody(me.room)),
        ("identity", settings.max_sources_per_identity, [p for p in everybody if p.identity == me.identity]),
    ):
        if sum(len(holder.sources) for holder in holders) >= bound:
            raise CapacityError(f"one {owner} holds at most {bound} source images")
