"""Publication: motion in and packets out, over simulated channels and a model that paints."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import io
import weakref
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import av
import msgpack
import numpy as np
import pytest
import pytest_asyncio
import torch
from aiortc.mediastreams import MediaStreamError
from PIL import Image

from model.codec.encoder import MotionEncoder
from model.codec.window import encode_window
from model.description import Profile
from model.errors import InputError, NoFaceError
from model.keypoint_layout import KeypointLayout
from model.motion import View
from model.window import EYE_SLOTS, MAX_WINDOWS, eyes
from model.window.mouth import cut_window
from server.errors import ConflictError
from server.media.streams import ViewLimitError
from server.receiver.control_session import ControlSession
from server.receiver.publication import Publication, PublicationSettings
from server.receiver.render_capacity import RenderCapacity
from server.receiver.source_cache import SourceCache
from server.receiver.source_slots import SourceSlots
from server.wire.control import ReceiverStatistics
from tests.model import eyes as made_up_eyes
from tests.model.mouths import lips, picture
from tests.server.fakes import (
    SIZE,
    FakeCamera,
    FakeChannel,
    FakeClock,
    FakeSource,
    K,
    PaintingModel,
    motion,
    render_engine,
    until,
)


@dataclass(frozen=True)
class WholeCrop:
    side: float

    def cut(self, frame: np.ndarray[Any, Any], size: int) -> np.ndarray[Any, Any]:
        return frame[:size, :size]


def png(level: int = 100, side: int = SIZE) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), (level, level, level)).save(buffer, "PNG")
    return buffer.getvalue()


class Bench:
    """A publication with everything around it, and the sender's end of its channels."""

    def __init__(self, settings: PublicationSettings | None = None, model: PaintingModel | None = None) -> None:
        self.model = model or PaintingModel()
        self.engine = render_engine(self.model)
        self.cache = SourceCache(self.engine, find_crop=lambda picture: WholeCrop(float(len(picture))))
        self.clock = asyncio.get_running_loop().time
        self.publication = Publication("p1", self.engine, self.cache, settings, self.clock)
        self.motion = FakeChannel()
        self.control = FakeChannel()
        self.encoder = MotionEncoder(self.model.statistics)

    def send(self, yaw: float, source: int = 0) -> None:
        message = self.encoder.encode(motion(yaw).to_vector(), int(self.clock() * 1000) & 0xFFFFFFFF, source)
        message = message or self.encoder.flush()
        assert message is not None
        self.motion.deliver(message)

    def say(self, **fields: Any) -> None:
        self.control.deliver(msgpack.packb(fields))

    def heard(self, kind: str) -> list[dict[str, Any]]:
        return [fields for data in self.control.sent if (fields := msgpack.unpackb(data))["t"] == kind]

    async def talk(self, seconds: float, yaw: float = 0.0) -> None:
        end = self.clock() + seconds
        while self.clock() < end:
            self.send(yaw)
            await asyncio.sleep(0.03)


class PaintingGpu(PaintingModel):
    device = torch.device("cuda")


WINDOW = encode_window(cut_window(picture(lips(0.7)), lips(0.7)), speed=10)
EYES = encode_window(eyes.cut_window(picture(lips(0.7)), made_up_eyes.eyes(0.7)), speed=10)


@pytest_asyncio.fixture
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    """Parameter: its model."""
    bench = Bench(model=getattr(request, "param", None))
    await bench.engine.start()
    yield bench
    await bench.publication.close()
    assert bench.cache.in_use == 0
    await bench.cache.close()
    await bench.engine.close()
    left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    assert not left


async def next_packet(track: Any) -> Any:
    return await asyncio.wait_for(track.recv(), 10)


def brightness(packets: list[Any]) -> float:
    decoder = av.CodecContext.create("libvpx", "r")
    frames = [frame for packet in packets for frame in decoder.decode(packet)]
    return float(frames[-1].to_ndarray()[: frames[-1].height].mean())


