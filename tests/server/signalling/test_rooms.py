"""Rooms: by example, and as a state machine that hypothesis drives."""

from __future__ import annotations

from itertools import count

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from server.errors import CapacityError, ForbiddenError, NotFoundError
from server.signalling.participant import Participant
from server.signalling.resumption import Resume
from server.signalling.rooms import FOR_GOOD, Gone, Reason, Resumed, RoomLimits, Rooms, RosterChanged

LIMITS = RoomLimits(rooms=2, participants=3, gone_seconds=5.0, resume_seconds=60.0, remembered=4)


def make(limits: RoomLimits = LIMITS, first: int = 0) -> Rooms:
    numbers = count(first)
    return Rooms(limits, lambda: f"{next(numbers):016d}"[::-1])


def join(
    rooms: Rooms,
    now: float = 0.0,
    room: str = "a",
    name: str = "Ada",
    identity: str = "me",
    resume: Resume | None = None,
) -> Participant:
    return rooms.join(now, room, identity, name, "page", resume)[0]


def token(of: Participant, in_time: bool = True) -> Resume:
    return Resume(of.id, of.room, of.identity, of.name, of.publication, dict(of.sources), in_time)


def test_late_joiner_sees_all_in_the_order_of_joining() -> None:
    rooms = make()
    join(rooms, name="Ada")
    join(rooms, name="Bob")
    assert [p.name for p in rooms.roster("a")] == ["Ada", "Bob"]
    assert rooms.roster("b") == []


def test_equal_names_are_told_apart() -> None:
    rooms = make()
    names = [join(rooms, name="Ada").name for _ in range(3)]
    assert names == ["Ada", "Ada (2)", "Ada (3)"]


def test_a_preview_takes_no_name_and_no_place() -> None:
    rooms = make()
    for name in ("Ada", "Ada", "Ada"):
        preview, _ = rooms.join(0.0, "a", "me", name, "page", preview=True)
        assert (preview.name, preview.preview) == ("Ada", True)
    assert [join(rooms, name="Ada").name for _ in range(LIMITS.participants)] == ["Ada", "Ada (2)", "Ada (3)"]
    with pytest.raises(CapacityError):
        join(rooms)
    with pytest.raises(CapacityError):
        rooms.join(0.0, "a", "me", "Ada", "page", preview=True)


def test_renaming_to_ones_own_name_changes_nothing() -> None:
    rooms = make()
    ada = join(rooms)
    assert rooms.update(ada.id, name="Ada") == []
    join(rooms, name="Bob")
    rooms.update(ada.id, name="Bob")
    assert ada.name == "Bob (2)"


def test_state_changes_raise_the_version_once() -> None:
    rooms = make()
    ada = join(rooms)
    version = rooms.version("a")
    assert rooms.update(ada.id, muted=True, camera_off=True) == [RosterChanged("a", version + 1)]
    assert rooms.update(ada.id, muted=True) == []
    assert ada.entry()["muted"] is True


def test_bounds_on_rooms_and_participants() -> None:
    rooms = make()
    for _ in range(3):
        join(rooms)
    with pytest.raises(CapacityError, match="room is full"):
        join(rooms)
    join(rooms, room="b")
    with pytest.raises(CapacityError, match="no room left"):
        join(rooms, room="c")


def test_lost_connection_shows_at_once_and_is_gone_after_five_seconds() -> None:
    rooms = make()
    ada = join(rooms)
    assert rooms.disconnected(10.0, ada.id) == [RosterChanged("a", 2)]
    assert ada.state == "lost"
    assert rooms.disconnected(11.0, ada.id) == []
    assert rooms.tick(14.9) == []
    assert Gone("a", ada.id, "silent") in rooms.tick(15.0)
    assert rooms.roster("a") == []


def test_silence_on_an_open_connection_is_noticed_too() -> None:
    rooms = make()
    ada = join(rooms, now=0.0)
    rooms.heard(3.0, ada.id)
    assert rooms.tick(7.9) == []
    assert Gone("a", ada.id, "silent") in rooms.tick(8.0)


