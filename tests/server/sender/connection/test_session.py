"""The daemon against the real signalling server, over real peer connections; what it publishes is made up.

Time is the test's own wherever a deadline is meant: the daemon's clock and its pauses.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import av
import msgpack
import numpy as np
import pytest

from model.codec.decoder import MotionDecoder
from model.codec.encoder import MotionEncoder
from model.codec.rate import Rate
from model.codec.statistics import MotionStatistics
from model.errors import VisavisError
from server.awake_clock import LONGEST_STEP
from server.errors import UnauthorizedError
from server.sender.connection.access import Access
from server.sender.connection.reconnect import STABLE_AFTER
from server.sender.connection.session import SOUND_AGE
from server.sender.connection.signalling import RefusedError, Signalling
from server.sender.daemon import Daemon, Destination
from server.sender.media.feed import FeedListener
from server.sender.media.samples import MotionSample, SourceImage, StageTimes, WindowUpload
from server.sender.media.sound import PACKET_SAMPLES, OpusWriter, SoundPacket, SoundQueue
from server.sender.status_line import StatusLine
from server.settings import load_settings
from tests.server.fakes import FakeClock, until
from tests.server.signalling import CACHED, DAMAGED, JPEG, NO_FACE, Call, FakePublication, dismiss, running_call
from tests.server.tcp_proxy import TcpProxy

STATISTICS = MotionStatistics.default(4)
STAGES = StageTimes(0.005, 0.010)
WEIGHTS = "ab" * 32


def picture(number: int, data: bytes = JPEG) -> SourceImage:
    data = data if data == NO_FACE else data + bytes([number])
    return SourceImage(number, data)


class FakeFeed:
    """Says what the test says, and remembers what it hears."""

    def __init__(self, listener: FeedListener, sound: bool = False) -> None:
        self.listener = listener
        self.sound = SoundQueue(asyncio.get_running_loop()) if sound else None
        self.dropped = 0
        self.taken: list[int] = []
        self.refused: list[str] = []
        self.started = self.closed = False

    def start(self) -> None:
        self.started = True
        self.listener.on_presence("nobody yet")
        self.listener.on_presence(None)

    def source_taken(self, index: int) -> None:
        self.taken.append(index)

    def source_refused(self, index: int, error: VisavisError) -> None:
        self.refused.append(str(error))

    async def close(self) -> None:
        self.closed = True


class Studio:
    """A daemon, its feed, and the publication that the server made for it."""

    def __init__(self, call: Call, server: str, *, token: str | None = None, sound: bool = False, avatar: bool = False):
        self.clock = FakeClock(1.0)
        self.pauses: list[float] = []
        self.before_pause: Callable[[], None] = lambda: None
        self.feed: FakeFeed | None = None
        self._sound = sound
        access = Access(server, "lobby", token or call.token(identity="daemon"), load_settings())
        self.daemon = Daemon(
            Destination(server, "lobby", "Ada", avatar),
            access,
            self._make_feed,
            lambda: MotionEncoder(STATISTICS, Rate()),
            weights=WEIGHTS,
            clock=self.clock,
            chance=lambda: 0.0,
            sleep=self._sleep,
        )
        self.running = asyncio.create_task(self.daemon.run(), name="daemon")

    def _make_feed(self, listener: FeedListener) -> FakeFeed:
        self.feed = FakeFeed(listener, self._sound)
        return self.feed

    async def _sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.clock.now += seconds
        self.before_pause()
        await asyncio.sleep(0)

    @property
    def live_feed(self) -> FakeFeed:
        assert self.feed is not None
        return self.feed

    @property
    def publication(self) -> FakePublication:
        (found,) = FakePublication.alive
        return found

    async def live(self) -> None:
        await asyncio.wait_for(self.daemon.wait_live(), 20)

    async def with_source(self, number: int = 0) -> None:
        await self.live()
        self.daemon.on_source(picture(number))
        await until(lambda: number in self.live_feed.taken)

    def say(self, yaw: float) -> None:
        vector = np.zeros(STATISTICS.size, np.float32)
        vector[0], vector[3] = yaw, 1.0
        self.clock.now += 0.04
        self.daemon.on_motion(MotionSample(vector, self.clock.now), STAGES)

    async def stop(self) -> None:
        self.daemon.stop()
        await asyncio.wait_for(self.running, 20)


@asynccontextmanager
async def studio(call: Call, **options: Any) -> AsyncIterator[Studio]:
    made = Studio(call, str(call.client.make_url("")).rstrip("/"), **options)
    try:
        yield made
    finally:
        made.running.cancel()
        await asyncio.gather(made.running, return_exceptions=True)


async def uploads_anew(sender: Studio, windows: dict[int, bytes]) -> None:
    """The connection is lost; to the next receiver go these windows."""
    sender.publication.windows.clear()
    assert sender.daemon.session is not None
    sender.daemon.session.lost.set_result("cut")
    await until(lambda: sender.publication.windows == windows)


def control(publication: FakePublication, kind: str) -> list[dict[str, Any]]:
    messages = [msgpack.unpackb(m) for m in publication.messages if m[:1] not in (b"\x41", b"\x42", b"\x43", b"\x44")]
    return [message for message in messages if message["t"] == kind]


@pytest.mark.asyncio
async def test_motion_goes_out_and_the_roster_knows_who_it_is() -> None:
    async with running_call() as call, studio(call, avatar=True) as sender:
        viewer, _ = await call.join("Bob")
        await sender.with_source()
        assert sender.publication.sources == {0: picture(0).sha256}
        await until(lambda: control(sender.publication, "source") != [])
        assert control(sender.publication, "source") == [{"t": "source", "index": 0, "sha256": picture(0).sha256}]

        decoder = MotionDecoder(STATISTICS)
        for yaw in (1.0, 2.0, 3.0):
            sender.say(yaw)
            await asyncio.sleep(0.02)
        motion = sender.publication.messages
        await until(lambda: sum(m[:1] in (b"\x41", b"\x44") for m in motion) == 3)
        frames = [frame for m in motion if m[:1] in (b"\x41", b"\x44") for frame in decoder.decode(m)]
        assert [round(float(frame.vector[0])) for frame in frames] == [1, 2, 3]
        assert frames[-1].capture_ms == int(1000 * sender.clock.now)
        status = sender.daemon.status()
        assert (status.state, status.dropped, status.sources) == ("live", 0, 1)
        assert status.wire_kbps > status.motion_kbps > 0

        (ada,) = [p for p in await viewer.roster(lambda r: any(p["avatar"] for p in r)) if p["name"] == "Ada"]
        assert (ada["avatar"], ada["muted"]) == (True, True)
        await sender.stop()
        await viewer.roster(lambda r: [p["name"] for p in r] == ["Bob"])
        assert sender.live_feed.closed


@pytest.mark.asyncio
async def test_a_server_that_starts_is_waited_for_with_one_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "server.sender")
    lines: list[str] = []
    line = StatusLine(io.StringIO(), "human", lines.append)
    async with running_call() as call, studio(call) as sender:
        conference = call.parts.conference
        conference._make_publication = None
        connect = Signalling.connect

        def show() -> None:
            line.show(sender.daemon.status(), sender.clock.now)

        async def watched(signalling: Signalling) -> None:
            show()  # while it connects
            await connect(signalling)

        def wait() -> None:
            show()
            if len(sender.pauses) == 30:
                conference.open(FakePublication)

        sender.before_pause = wait
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Signalling, "connect", watched)
            await sender.live()
        show()
        assert len(sender.pauses) == 30
        await sender.stop()
    assert [text.split("   ")[0] for text in lines] == [
        "connecting",
        "waiting: the server is starting; try again in a moment",
        " 0.0 fps",
    ]
    assert sum("not connected" in text for text in caplog.messages) == 1


@pytest.mark.asyncio
async def test_mouth_windows_go_to_every_receiver_slowly_and_none_ends_the_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("server.sender.connection.uploads.WINDOW_SECONDS_PER_BYTE", 1e-4)
    async with running_call() as call, studio(call) as sender:
        await sender.live()
        sender.daemon.on_window(WindowUpload(0, b"closed"))
        sender.daemon.on_window(WindowUpload(1, DAMAGED))
        sender.daemon.on_window(WindowUpload(2, b"open"))
        await until(lambda: sender.publication.windows == {0: b"closed", 2: b"open"})
        await sender.with_source()
        await uploads_anew(sender, {0: b"closed", 2: b"open"})
        await sender.stop()


@pytest.mark.asyncio
async def test_a_window_is_brought_again_to_a_receiver_that_was_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.sender.connection.uploads.AGAIN_SECONDS", 0.01)
    async with running_call() as call, studio(call) as sender:
        await sender.live()
        sender.publication.busy = 3
        sender.daemon.on_window(WindowUpload(0, b"closed"))
        sender.daemon.on_window(WindowUpload(2, b"open"))
        await until(lambda: sender.publication.windows == {0: b"closed", 2: b"open"})
        assert not sender.publication.busy
        await sender.stop()


@pytest.mark.asyncio
async def test_after_a_cut_windows_of_the_scene_before_go_to_no_receiver() -> None:
    async with running_call() as call, studio(call) as sender:
        await sender.live()
        for slot in (0, 1, 20, 2):
            sender.daemon.on_window(WindowUpload(slot, b"before", scene=0))
        for slot in (0, 20):
            sender.daemon.on_window(WindowUpload(slot, b"after", scene=1))
        await sender.with_source()
        await uploads_anew(sender, {0: b"after", 20: b"after"})
        await sender.stop()


@pytest.mark.asyncio
async def test_sound_goes_out_as_opus() -> None:
    async with running_call() as call, studio(call, sound=True) as sender:
        await sender.with_source()
        queue = sender.live_feed.sound
        assert queue is not None
        writer = OpusWriter()
        tone = (8000 * np.sin(np.arange(PACKET_SAMPLES) / 48000 * 2 * np.pi * 500)).astype(np.int16)
        (track,) = sender.publication.tracks
        packets: list[bytes] = []
        track.on_packet = lambda packet: packets.append(packet.payload)
        for number in range(400):
            for packet in writer.write(tone):
                queue.put(SoundPacket(packet, number * PACKET_SAMPLES))
            await asyncio.sleep(0.005)
            if len(packets) >= 10:
                break
        assert _loudest(packets) > 4000
        sender.say(0.0)
        assert sender.daemon.status().sound_kbps > 1.0
        await sender.stop()


def _loudest(packets: list[bytes]) -> int:
    decoder: Any = av.CodecContext.create("libopus", "r")
    frames = [frame for packet in packets for frame in decoder.decode(av.Packet(packet))]
    return max(int(np.abs(frame.to_ndarray().astype(np.int32)).max()) for frame in frames)


@pytest.mark.asyncio
async def test_a_silent_network_is_left_and_the_call_resumed_with_the_same_name_and_no_upload() -> None:
    CACHED.clear()
    async with running_call() as call, studio(call) as sender:
        viewer, _ = await call.join("Bob")
        await sender.with_source()
        first, who = sender.publication, sender.daemon.identity.participant
        channel = first.channels["motion"]
        assert sender.daemon.session is not None
        upload = picture(0)
        uploads: list[bytes] = []
        original = FakePublication.add_source

        async def counted(self: FakePublication, index: int, image: bytes, scene: int = 0) -> str:
            uploads.append(image)
            return await original(self, index, image, scene)

        FakePublication.add_source = counted  # type: ignore[method-assign]
        try:
            old = sender.daemon.session
            sender.clock.now += STABLE_AFTER
            while sender.daemon.session is old and not old.lost.done():  # nothing comes for more than five seconds
                sender.clock.now += LONGEST_STEP
                pings = len(control(first, "ping"))
                await until(lambda n=pings: old.lost.done() or len(control(first, "ping")) > n)  # type: ignore[misc]
            await until(lambda: sender.daemon.session not in (None, old) and len(sender.live_feed.taken) == 2)
        finally:
            FakePublication.add_source = original  # type: ignore[method-assign]
        assert sender.daemon.identity.participant == who
        assert sender.publication.channels["motion"] is not channel
        assert sender.publication.sources == {0: upload.sha256}
        assert uploads == []
        assert sender.pauses == [0.0]
        await sender.live()
        assert sender.daemon.status().reconnects == 1
        sender.say(5.0)
        await until(lambda: any(m[:1] in (b"\x41", b"\x44") for m in sender.publication.messages))
        await viewer.request("ping", t=1.0)  # reads everything up to its answer
        for message in viewer.news:
            if message["type"] == "roster":
                names = [p["name"] for p in message["participants"]]
                assert sorted(names) in (["Bob"], ["Ada", "Bob"]), "never twice in the roster"
        await sender.stop()


@pytest.mark.asyncio
async def test_a_network_that_is_cut_for_five_seconds_comes_back_with_the_same_name() -> None:
    async with running_call() as call:
        viewer, _ = await call.join("Bob")
        assert call.client.port is not None
        wire = TcpProxy("127.0.0.1", call.client.port)
        sender = Studio(call, await wire.open())
        try:
            await sender.with_source()
            who = sender.daemon.identity.participant
            back_at = sender.clock.now + STABLE_AFTER + 5.0

            def mend() -> None:
                if sender.clock.now >= back_at:
                    wire.mend()

            sender.clock.now += STABLE_AFTER
            sender.before_pause = mend
            wire.refuse()
            await until(lambda: sender.daemon.reconnect.reconnects == 1)
            assert sender.pauses == [0.0, 0.5, 1.0, 2.0, 4.0]
            assert sender.daemon.identity.participant == who
            await until(lambda: len(sender.live_feed.taken) == 2)
            roster = await viewer.roster(lambda r: any(p["state"] == "lost" for p in r))
            assert sorted(p["name"] for p in roster) == ["Ada", "Bob"]
            roster = await viewer.roster(lambda r: all(p["name"] == "Bob" or p["state"] == "live" for p in r))
            assert sorted(p["name"] for p in roster) == ["Ada", "Bob"]
            await sender.stop()
        finally:
            sender.running.cancel()
            await asyncio.gather(sender.running, return_exceptions=True)
            await wire.close()


@pytest.mark.asyncio
async def test_pings_are_answered_and_stages_reported() -> None:
    async with running_call() as call, studio(call, sound=True) as sender:
        await sender.with_source()
        sender.say(1.0)
        channel = sender.publication.channels["control"]
        channel.send(msgpack.packb({"t": "ping", "n": 7, "ms": 123.5}))
        for nonsense in (b"\xc1", b"", msgpack.packb([1]), msgpack.packb({"t": "pong"}), "text", b"x" * 20_000):
            channel.send(nonsense)
        await until(lambda: control(sender.publication, "pong") != [])
        assert control(sender.publication, "pong") == [
            {"t": "pong", "n": 7, "ms": 123.5, "peer_ms": 1000 * sender.clock.now}
        ]
        (ping,) = control(sender.publication, "ping")
        sender.clock.now += 0.025
        channel.send(msgpack.packb({"t": "pong", "n": ping["n"], "ms": ping["ms"], "peer_ms": 1.0}))
        await until(lambda: sender.daemon.status().round_trip_ms is not None)
        await until(lambda: control(sender.publication, "stages") != [], seconds=20)
        stages = control(sender.publication, "stages")[0]
        assert (stages["capture"], stages["extract"], stages["audio"]) == (5.0, 10.0, 1000 * SOUND_AGE)
        await sender.stop()


@pytest.mark.asyncio
async def test_a_lost_face_pauses_and_comes_back() -> None:
    async with running_call() as call, studio(call) as sender:
        await sender.with_source()
        sender.daemon.on_presence("no face in the picture")
        assert sender.daemon.status().state == "paused"
        sender.daemon.on_presence(None)
        await until(lambda: len(control(sender.publication, "state")) == 2)
        assert [m["paused"] for m in control(sender.publication, "state")] == [True, False]
        await sender.stop()


@pytest.mark.asyncio
async def test_a_refused_picture_goes_back_to_the_feed_and_a_further_one_is_taken() -> None:
    async with running_call() as call, studio(call) as sender:
        await sender.live()
        sender.daemon.on_source(picture(0, NO_FACE))
        await until(lambda: sender.live_feed.refused != [])
        assert "no face" in sender.live_feed.refused[0]
        await sender.with_source()
        assert sender.daemon.status().reconnects == 0
        await sender.stop()


@pytest.mark.asyncio
async def test_a_source_that_the_receiver_lost_is_uploaded_again() -> None:
    async with running_call() as call, studio(call) as sender:
        await sender.with_source()
        sha256 = picture(0).sha256
        CACHED.discard(sha256)
        sender.publication.channels["control"].send(msgpack.packb({"t": "need_source", "sha256": sha256}))
        await until(lambda: sender.live_feed.taken == [0, 0])
        assert sha256 in CACHED
        await sender.stop()


@pytest.mark.asyncio
@pytest.mark.parametrize("turns", [0, 3, 30])
async def test_of_two_pictures_for_one_place_the_later_one_stays(turns: int) -> None:
    """However far the upload of the first is by then."""
    async with running_call() as call, studio(call) as sender:
        await sender.with_source()
        first, second = SourceImage(1, JPEG + b"first"), SourceImage(1, JPEG + b"second")
        sender.daemon.on_source(first)
        for _ in range(turns):
            await asyncio.sleep(0)
        sender.daemon.on_source(second)
        await until(lambda: sender.publication.sources.get(1) == second.sha256)
        await asyncio.sleep(0.05)
        assert sender.publication.sources == {0: picture(0).sha256, 1: second.sha256}
        await sender.stop()


@pytest.mark.asyncio
async def test_a_bad_token_ends_the_daemon_with_one_line() -> None:
    async with running_call() as call, studio(call, token="nonsense") as sender:
        with pytest.raises(RefusedError, match="token"):
            await asyncio.wait_for(sender.running, 20)
        assert sender.live_feed.closed
        assert RefusedError.exit_status == 2


@pytest.mark.asyncio
async def test_a_token_that_may_not_publish_ends_the_daemon_too() -> None:
    async with running_call() as call, studio(call, token=call.token(publish=False)) as sender:
        with pytest.raises(RefusedError, match="publish"):
            await asyncio.wait_for(sender.running, 20)
        assert sender.pauses == []


@pytest.mark.asyncio
async def test_a_receiver_of_other_weights_ends_the_daemon_with_one_line() -> None:
    async with running_call() as call:
        call.parts.conference.open(FakePublication, "cd" * 32)
        async with studio(call) as sender:
            with pytest.raises(RefusedError, match="VISAVIS_WEIGHTS") as caught:
                await asyncio.wait_for(sender.running, 20)
            assert sender.pauses == []
            assert sender.live_feed.closed
    assert WEIGHTS[:12] in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_status == 2


@pytest.mark.asyncio
async def test_a_receiver_of_the_same_weights_takes_the_daemons_motion() -> None:
    async with running_call() as call:
        call.parts.conference.open(FakePublication, WEIGHTS)
        async with studio(call) as sender:
            await sender.live()
            await sender.stop()


@pytest.mark.asyncio
@pytest.mark.parametrize(("closing", "words"), [(False, "removed from the room"), (True, "the room was closed")])
async def test_a_daemon_that_is_removed_does_not_come_back(closing: bool, words: str) -> None:
    async with running_call() as call, studio(call) as sender:
        await sender.live()
        dismiss(call.parts.conference.administration, "lobby", closing=closing)
        with pytest.raises(RefusedError, match=words):
            await asyncio.wait_for(sender.running, 20)
        assert sender.pauses == []


@pytest.mark.asyncio
async def test_a_daemon_that_is_removed_while_it_connects_does_not_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_call() as call:
        ask = Signalling.request

        async def removed(signalling: Signalling, kind: str, **fields: Any) -> dict[str, Any]:
            if kind == "publish":
                dismiss(call.parts.conference.administration, "lobby", closing=False)
                await asyncio.sleep(0.1)
            return await ask(signalling, kind, **fields)

        monkeypatch.setattr(Signalling, "request", removed)
        async with studio(call) as sender:
            with pytest.raises(RefusedError, match="removed from the room"):
                await asyncio.wait_for(sender.running, 20)
            assert sender.pauses == []


@pytest.mark.asyncio
async def test_a_server_that_is_not_there_is_tried_again_until_the_user_stops() -> None:
    async with running_call() as call:
        sender = Studio(call, "http://127.0.0.1:9")
        await until(lambda: len(sender.pauses) >= 4)
        assert sender.pauses[:4] == [0.5, 1.0, 2.0, 4.0]
        status = sender.daemon.status()
        assert "cannot reach the server" in (status.problem or "")
        await sender.stop()


@pytest.mark.asyncio
async def test_the_end_of_the_feed_ends_the_daemon() -> None:
    async with running_call() as call, studio(call) as sender:
        await sender.with_source()
        sender.daemon.on_end(None)
        await asyncio.wait_for(sender.running, 20)
    async with running_call() as call, studio(call) as sender:
        await sender.live()
        sender.daemon.on_end(VisavisError("the camera is gone"))
        with pytest.raises(VisavisError, match="camera is gone"):
            await asyncio.wait_for(sender.running, 20)


@pytest.mark.asyncio
async def test_a_token_is_handed_out_in_development_and_asked_for_otherwise() -> None:
    async with running_call() as call:
        server = str(call.client.make_url("")).rstrip("/")
        access = Access(server, "lobby", None, load_settings())
        token = await access.token(call.client.session)
        assert call.parts.authority.verify(token).video.room == "lobby"
        assert await access.token(call.client.session) == token, "the identity stays, or resuming would fail"
        access.forget()
        assert await access.token(call.client.session) != token
    secret = "s" * 32
    async with running_call(api_key="key", api_secret=secret) as call:
        server = str(call.client.make_url("")).rstrip("/")
        with pytest.raises(UnauthorizedError, match="--token"):
            await Access(server, "lobby", None, load_settings()).token(call.client.session)
        own = Access(server, "lobby", None, load_settings(api_key="key", api_secret=secret))
        assert call.parts.authority.verify(await own.token(call.client.session)).video.roomJoin