@pytest.mark.asyncio
async def test_motion_becomes_packets(bench: Bench) -> None:
    publication = bench.publication
    kinds: list[str] = [publication.kind]
    publication.attach_control_channel(bench.control)  # type: ignore[arg-type]
    publication.attach_motion_channel(bench.motion)  # type: ignore[arg-type]
    assert [*kinds, publication.kind] == ["none", "motion"]
    await publication.add_source(0, png())
    subscription = publication.subscribe("v1", "VP8")
    talking = asyncio.create_task(bench.talk(20, yaw=30.0))
    packets = [await next_packet(subscription.video) for _ in range(15)]
    assert packets[0].is_keyframe
    assert sum(packet.is_keyframe for packet in packets) == 1
    times = [packet.pts for packet in packets]
    assert times == sorted(set(times))
    # Luma of grey 130 (source 100, moved by 30) in the limited range.
    assert abs(brightness(packets) - (16 + 130 * 219 / 255)) < 3
    await until(lambda: publication.state == "live")
    figures = publication.statistics()
    assert figures["fps"] > 0
    assert figures["kbps_wire"] > figures["kbps_payload"] > 0
    assert figures["loss_percent"] == 0
    assert bench.motion.sent, "motion is acknowledged"
    talking.cancel()
    subscription.close()
    with pytest.raises(MediaStreamError):
        await subscription.video.recv()


def corner(packets: list[Any]) -> float:
    """Mean luma where a mark would be."""
    decoder = av.CodecContext.create("libvpx", "r")
    frames = [frame for packet in packets for frame in decoder.decode(packet)]
    return float(frames[-1].to_ndarray()[4:12, -30:-6].mean())


@pytest.mark.asyncio
@pytest.mark.parametrize("mark_rendered", [False, True])
async def test_an_avatar_is_marked_in_the_picture_itself(mark_rendered: bool) -> None:
    """Others only where the operator wants it; whoever watches by WHEP sees no roster."""
    bench = Bench(PublicationSettings(mark_rendered=mark_rendered))
    await bench.engine.start()
    publication = bench.publication
    publication.attach_control_channel(bench.control)  # type: ignore[arg-type]
    publication.attach_motion_channel(bench.motion)  # type: ignore[arg-type]
    await publication.add_source(0, png(200))
    subscription = publication.subscribe("v1", "VP8")
    talking = asyncio.create_task(bench.talk(20))
    packets = [await next_packet(subscription.video) for _ in range(8)]
    unmarked = 16 + 200 * 219 / 255
    assert (corner(packets) < unmarked - 20) == mark_rendered
    publication.mark_avatar(True)
    packets += [await next_packet(subscription.video) for _ in range(12)]
    assert corner(packets) < unmarked - 20
    publication.mark_avatar(False)
    packets += [await next_packet(subscription.video) for _ in range(16)]
    assert (corner(packets) < unmarked - 20) == mark_rendered
    talking.cancel()
    await publication.close()
    await bench.cache.close()
    await bench.engine.close()


SHARP = Profile("fake", KeypointLayout(K), SIZE, sharp_size=2 * SIZE)


@pytest.mark.asyncio
@pytest.mark.parametrize("bench", [PaintingGpu(SHARP)], indirect=True)
async def test_pictures_become_sharp_without_a_break(bench: Bench) -> None:
    """A GPU renders sharp pictures where the source image has the detail: one stream goes on with a keyframe."""
    publication = bench.publication
    publication.attach_control_channel(bench.control)  # type: ignore[arg-type]
    publication.attach_motion_channel(bench.motion)  # type: ignore[arg-type]
    await publication.add_source(0, png(side=2 * SIZE))
    subscription = publication.subscribe("v1", "VP8")
    talking = asyncio.create_task(bench.talk(20))
    packets = [await next_packet(subscription.video) for _ in range(3)]
    publication.tick(bench.clock())
    packets += [await next_packet(subscription.video) for _ in range(12)]
    talking.cancel()
    decoder = av.CodecContext.create("libvpx", "r")
    sides = [frame.width for packet in packets for frame in decoder.decode(packet)]
    assert sides == sorted(sides)
    assert {SIZE, 2 * SIZE} == set(sides)
    assert packets[sides.index(2 * SIZE)].is_keyframe
    assert sum(packet.is_keyframe for packet in packets) == 2
    assert publication.statistics()["picture_px"] == 2 * SIZE
    assert publication.statistics()["encoders"] == 1