def test_whip_participant_is_not_expected_to_be_heard() -> None:
    rooms = make()
    rooms.join(0.0, "a", "me", "OBS", "whip")
    assert rooms.tick(1000.0) == []


def test_resume_before_gone_keeps_everything() -> None:
    rooms = make()
    ada = join(rooms)
    rooms.update(ada.id, muted=True)
    rooms.disconnected(1.0, ada.id)
    back, events = rooms.join(3.0, "a", "me", "Somebody", "page", token(ada))
    assert back is ada
    assert back.name == "Ada"
    assert back.state == "waiting"
    assert Resumed("a", ada.id) in events
    assert rooms.tick(7.0) == []


def test_resume_after_gone_brings_back_name_and_sources() -> None:
    rooms = make()
    ada = join(rooms)
    ada.sources[0] = "f" * 64
    rooms.disconnected(1.0, ada.id)
    rooms.tick(6.0)
    back = join(rooms, now=30.0, name="x", resume=token(ada))
    assert (back.id, back.name, back.sources) == (ada.id, "Ada", {0: "f" * 64})
    assert len(rooms.roster("a")) == 1


def test_resume_too_late_joins_anew() -> None:
    rooms = make()
    ada = join(rooms)
    assert join(rooms, resume=token(ada, in_time=False)).id == ada.id, "who is still here is known without the time"
    rooms.leave(0.0, ada.id)
    assert join(rooms, now=61.0, resume=token(ada, in_time=False)).id != ada.id


def test_a_server_that_never_saw_a_participant_takes_it_by_its_token() -> None:
    ada = join(make())
    ada.publication, ada.sources = 3, {1: "e" * 64}
    other = make(first=500)
    assert join(other, name="Ada", identity="eve").name == "Ada"
    back = join(other, name="x", resume=token(ada))
    assert (back.id, back.name, back.publication, back.sources) == (ada.id, "Ada (2)", 3, {1: "e" * 64})
    assert join(other, resume=token(ada)) is back, "twice the same token is once the same participant"


def test_a_token_of_another_room_joins_anew() -> None:
    rooms = make()
    ada = join(rooms)
    assert join(rooms, room="b", resume=token(ada)).id != ada.id


@pytest.mark.parametrize("reason", FOR_GOOD)
def test_who_went_for_good_does_not_come_back_with_its_token(reason: Reason) -> None:
    rooms = make()
    ada = join(rooms)
    rooms.leave(0.0, ada.id, reason)
    assert join(rooms, now=1.0, resume=token(ada)).id != ada.id


def test_resume_needs_the_same_identity() -> None:
    rooms = make()
    ada = join(rooms)
    with pytest.raises(ForbiddenError):
        join(rooms, identity="eve", resume=token(ada))
    rooms.leave(0.0, ada.id)
    with pytest.raises(ForbiddenError):
        join(rooms, identity="eve", resume=token(ada))


def test_memory_of_who_went_for_good_is_bounded() -> None:
    rooms = make()
    for _ in range(20):
        rooms.leave(0.0, join(rooms).id, "removed")
    assert rooms.remembered == LIMITS.remembered
    rooms.tick(1000.0)
    assert rooms.remembered == 0
    assert rooms.names() == []


def test_unknown_participant_is_not_found() -> None:
    rooms = make()
    ada = join(rooms)
    for ask in (lambda: rooms.get("x"), lambda: rooms.find("b", ada.id), lambda: rooms.leave(0.0, "x")):
        with pytest.raises(NotFoundError):
            ask()


def people(rooms: Rooms, room: str) -> list[Participant]:
    """Those in the roster who are no screens."""
    return [participant for participant in rooms.roster(room) if participant.owner is None]