@pytest.mark.asyncio
@pytest.mark.parametrize("bench", [PaintingGpu(SHARP)], indirect=True)
async def test_a_newcomer_is_admitted_and_the_sharp_pictures_of_others_make_room(bench: Bench) -> None:
    publication = bench.publication
    publication.attach_motion_channel(bench.motion)  # type: ignore[arg-type]
    await publication.add_source(0, png(side=2 * SIZE))
    subscription = publication.subscribe("v1", "VP8")
    talking = asyncio.create_task(bench.talk(20))
    for _ in range(3):
        await next_packet(subscription.video)
    publication.tick(bench.clock())
    assert publication.statistics()["picture_px"] == 2 * SIZE
    talking.cancel()
    capacity = bench.engine.capacity = RenderCapacity(25.0, 0.8)
    for number in range(25):  # three small pictures would fit, three sharp ones would not
        capacity.rendered(1.14 * 0.016, bench.clock() + number / 50, sharp=True)
    now = bench.clock() + 0.5
    assert capacity.admit("bob", now)
    publication.tick(now)
    assert publication.statistics()["picture_px"] == 2 * SIZE
    assert capacity.admit("eve", now)
    publication.tick(now)
    assert publication.statistics()["picture_px"] == SIZE
    subscription.close()


@pytest.mark.asyncio
async def test_nothing_is_rendered_for_nobody(bench: Bench) -> None:
    bench.publication.attach_motion_channel(bench.motion)  # type: ignore[arg-type]
    await bench.publication.add_source(0, png())
    subscription = bench.publication.subscribe("v1", "VP8")  # never read: the viewer has not connected
    await bench.talk(0.3)
    assert bench.model.batches == []
    subscription.close()


@pytest.mark.asyncio
async def test_two_codecs_and_a_turned_view(bench: Bench) -> None:
    publication = bench.publication
    publication.attach_motion_channel(bench.motion)  # type: ignore[arg-type]
    await publication.add_source(0, png())
    front = publication.subscribe("v1", "VP8")
    side = publication.subscribe("v2", "H264")
    talking = asyncio.create_task(bench.talk(20))
    await asyncio.gather(next_packet(front.video), next_packet(side.video))
    assert publication.statistics()["encoders"] == 2
    side.set_view(View(yaw=20.4, pitch=-90.0))
    await until(lambda: View(20, -30, 0) in bench.model.views)
    packets = [await next_packet(side.video) for _ in range(5)]
    assert not any(packet.is_keyframe for packet in packets), "its stream turned with it"
    talking.cancel()
    front.close()
    side.close()
    assert publication.statistics()["encoders"] == 0


@pytest.mark.asyncio
async def test_control_channel(bench: Bench) -> None:
    publication = bench.publication
    publication.attach_control_channel(bench.control)  # type: ignore[arg-type]
    sha256 = await bench.cache.add(png(50))
    bench.cache.release(sha256)
    bench.say(t="source", index=1, sha256=sha256)
    assert bench.cache.in_use == 1
    bench.say(t="source", index=0, sha256="0" * 64)
    assert bench.heard("need_source") == [{"t": "need_source", "sha256": "0" * 64}]
    bench.say(t="ping", n=7, ms=1.5)
    (pong,) = bench.heard("pong")
    assert (pong["n"], pong["ms"]) == (7, 1.5)
    await until(lambda: bool(bench.heard("ping")))
    ping = bench.heard("ping")[0]
    bench.say(t="pong", n=ping["n"], ms=ping["ms"], peer_ms=ping["ms"] + 5000.0)
    assert abs(publication.statistics()["clock_offset_ms"] - 5000) < 2000
    bench.say(t="stages", capture=3.0, extract=9.0, encode=1.0)
    assert publication.statistics()["stages"]["extract"] == 9.0


@pytest.mark.asyncio
async def test_silence_is_noticed_once() -> None:
    gone: list[str] = []
    bench = Bench()
    now = [1000.0]
    publication = Publication("p1", bench.engine, bench.cache, None, lambda: now[0])
    publication.on_gone = lambda: gone.append("gone")
    publication.attach_control_channel(bench.control)  # type: ignore[arg-type]
    for second in range(12):
        now[0] = 1000.0 + second
        if second == 4:
            bench.say(t="ping", n=1, ms=0.0)
        publication.tick(now[0])
        if second == 8:
            assert gone == []
    assert gone == ["gone"]
    await publication.close()
    await bench.cache.close()


@pytest.mark.asyncio
async def test_lost_signal_is_shown_and_reported(bench: Bench) -> None:
    publication = bench.publication
    states: list[str] = []
    publication.on_state = states.append
    publication.attach_motion_channel(bench.motion)  # type: ignore[arg-type]
    await publication.add_source(0, png(200))
    subscription = publication.subscribe("v1", "VP8")
    talking = asyncio.create_task(bench.talk(1.3))
    packets = [await next_packet(subscription.video) for _ in range(5)]
    bright = brightness(packets)
    await talking

    async def read() -> None:
        while True:
            packets.append(await subscription.video.recv())

    reading = asyncio.create_task(read())
    await until(lambda: states == ["live", "lost"])
    seen = len(packets)
    await until(lambda: len(packets) > seen + 3)
    reading.cancel()
    assert brightness(packets) < 0.6 * bright
    assert publication.statistics()["state"] == "lost"
    assert publication.statistics()["freezes"] == 1


@pytest.mark.asyncio
async def test_bad_messages_are_counted_and_harmless(bench: Bench) -> None:
    publication = bench.publication
    publication.attach_motion_channel(bench.motion)  # type: ignore[arg-type]
    publication.attach_control_channel(bench.control)  # type: ignore[arg-type]
    for data in ("text", b"", b"\x00" * 5000, b"\x41" + b"\xff" * 40, None):
        bench.motion.deliver(data)
    for data in ("text", b"", b"\xc1", b"x" * 5000, msgpack.packb([1, 2]), msgpack.packb({"t": "ping"})):
        bench.control.deliver(data)
    bench.say(t="source", index=300, sha256="0" * 64)
    bench.say(t="state", paused="yes")
    bench.say(t="stages", extract=float("nan"))
    bench.say(t="something new")
    assert publication.statistics()["malformed"] == 5
    bench.send(1.0)
    assert publication.statistics()["fps_motion"] > 0


@pytest.mark.asyncio
async def test_floods_are_cut_off(bench: Bench) -> None:
    bench.publication.attach_control_channel(bench.control)  # type: ignore[arg-type]
    for n in range(1000):
        bench.say(t="ping", n=n, ms=0.0)
    assert len(bench.heard("pong")) <= 110


@pytest.mark.asyncio
async def test_sources_are_bounded_and_refused_with_a_reason(bench: Bench) -> None:
    publication = bench.publication
    with pytest.raises(InputError):
        await publication.add_source(8, png())
    with pytest.raises(InputError):
        await publication.add_source(0, b"no picture")
    assert not await publication.attach_cached_source(0, "0" * 64)
    first = await publication.add_source(0, png(1))
    assert await publication.add_source(0, png(2)) != first
    assert bench.cache.in_use == 1
    assert await publication.attach_cached_source(1, first)
    assert bench.cache.in_use == 2


@pytest.mark.asyncio
async def test_mouth_windows_stand_beside_every_source_image(bench: Bench) -> None:
    slots = SourceSlots(bench.cache, 4)
    first = await slots.add(0, png(1))
    await slots.add_window(3, WINDOW)
    await slots.add_window(1, WINDOW)
    await slots.add_window(3, WINDOW)
    await slots.add(1, png(2))
    for index in (0, 1):
        state: Any = slots.state(index)
        assert len(state.windows) == 2
    plain: Any = bench.cache.state(first)
    assert plain.windows == ()
    assert bench.cache.in_use == 2
    await slots.add(0, png(3))
    assert slots.state(0) is not plain
    assert slots.windows(0) == {1: WINDOW, 3: WINDOW}
    await slots.add_window(EYE_SLOTS.start, EYES)
    wrong = ((MAX_WINDOWS, EYES), (EYE_SLOTS.start, WINDOW), (0, EYES), (-1, WINDOW), (0, b"no window"))
    for slot, data in wrong:
        with pytest.raises(InputError):
            await slots.add_window(slot, data)
    slots.close()
    assert bench.cache.in_use == 0
    with pytest.raises(ConflictError):
        await slots.add_window(0, WINDOW)