class RoomsMachine(RuleBasedStateMachine):
    """Random clients; the invariants hold after every step."""

    @initialize()
    def begin(self) -> None:
        self.rooms = make()
        self.now = 0.0
        self.known: list[Participant] = []
        self.versions: dict[str, int] = {}

    def _pick(self, index: int) -> Participant | None:
        present = [p for p in self.known if p in self.rooms.roster(p.room)]
        return present[index % len(present)] if present else None

    @rule(room=st.sampled_from("abc"), name=st.sampled_from(["Ada", "Bob"]), identity=st.sampled_from("xy"))
    def join(self, room: str, name: str, identity: str) -> None:
        full = len(people(self.rooms, room)) >= LIMITS.participants
        crowded = not self.rooms.roster(room) and len(self.rooms.names()) >= LIMITS.rooms
        try:
            participant, _ = self.rooms.join(self.now, room, identity, name, "page")
        except CapacityError:
            assert full or crowded
        else:
            assert not full
            assert not crowded
            self.known.append(participant)

    @rule(index=st.integers(0, 50), room=st.sampled_from("abc"))
    def resume(self, index: int, room: str) -> None:
        if not self.known:
            return
        old = self.known[index % len(self.known)]
        before = len(self.rooms)
        was_there = old.id in [p.id for p in self.rooms.roster(old.room)]
        try:
            back, events = self.rooms.join(self.now, room, old.identity, "new", "daemon", token(old))
        except CapacityError:
            return
        if was_there and room == old.room:
            assert len(self.rooms) == before
            assert any(isinstance(event, Resumed) for event in events)
            assert back.id == old.id
        else:
            assert len(self.rooms) == before + 1
            self.known.append(back)

    @rule(index=st.integers(0, 50))
    def share(self, index: int) -> None:
        if participant := self._pick(index):
            screen, _ = self.rooms.share(self.now, participant.id)
            assert self.rooms.screen_of(participant.id) is screen
            assert screen.name == participant.name

    @rule(index=st.integers(0, 50))
    def leave(self, index: int) -> None:
        if participant := self._pick(index):
            events = self.rooms.leave(self.now, participant.id)
            assert Gone(participant.room, participant.id, "left") in events

    @rule(index=st.integers(0, 50))
    def disconnect(self, index: int) -> None:
        if participant := self._pick(index):
            self.rooms.disconnected(self.now, participant.id)
            assert participant.state == "lost"

    @rule(index=st.integers(0, 50))
    def speak(self, index: int) -> None:
        participant = self._pick(index)
        if participant and participant.connected:
            self.rooms.heard(self.now, participant.id)

    @rule(index=st.integers(0, 50), name=st.sampled_from(["Ada", "Bob", "Cy"]), muted=st.booleans())
    def change(self, index: int, name: str, muted: bool) -> None:
        if participant := self._pick(index):
            self.rooms.update(participant.id, name=name, muted=muted)

    @rule(seconds=st.floats(0.0, 100.0))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        gone = {event.participant for event in self.rooms.tick(self.now) if isinstance(event, Gone)}
        for participant in self.known:
            if participant in self.rooms.roster(participant.room):
                assert participant.id not in gone
                assert self.now - participant.heard < LIMITS.gone_seconds

    @invariant()
    def bounds_and_uniqueness(self) -> None:
        if not hasattr(self, "rooms"):
            return
        everybody = [p for room in self.rooms.names() for p in self.rooms.roster(room)]
        assert len({p.id for p in everybody}) == len(everybody) == len(self.rooms)
        assert len(self.rooms.names()) <= LIMITS.rooms
        assert self.rooms.remembered <= LIMITS.remembered
        for room in self.rooms.names():
            names = [p.name for p in people(self.rooms, room)]
            owners = [p.owner for p in self.rooms.roster(room) if p.owner is not None]
            assert len(set(owners)) == len(owners)
            assert set(owners) <= {p.id for p in people(self.rooms, room)}
            assert 1 <= len(names) <= LIMITS.participants
            assert len(set(names)) == len(names)


TestRoomsMachine = RoomsMachine.TestCase
TestRoomsMachine.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