@pytest.mark.asyncio
async def test_mouth_windows_stand_beside_images_of_their_scene_alone(bench: Bench) -> None:
    slots = SourceSlots(bench.cache, 4)
    await slots.add(0, png(1), scene=0)
    await slots.add_window(0, WINDOW, scene=0)
    await slots.add_window(1, WINDOW, scene=0)
    await slots.add(1, png(2), scene=1)

    def beside(index: int) -> int:
        state: Any = slots.state(index)
        assert len(slots.windows(index)) == len(state.windows)
        return len(state.windows)

    assert (beside(0), beside(1)) == (2, 0), "after a cut there may be another person"
    await slots.add_window(0, WINDOW, scene=1)
    assert (beside(0), beside(1)) == (1, 1)
    assert slots.attach(0, hashlib.sha256(png(1)).hexdigest(), scene=1)
    await slots.join(0)
    assert beside(0) == 1
    await slots.add_window(0, WINDOW, scene=2)
    await slots.add_window(1, WINDOW, scene=2)
    assert (beside(0), beside(1)) == (0, 0)
    slots.close()
    assert bench.cache.in_use == 0


@pytest.mark.asyncio
async def test_a_picture_without_a_face_is_refused() -> None:
    def nobody(_: Any) -> Any:
        raise NoFaceError("no face was found in the source image")

    engine = render_engine(PaintingModel())
    await engine.start()
    cache = SourceCache(engine, find_crop=nobody)
    publication = Publication("p1", engine, cache)
    with pytest.raises(NoFaceError):
        await publication.add_source(0, png())
    assert len(cache) == 0
    await publication.close()
    await publication.close()
    await cache.close()
    await engine.close()


@pytest.mark.asyncio
async def test_a_camera_is_encoded_again_for_viewers_of_other_codecs(bench: Bench) -> None:
    publication = bench.publication
    states: list[str] = []
    publication.on_state = states.append
    source, camera = FakeSource("video"), FakeCamera("VP8", 162, 120)
    publication.attach_video(source)
    assert publication.kind == "camera"
    # None is bound to a connection that could carry the camera's own packets.
    viewers = [publication.subscribe("a", "VP8"), publication.subscribe("b", "H264"), publication.subscribe("c", "VP8")]
    viewers[2].set_view(View(yaw=10.0))  # means nothing to a camera, and breaks nothing

    async def film() -> None:
        while True:
            asked, source.keyframes_asked = source.keyframes_asked, 0
            source.deliver(*camera.frame(keyframe=asked > 0))
            await asyncio.sleep(0.04)

    filming = asyncio.create_task(film())
    first = await asyncio.gather(*(next_packet(viewer.video) for viewer in viewers))
    assert all(packet.is_keyframe for packet in first)
    await until(lambda: states == ["live"])
    assert publication.video_codec == "VP8"
    filming.cancel()
    await until(lambda: states == ["live", "lost"])
    assert bench.model.batches == []
    for viewer in viewers:
        viewer.close()


@pytest.mark.asyncio
async def test_views_beyond_the_limit_are_refused_and_the_rest_goes_on(bench: Bench) -> None:
    publication = bench.publication
    publication.attach_motion_channel(bench.motion)  # type: ignore[arg-type]
    await publication.add_source(0, png())
    viewers = [publication.subscribe(f"v{i}", "VP8", View(yaw=float(i))) for i in range(8)]
    talking = asyncio.create_task(bench.talk(20))
    await asyncio.gather(*(next_packet(viewer.video) for viewer in viewers))
    with pytest.raises(ViewLimitError):
        publication.subscribe("late", "VP8", View(yaw=30.0))
    same = publication.subscribe("v8", "VP8", View(yaw=3.2))
    await next_packet(same.video)
    with pytest.raises(ViewLimitError):
        same.set_view(View(yaw=30.0))
    await next_packet(viewers[0].video)
    talking.cancel()


@pytest.mark.asyncio
async def test_motion_behind_the_voice_is_played_and_answered_there(bench: Bench) -> None:
    publication = bench.publication
    source = FakeSource("audio")
    publication.attach_audio(source)
    assert source.on_trailer is not None
    source.on_trailer(b"before the channel")
    assert publication.statistics()["kind"] == "none"
    publication.attach_motion_channel(bench.motion)  # type: ignore[arg-type]
    bench.motion.deliver = source.on_trailer  # type: ignore[method-assign,assignment]
    for _ in range(20):
        bench.send(1.0)
        await asyncio.sleep(0.02)
    assert 2 <= len(source.answers) <= 4, "one in 170 ms"
    assert bench.motion.sent == []
    bench.encoder.on_acknowledgement(source.answers[-1])
    figures = publication.statistics()
    assert figures["kbps_wire"] == figures["kbps_payload"] > 0
    source.on_trailer(b"\x4f of a later version")
    assert publication.statistics()["malformed"] == 1
    publication.attach_audio(FakeSource("audio"))
    assert source.on_trailer is None, "another sound brings it now"


@pytest.mark.asyncio
async def test_motion_behind_the_voice_of_a_page_is_answered_on_the_channel(bench: Bench) -> None:
    publication, channel = bench.publication, FakeChannel()
    source = FakeSource("audio")
    source.reads_answers = False
    publication.attach_audio(source)
    publication.attach_motion_channel(channel)  # type: ignore[arg-type]
    assert source.on_trailer is not None
    bench.motion.deliver = source.on_trailer  # type: ignore[method-assign,assignment]
    for _ in range(20):
        bench.send(1.0)
        await asyncio.sleep(0.03)
    assert source.answers == []
    assert 1 <= len(channel.sent) <= 3, "one in 500 ms"
    bench.encoder.on_acknowledgement(channel.sent[-1])
    figures = publication.statistics()
    assert figures["kbps_wire"] == figures["kbps_payload"] > 0
    channel.readyState = "closed"
    await asyncio.sleep(0.5)
    sent = len(channel.sent)
    bench.send(1.0)
    assert len(channel.sent) == sent, "a channel that is closed takes no answer"


def test_the_receivers_pings_become_rare_while_motion_comes() -> None:
    clock, channel, gone = FakeClock(0.0), FakeChannel(), list[float]()
    control = ControlSession(clock, lambda *_: True, lambda: gone.append(clock.now), 5.0, clock)
    control.attach(channel)  # type: ignore[arg-type]
    pinged: list[float] = []
    for _ in range(30):
        clock.now += 1.0
        sent = len(channel.sent)
        if clock.now <= 20.0:
            control.heard()
        control.tick(clock.now)
        control.report(ReceiverStatistics(25.0, "live", 0.0, 1))
        if len(channel.sent) > sent:
            assert len(channel.sent) == sent + 2, "figures come with the ping"
            pinged.append(clock.now)
    assert pinged == [1, 2, 3, 4, 5, 10, 15, 20, *range(22, 31)]
    assert gone == [25.0]


@pytest.mark.asyncio
async def test_a_resumed_sender_goes_on_with_new_channels(bench: Bench) -> None:
    publication = bench.publication
    publication.attach_motion_channel(bench.motion)  # type: ignore[arg-type]
    await publication.add_source(0, png())
    subscription = publication.subscribe("v", "VP8")
    talking = asyncio.create_task(bench.talk(20, 10.0))
    await next_packet(subscription.video)
    talking.cancel()
    old, bench.motion, bench.encoder = bench.motion, FakeChannel(), MotionEncoder(bench.model.statistics)
    publication.attach_motion_channel(bench.motion)  # type: ignore[arg-type]
    assert old.listeners("message") == []
    talking = asyncio.create_task(bench.talk(20, -50.0))
    rendered = sum(bench.model.batches)
    await until(lambda: sum(bench.model.batches) > rendered + 5)
    await next_packet(subscription.video)
    talking.cancel()


@pytest.mark.asyncio
async def test_two_hundred_joins_and_leaves_leave_nothing(bench: Bench) -> None:
    publication = bench.publication
    publication.attach_motion_channel(bench.motion)  # type: ignore[arg-type]
    await publication.add_source(0, png())
    talking = asyncio.create_task(bench.talk(60))
    gone: list[weakref.ref[Any]] = []
    for i in range(200):
        subscription = publication.subscribe(f"v{i}", "VP8" if i % 2 else "H264", View(yaw=float(i % 5)))
        if i % 10 == 0:
            await next_packet(subscription.video)
        subscription.close()
        subscription.close()
        gone.append(weakref.ref(subscription.video))
        del subscription
    figures = publication.statistics()
    assert (figures["viewers"], figures["encoders"]) == (0, 0)
    rendered = sum(bench.model.batches)
    await bench.talk(0.2)
    assert sum(bench.model.batches) <= rendered + 2, "nobody watches: what was asked for ends"
    talking.cancel()
    gc.collect()
    assert sum(track() is not None for track in gone) <= 1
    # A second participant with the same picture shares its features, and its leaving keeps them for the first.
    other = Publication("p2", bench.engine, bench.cache)
    await other.add_source(0, png())
    assert len(bench.cache) == 1
    await other.close()
    assert bench.cache.in_use == 1
